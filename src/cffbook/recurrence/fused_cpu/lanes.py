"""Vector instructions written out: loops over neighbouring flip-flops, gates or synapses, several numbers at a time.

The compiler gives up on a loop that reads and writes many arrays, as it knows neither that they do not overlap nor that their
indices count from the front. Here a loop is built for `WIDTHS[0]` numbers at once, and for fewer at the end of a run.
"""

from cffbook.recurrence.fused_cpu.arithmetic import (
    DOUBLE, FLAT_DOUBLE, FLAT_SINGLE, LIMIT_DOUBLE, LIMIT_SINGLE, PURPOSE, SINGLE, extending, llvm, np, numba, require,
)  # fmt: skip

binding = require("llvmlite.binding", extra="fast", purpose=PURPOSE)
cgutils = require("numba.core.cgutils", extra="fast", purpose=PURPOSE)

# 16 numbers of 32 bits fill a register of AVX-512; elsewhere 8 do, or fill two.
WIDTHS = (16 if binding.get_host_cpu_features().get("avx512f") else 8, 4, 1)


class Lanes:
    """Numbers side by side while a kernel is compiled: `+ - *` and `/` build the instructions."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    @classmethod
    def spread(cls, builder, value, count: int) -> "Lanes":
        """One number in every lane."""
        whole = llvm.Constant(llvm.VectorType(value.type, count), llvm.Undefined)
        for lane in range(count):
            whole = builder.insert_element(whole, value, llvm.IntType(32)(lane))
        return cls(builder, whole)

    def constant(self, number) -> "Lanes":
        """The number in every lane."""
        kind, number = self.value.type, float(number)
        return Lanes(self.builder, kind([number] * kind.count))

    def _two(self, name: str, other) -> "Lanes":
        other = other if isinstance(other, Lanes) else self.constant(other)
        return Lanes(self.builder, getattr(self.builder, name)(self.value, other.value, flags=("contract",)))

    def __add__(self, other):
        return self._two("fadd", other)

    def __sub__(self, other):
        return self._two("fsub", other)

    def __mul__(self, other):
        return self._two("fmul", other)

    def inverse(self) -> "Lanes":
        """1 / self."""
        return self.constant(1)._two("fdiv", self)

    def where(self, relation: str, bound, other) -> "Lanes":
        """`other` where the relation to `bound` holds, which it never does for NaN; else self."""
        holds = self.builder.fcmp_ordered(relation, self.value, self.constant(bound).value)
        return Lanes(self.builder, self.builder.select(holds, self.constant(other).value if not isinstance(other, Lanes) else other.value, self.value))

    def finite(self) -> "Lanes":
        """Infinite numbers replaced by the largest ones; NaN stays."""
        largest = float(np.finfo(np.float32 if self.value.type.element == llvm.FloatType() else np.float64).max)
        return self.where(">", largest, largest).where("<", -largest, -largest)

    def rint(self) -> "Lanes":
        """The nearest whole numbers."""
        kind = self.value.type
        name = f"llvm.rint.v{kind.count}f{32 if kind.element == llvm.FloatType() else 64}"
        module = self.builder.module
        function = module.globals.get(name) or llvm.Function(module, llvm.FunctionType(kind, [kind]), name=name)
        return Lanes(self.builder, self.builder.call(function, [self.value]))

    def power_of_two(self) -> "Lanes":
        """2^n of whole numbers, by their bits."""
        kind, single = self.value.type, self.value.type.element == llvm.FloatType()
        whole = llvm.VectorType(llvm.IntType(32), kind.count)
        bits = self.builder.fptosi(self.value, whole)
        if not single:
            whole = llvm.VectorType(llvm.IntType(64), kind.count)
            bits = self.builder.sext(bits, whole)
        bias, shift = (127, 23) if single else (1023, 52)
        bits = self.builder.shl(self.builder.add(bits, whole([bias] * kind.count)), whole([shift] * kind.count))
        return Lanes(self.builder, self.builder.bitcast(bits, kind))

    def opened(self) -> "Lanes":
        """s(z) at self = -z log2 e, as `arithmetic.gate`."""
        limit, terms = (LIMIT_SINGLE, SINGLE) if self.value.type.element == llvm.FloatType() else (LIMIT_DOUBLE, DOUBLE)
        x = self.where(">", limit, limit).where("<", -limit, -limit)
        n = x.rint()
        f, p = x - n, self.constant(terms[-1])
        for term in reversed(terms[:-1]):
            p = f * p + term
        return (p * n.power_of_two() + 1).inverse()

    def derivative(self, gate: "Lanes") -> "Lanes":
        """ds/dz at z = self of the gate there, 0 where it is cut off: beyond the upper end the gate is 1 to the last digit."""
        flat = FLAT_SINGLE if self.value.type.element == llvm.FloatType() else FLAT_DOUBLE
        shut = self.builder.fcmp_ordered("<", self.value, self.constant(-flat).value)
        return Lanes(self.builder, self.builder.select(shut, self.constant(0).value, (gate - gate * gate).value))


class Place:
    """A row of numbers in memory from some index on."""

    def __init__(self, builder, pointer, element, count: int):
        self.builder, self.pointer, self.element, self.count = builder, pointer, element, count
        self.size = 4 if element == llvm.FloatType() else 8

    def _at(self, count: int):
        return self.builder.bitcast(self.pointer, llvm.VectorType(self.element, count).as_pointer())

    def load(self) -> Lanes:
        """The numbers there."""
        return Lanes(self.builder, self.builder.load(self._at(self.count), align=self.size))

    def store(self, lanes: Lanes) -> None:
        """Replace the numbers there."""
        self.builder.store(lanes.value, self._at(self.count), align=self.size)

    def add(self, lanes: Lanes) -> None:
        """Add to the numbers there."""
        self.store(self.load() + lanes)

    def load_two(self) -> tuple[Lanes, Lanes]:
        """The numbers at even places, and those at odd ones."""
        both = self.builder.load(self._at(2 * self.count), align=self.size)
        return tuple(Lanes(self.builder, self._shuffle(both, both, range(first, 2 * self.count, 2))) for first in (0, 1))

    def store_two(self, even: Lanes, odd: Lanes) -> None:
        """Replace the numbers at even and at odd places."""
        turns = [lane + side * self.count for lane in range(self.count) for side in (0, 1)]
        self.builder.store(self._shuffle(even.value, odd.value, turns), self._at(2 * self.count), align=self.size)

    def _shuffle(self, one, two, order):
        order = list(order)
        return self.builder.shuffle_vector(one, two, llvm.Constant(llvm.VectorType(llvm.IntType(32), len(order)), order))


def lane_loop(rule, strides: tuple[int, ...] = ()):
    """An intrinsic `loop(arrays, indices, count, scalars)` that goes by `rule(places, scalars)` through a run of numbers.

    Args:
        rule: called with a `Place` for each array at its index, and with `Lanes` for each scalar.
        strides: how far each index moves with every number, 1 where none is given.
    """

    @extending.intrinsic
    def loop(context, arrays, indices, count, scalars):
        def build(context, builder, signature, arguments):
            of_arrays, of_indices, _, of_scalars = signature.args
            element = context.get_data_type(of_arrays[0].dtype)
            data = [context.make_array(kind)(context, builder, builder.extract_value(arguments[0], i)).data for i, kind in enumerate(of_arrays)]
            begins = [builder.extract_value(arguments[1], i) for i in range(len(of_indices))]
            values = [builder.extract_value(arguments[3], i) for i in range(len(of_scalars))]
            end, start = arguments[2], llvm.Constant(arguments[2].type, 0)
            for width in WIDTHS:
                step = llvm.Constant(end.type, width)
                stop = builder.sub(end, builder.srem(builder.sub(end, start), step))
                with cgutils.for_range_slice(builder, start, stop, step, end.type) as (i, _):
                    places = []
                    for k, (pointer, begin) in enumerate(zip(data, begins, strict=True)):
                        stride = strides[k] if strides else 1
                        at = builder.add(begin, builder.mul(i, llvm.Constant(end.type, stride)))
                        places.append(Place(builder, builder.gep(pointer, [at]), element, width))
                    rule(places, [Lanes.spread(builder, value, width) for value in values])
                start = stop
            return context.get_dummy_value()

        return numba.void(arrays, indices, count, scalars), build

    return loop
