"""Loops over gates, synapses or neurons, in vector instructions: the lanes are sequences or, of one sequence alone, neighbours.

Every array holds a row for each item, of as many numbers as there are sequences side by side. With several, a loop goes item by
item, and a row is a vector: it is read whole wherever it lies, so that any sparsity runs at full speed. With one, rows are single
numbers, and the loop takes several neighbouring items at once, whose sources are picked up number by number. A rule is written
once for both.
"""

import functools
from typing import NamedTuple

from cffbook.recurrence.fused_cpu.arithmetic import extending, llvm, numba
from cffbook.recurrence.fused_cpu.lanes import WIDTHS, Lanes, Place, cgutils

SUMS = 4  # numbers in the sums of two quantities over several sequences
ALONE = (4 * WIDTHS[0], *WIDTHS)  # neighbours of one sequence: several vectors on their way do not wait for each other's divisions


class Gathered:
    """Numbers at any places, some perhaps more than once: `places` holds the index of each, and how many from there on are neighbours."""

    def __init__(self, builder, pointer, places, count: int):
        self.builder, self.pointer, self.places, self.count = builder, pointer, places, count

    def _number(self, lane: int):
        return self.builder.load(self.builder.gep(self.places, [llvm.IntType(64)(lane)]))

    def _pointer(self, lane: int):
        return self.builder.gep(self.pointer, [self._number(2 * lane)])

    def _run(self) -> Place:
        return Place(self.builder, self._pointer(0), self.pointer.type.pointee, self.count)

    def _neighbours(self):
        return self.builder.icmp_signed(">=", self._number(1), llvm.IntType(64)(self.count))

    def load(self) -> Lanes:
        """The numbers there."""
        if self.count == 1:
            return self._run().load()
        kind = llvm.VectorType(self.pointer.type.pointee, self.count)
        with self.builder.if_else(self._neighbours()) as (near, far):
            with near:
                run, near_block = self._run().load().value, self.builder.block
            with far:
                whole = llvm.Constant(kind, llvm.Undefined)
                for lane in range(self.count):
                    whole = self.builder.insert_element(whole, self.builder.load(self._pointer(lane)), llvm.IntType(32)(lane))
                far_block = self.builder.block
        joined = self.builder.phi(kind)
        joined.add_incoming(run, near_block)
        joined.add_incoming(whole, far_block)
        return Lanes(self.builder, joined)

    def add(self, lanes: Lanes) -> None:
        """Add to the numbers there, one after the other where they are no neighbours."""
        if self.count == 1:
            self._run().add(lanes)
            return
        with self.builder.if_else(self._neighbours()) as (near, far):
            with near:
                self._run().add(lanes)
            with far:
                for lane in range(self.count):
                    pointer = self._pointer(lane)
                    one = self.builder.extract_element(lanes.value, llvm.IntType(32)(lane))
                    self.builder.store(self.builder.fadd(self.builder.load(pointer), one), pointer)


class Step(NamedTuple):
    """Where a loop has come to: `item`, the first of `count` neighbours when `sequences` is 1."""

    builder: object
    item: object
    sequences: int
    count: int

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return max(self.sequences, self.count)


class Array:
    """One of a loop's arrays, at the step that the loop has come to."""

    def __init__(self, step: Step, pointer):
        self.step, self.pointer, self.element = step, pointer, pointer.type.pointee

    def _place(self, item, size: int, count: int) -> Place:
        at = self.step.builder.mul(item, item.type(size))
        return Place(self.step.builder, self.step.builder.gep(self.pointer, [at]), self.element, count)

    def value(self) -> Lanes:
        """A parameter of the item, the same for all sequences; the array holds one number for each item."""
        if self.step.sequences == 1:
            return self._place(self.step.item, 1, self.step.width).load()
        one = self.step.builder.load(self.step.builder.gep(self.pointer, [self.step.item]))
        return Lanes.spread(self.step.builder, one, self.step.width)

    def row(self, by: "Array | None" = None) -> Place | Gathered:
        """The item's row, or that of the item whose index `by` holds for this one, with the number of neighbours from there on."""
        builder = self.step.builder
        if by is None:
            return self._place(self.step.item, self.step.sequences, self.step.width)
        places = builder.gep(by.pointer, [builder.mul(self.step.item, self.step.item.type(2))])
        if self.step.sequences > 1:
            return self._place(builder.load(places), self.step.sequences, self.step.width)
        return Gathered(builder, self.pointer, places, self.step.width)

    def whole_row(self, item) -> Lanes:
        """The row of one item, the same for all neighbours."""
        if self.step.sequences > 1:
            return self._place(item, self.step.sequences, self.step.width).load()
        return Lanes.spread(self.step.builder, self.step.builder.load(self.step.builder.gep(self.pointer, [item])), self.step.width)

    def add_two(self, even: Lanes, odd: Lanes) -> None:
        """Add two quantities to the item's sums at even and odd places: two numbers for one sequence, four for more."""
        width, builder = self.step.width, self.step.builder
        if self.step.sequences == 1:
            place = self._place(self.step.item, 2, 2 * width)
            place.add(Lanes(builder, shuffle(builder, even, odd, [lane + side * width for lane in range(width) for side in (0, 1)])))
            return
        self._place(self.step.item, SUMS, SUMS).add(fold(builder, interleaved(builder, even, odd, 1), SUMS))

    def add_four(self, parts: list[Lanes]) -> None:
        """Add four quantities, which take turns, to the item's sums, as many numbers as there are sequences."""
        builder, (one, two, three, four) = self.step.builder, parts
        both = interleaved(builder, one, two, 1), interleaved(builder, three, four, 1)
        self.row().add(interleaved(builder, *both, 2))


def shuffle(builder, one: Lanes, two: Lanes, order: list[int]):
    """A vector of the numbers at these places of two."""
    return builder.shuffle_vector(one.value, two.value, llvm.Constant(llvm.VectorType(llvm.IntType(32), len(order)), order))


def interleaved(builder, one: Lanes, two: Lanes, run: int) -> Lanes:
    """Sums of neighbouring runs of as many numbers: those of one vector, then those of the other, in turns."""
    width = one.value.type.count
    halves = ([at + first + side * width + i for at in range(0, width, 2 * run) for side in (0, 1) for i in range(run)] for first in (0, run))
    low, high = (Lanes(builder, shuffle(builder, one, two, half)) for half in halves)
    return low + high


def fold(builder, lanes: Lanes, count: int) -> Lanes:
    """Sums of a vector's parts of `count` numbers."""
    while (width := lanes.value.type.count) > count:
        low, high = (Lanes(builder, shuffle(builder, lanes, lanes, list(half))) for half in (range(width // 2), range(width // 2, width)))
        lanes = low + high
    return lanes


def row_loop(rule):
    """An intrinsic `loop(lanes, arrays, count)` that goes by `rule(*arrays)`, an `Array` each, through so many items.

    `lanes` is a tuple with one entry for each sequence, because its length is known while compiling.
    """

    @extending.intrinsic
    def loop(context, lanes, arrays, count):
        def build(context, builder, signature, arguments):
            span = arguments[2].type(0), arguments[2]
            _pass(builder, lanes.count, rule, 0, _pointers(context, builder, arrays, arguments[1]), [], span, None)
            return context.get_dummy_value()

        return numba.void(lanes, arrays, count), build

    return loop


def target_loop(own, shared, sums: int = 0, finish=None):
    """An intrinsic `loop(lanes, whole, first, owned, shared_first, carried, kept)` that goes from target to target.

    At each it goes by `own(*owned, *whole)` and `shared(*carried, *whole)`, an `Array` for each of the arrays and `Lanes` for the
    target's row of each of `whole`, through the items from that which `first` (or `shared_first`) holds for it up to the next one's.
    Of one sequence all items are shared: few neighbours onto one target would not fill the lanes.

    Args:
        own, shared: the rules; they return quantities to be summed.
        sums: how many.
        finish: called with the list of sums and `kept`, an `Array` each, with the target as the item.
    """

    @extending.intrinsic
    def loop(context, lanes, whole, first, owned, shared_first, carried, kept):
        def build(context, builder, signature, arguments):
            fixed, ends, mine, shared_ends, others, last = (
                _pointers(context, builder, kind, value) for kind, value in zip(signature.args[1:], arguments[1:], strict=True)
            )
            count = builder.sub(builder.extract_value(context.make_array(first)(context, builder, arguments[2]).shape, 0), llvm.IntType(64)(1))
            with cgutils.for_range(builder, count) as target:
                after = builder.add(target.index, target.index.type(1))
                totals, parts = [], ((own, ends[0], mine), (shared, shared_ends[0], others))
                for rule, end, pointers in parts if lanes.count > 1 else parts[1:]:
                    span = [builder.load(builder.gep(end, [at])) for at in (target.index, after)]
                    totals.append(_pass(builder, lanes.count, rule, sums, pointers, fixed, span, target.index))
                if finish is not None:
                    step = Step(builder, target.index, lanes.count, 1)
                    added = [functools.reduce(Lanes.__add__, each) for each in zip(*totals, strict=True)]
                    finish(added, *(Array(step, pointer) for pointer in last))
            return context.get_dummy_value()

        return numba.void(lanes, whole, first, owned, shared_first, carried, kept), build

    return loop


def _pointers(context, builder, kind, value) -> list:
    """Where the numbers of an array, or of each of a tuple of arrays, begin."""
    arrays = [(kind, value)] if isinstance(kind, numba.types.Array) else [(each, builder.extract_value(value, i)) for i, each in enumerate(kind)]
    return [context.make_array(each)(context, builder, array).data for each, array in arrays]


def _pass(builder, sequences: int, rule, sums: int, pointers, fixed, span, target) -> list[Lanes]:
    """The instructions of a loop over the items of `span`; returns the sums, with as many numbers as there are sequences."""
    totals, (start, stop) = [], span
    for count in (1,) if sequences > 1 else ALONE:
        step = Step(builder, start, sequences, count)
        totals = _carry_on(builder, totals, sums, step.width, pointers)
        told = [Array(step, pointer).whole_row(target) for pointer in fixed]
        size = start.type(count)
        until = builder.sub(stop, builder.urem(builder.sub(stop, start), size))
        with cgutils.for_range_slice(builder, start, until, size, stop.type) as (i, _):
            parts = rule(*(Array(step._replace(item=i), pointer) for pointer in pointers), *told) or ()
            for total, part in zip(totals, parts, strict=True):
                builder.store((Lanes(builder, builder.load(total)) + part).value, total)
        start = until
    return [Lanes(builder, builder.load(total)) for total in totals]


def _carry_on(builder, totals, sums: int, width: int, pointers) -> list:
    """Where a loop with vectors of this width adds up: 0, or what the loop with wider ones has added up."""
    if not sums:
        return []
    element = next(pointer.type.pointee for pointer in pointers if not isinstance(pointer.type.pointee, llvm.IntType))
    kind = llvm.VectorType(element, width)
    begin = [fold(builder, Lanes(builder, builder.load(total)), width).value for total in totals] or [kind([0.0] * width)] * sums
    places = [cgutils.alloca_once(builder, kind) for _ in range(sums)]
    for place, value in zip(places, begin, strict=True):
        builder.store(value, place)
    return places
