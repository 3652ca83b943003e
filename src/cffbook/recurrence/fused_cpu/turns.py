"""Sequences into rows and back: numbers that lie one after the other in each sequence become neighbours of those of the others.

Squares of as many numbers as there are sequences are turned in registers, in log2(sequences) rounds that exchange ever
larger parts of two vectors.
"""

from cffbook.recurrence.fused_cpu.arithmetic import extending, llvm, numba
from cffbook.recurrence.fused_cpu.lanes import WIDTHS, Lanes, Place, cgutils
from cffbook.recurrence.fused_cpu.rows import shuffle


def transposed(builder, square: list[Lanes]) -> list[Lanes]:
    """The columns of a square of numbers given by its rows."""
    square, size, part = list(square), len(square), 1
    while part < size:
        first = [lane if not lane & part else lane - part + size for lane in range(size)]
        second = [lane + part if not lane & part else lane + size for lane in range(size)]
        for i in range(size):
            if not i & part:
                one, two = square[i], square[i + part]
                square[i], square[i + part] = (Lanes(builder, shuffle(builder, one, two, order)) for order in (first, second))
        part *= 2
    return square


def turn(back: bool, rule=None):
    """An intrinsic `loop(lanes, array, first, apart, alive, rows, count)` that turns `count` numbers of each sequence into rows.

    The numbers of a sequence begin at index `first` of the array, those of the next one `apart` further; beyond the `alive` ones
    the last stands in for others. `lanes` is a tuple with one entry for each sequence.

    Args:
        back: turn rows into numbers of sequences.
        rule: called with `Lanes`, returns what is written instead.
    """
    rule = rule or (lambda lanes: lanes)

    @extending.intrinsic
    def loop(context, lanes, array, first, apart, alive, rows, count):
        def build(context, builder, signature, arguments):
            width, kind = lanes.count, context.get_data_type(array.dtype)
            whole, begin, step, living, table, end = arguments[1:]
            outside, inside = (context.make_array(kind)(context, builder, value).data for kind, value in ((array, whole), (rows, table)))
            last, bases = builder.sub(living, living.type(1)), []
            for lane in range(width):
                at = builder.select(builder.icmp_signed("<", last, last.type(lane)), last, last.type(lane))
                bases.append(builder.gep(outside, [builder.add(begin, builder.mul(at, step))]))
            start = end.type(0)
            for size in (width, 1) if width > 1 else WIDTHS:
                until = builder.sub(end, builder.srem(builder.sub(end, start), end.type(size)))
                with cgutils.for_range_slice(builder, start, until, end.type(size), end.type) as (i, _):
                    there = [builder.gep(base, [i]) for base in bases]
                    move = _square if size == width > 1 else _column if width > 1 else _run
                    move(builder, there, builder.gep(inside, [builder.mul(i, i.type(width))]), kind, size, back, rule)
                start = until
            return context.get_dummy_value()

        return numba.void(lanes, array, first, apart, alive, rows, count), build

    return loop


def _square(builder, there, here, kind, size: int, back: bool, rule) -> None:
    """As many numbers of each sequence as there are sequences."""
    outside = [Place(builder, pointer, kind, size) for pointer in there]
    inside = [Place(builder, builder.gep(here, [llvm.IntType(64)(row * size)]), kind, size) for row in range(size)]
    source, target = (inside, outside) if back else (outside, inside)
    square = transposed(builder, [rule(place.load()) for place in source])
    for place, lanes in reversed(list(zip(target, square, strict=True))):  # the living one writes after those it stands in for
        place.store(lanes)


def _column(builder, there, here, kind, size: int, back: bool, rule) -> None:
    """One number of each sequence."""
    row, spots = Place(builder, here, kind, len(there)), [llvm.IntType(32)(lane) for lane in range(len(there))]
    if back:
        lanes = rule(row.load())
        for pointer, lane in reversed(list(zip(there, spots, strict=True))):
            builder.store(builder.extract_element(lanes.value, lane), pointer)
        return
    whole = llvm.Constant(llvm.VectorType(kind, len(there)), llvm.Undefined)
    for pointer, lane in zip(there, spots, strict=True):
        whole = builder.insert_element(whole, builder.load(pointer), lane)
    row.store(rule(Lanes(builder, whole)))


def _run(builder, there, here, kind, size: int, back: bool, rule) -> None:
    """Several numbers of the only sequence."""
    outside, inside = Place(builder, there[0], kind, size), Place(builder, here, kind, size)
    source, target = (inside, outside) if back else (outside, inside)
    target.store(rule(source.load()))
