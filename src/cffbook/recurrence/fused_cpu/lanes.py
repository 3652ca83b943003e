"""Vector instructions written out: one step of a loop over neighbouring gates or synapses, several numbers at a time.

The compiler gives up on a loop that reads and writes many arrays, as it cannot know that they do not overlap. Here a step is
built for `WIDTH` numbers at once and, for what is left at the end of a run, for one.
"""

from cffbook.recurrence.fused_cpu.arithmetic import (
    DOUBLE, FLAT_DOUBLE, FLAT_SINGLE, LIMIT_DOUBLE, LIMIT_SINGLE, LOG2E_DOUBLE, LOG2E_SINGLE, SINGLE, extending, llvm, numba,
)  # fmt: skip

WIDTH = 8


class Lanes:
    """Numbers side by side while a kernel is compiled: `+ - *` and `/` build the instructions."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

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

    def gate(self) -> "Lanes":
        """s(self), as `arithmetic.gate`."""
        single = self.value.type.element == llvm.FloatType()
        limit, log2e, terms = (LIMIT_SINGLE, LOG2E_SINGLE, SINGLE) if single else (LIMIT_DOUBLE, LOG2E_DOUBLE, DOUBLE)
        x = self * -float(log2e)
        x = x.where(">", limit, limit).where("<", -limit, -limit)
        n = x.rint()
        f, p = x - n, self.constant(terms[-1])
        for term in reversed(terms[:-1]):
            p = f * p + term
        return (p * n.power_of_two() + 1).inverse()

    def derivative(self, gate: "Lanes") -> "Lanes":
        """ds/dz at z = self of the gate there, 0 where it is cut off."""
        flat = FLAT_SINGLE if self.value.type.element == llvm.FloatType() else FLAT_DOUBLE
        slope = gate - gate * gate
        beyond = self.builder.or_(
            self.builder.fcmp_ordered(">", self.value, self.constant(flat).value),
            self.builder.fcmp_ordered("<", self.value, self.constant(-flat).value),
        )
        return Lanes(self.builder, self.builder.select(beyond, self.constant(0).value, slope.value))


class Place:
    """A row of numbers in memory from some index on."""

    def __init__(self, builder, pointer, kind):
        self.builder, self.pointer, self.kind = builder, pointer, kind

    def load(self) -> Lanes:
        """The numbers there."""
        return Lanes(self.builder, self.builder.load(self.pointer, align=self.kind.element_size))

    def store(self, lanes: Lanes) -> None:
        """Replace the numbers there."""
        self.builder.store(lanes.value, self.pointer, align=self.kind.element_size)

    def add(self, lanes: Lanes) -> None:
        """Add to the numbers there."""
        self.store(self.load() + lanes)


class Kind:
    """So many numbers of one type side by side."""

    def __init__(self, element, count: int):
        self.element_size = 4 if element == llvm.FloatType() else 8
        self.vector = llvm.VectorType(element, count)


def lane_step(count: int, rule):
    """An intrinsic `step(arrays, indices, scalars)` that builds `rule(builder, places, scalars)` for `count` numbers.

    Args:
        count: numbers at once.
        rule: called with a `Place` for each array at its index, and with `Lanes` for each scalar.
    """

    @extending.intrinsic
    def step(context, arrays, indices, scalars):
        def build(context, builder, signature, arguments):
            of_arrays, of_indices, of_scalars = signature.args
            element = context.get_data_type(of_arrays[0].dtype)
            kind, places, spread = Kind(element, count), [], []
            for i in range(len(of_arrays)):
                array = context.make_array(of_arrays[i])(context, builder, builder.extract_value(arguments[0], i))
                pointer = builder.gep(array.data, [builder.extract_value(arguments[1], i)])
                pointer = builder.bitcast(pointer, kind.vector.as_pointer())
                places.append(Place(builder, pointer, kind))
            for i in range(len(of_scalars)):
                value = builder.extract_value(arguments[2], i)
                whole = llvm.Constant(kind.vector, llvm.Undefined)
                for lane in range(count):
                    whole = builder.insert_element(whole, value, llvm.IntType(32)(lane))
                spread.append(Lanes(builder, whole))
            rule(places, spread)
            return context.get_dummy_value()

        return numba.void(arrays, indices, scalars), build

    return step
