"""Finite automata read symbol by symbol, with the state to be told after each: parity, modular arithmetic, cycle navigation.

    s_t = table[s_{t-1}, x_t],   the label of sample t is label[s_t]

Deletang et al. 2023 ask for the label of the last sample only; here every sample has one, and a sequence is as hard as its end.
"""

from collections.abc import Sequence

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, longer_tests, splits, token_floors
from cffbook.tasks.task import IGNORED, Batch, Task

MODULUS, OPERATORS = 5, "+-*"


class Automaton(Generated):
    """Batches of `(batch, length)` tokens, 1 + symbol, and the label of the state after each.

    Args:
        seed, role, size, length: see `Generated`.
        table: `(states, symbols)` int64, the next state.
        labels: `(states,)` int64, -100 where none is asked for.
        start: the state before the first symbol.
        phases: (first symbol, number of symbols) drawn from at positions 0, 1, ..., again from the first after the last.
    """

    def __init__(self, seed: int, role: str, size: int, length: int, table: np.ndarray, labels: np.ndarray, start: int = 0,
                 phases: Sequence[tuple[int, int]] = ()):  # fmt: skip
        super().__init__(seed, role, size, length)
        self.table, self.labels, self.start = table, labels, start
        self.phases = tuple(phases) or ((0, table.shape[1]),)

    def _batch(self, indices: np.ndarray) -> Batch:
        numbers = self.numbers(indices, self.length)
        symbols = np.empty(numbers.shape, dtype=np.int64)
        for place, (first, count) in enumerate(self.phases):
            symbols[:, place :: len(self.phases)] = first + below(numbers[:, place :: len(self.phases)], count)
        states = run(self.table, symbols, self.start)
        return collate(1 + symbols, self.labels[states])


def run(table: np.ndarray, symbols: np.ndarray, start: int = 0) -> np.ndarray:
    """The states `(batch, time)` after each of the symbols `(batch, time)`."""
    flat, width = table.ravel(), table.shape[1]
    steps, states = np.ascontiguousarray(symbols.T), np.empty(symbols.shape[::-1], dtype=np.int64)
    now = np.full(len(symbols), start, dtype=np.int64)
    for time, symbol in enumerate(steps):
        now = states[time] = flat[now * width + symbol]
    return np.ascontiguousarray(states.T)


def tracking(
    name: str, table: np.ndarray, labels: np.ndarray, classes: int, options: dict, *, start: int = 0, phases: Sequence = (),
    told: dict[str, object] | None = None,
) -> Task:  # fmt: skip
    """The task of telling an automaton's labels; `options` are those that all such tasks share."""
    length, seed = options["length"], options["seed"]
    made = {role: Automaton(seed, role, options[role], length, table, labels, start, phases) for role in SPLITS}
    parts = splits(made, options["valid_length"])
    return Task(
        name=name, kind="tokens", vocabulary=1 + table.shape[1], features=None, classes=classes,
        length=max(length, options["valid_length"] or 0), **parts,
        variant={**(told or {}), **options, "longer": list(options["longer"])},
        floors=token_floors(parts["valid"], parts["test"], classes),
        tests=longer_tests(made["test"], options["longer"], options["longer_size"]),
    )  # fmt: skip


def build_parity(
    length: int = 40, valid_length: int | None = None, longer: tuple[int, ...] = (), longer_size: int = 100,
    train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build running parity: whether the number of ones so far is odd.

    Args:
        length: samples of an example.
        valid_length: samples of an example of the validation split; None for `length`.
        longer: lengths of further test splits.
        longer_size: examples in each of them.
        train, valid, test: examples in each split, made on the fly.
        seed: fixes everything.

    Raises:
        ValueError: an option out of range.
    """
    options = dict(length=length, valid_length=valid_length, longer=longer, longer_size=longer_size,
                   train=train, valid=valid, test=test, seed=seed)  # fmt: skip
    return tracking("parity", np.array([[0, 1], [1, 0]]), np.arange(2), 2, options)


def build_cycle(
    length: int = 40, valid_length: int | None = None, longer: tuple[int, ...] = (), longer_size: int = 100,
    train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build cycle navigation: where on a cycle of five places one is after steps of 0, +1 and -1; options as of parity."""
    options = dict(length=length, valid_length=valid_length, longer=longer, longer_size=longer_size,
                   train=train, valid=valid, test=test, seed=seed)  # fmt: skip
    table = (np.arange(MODULUS)[:, None] + np.array([0, 1, -1])) % MODULUS
    return tracking("cycle_navigation", table, np.arange(MODULUS), MODULUS, options)


def build_modular(
    operators: bool = False, length: int = 40, valid_length: int | None = None, longer: tuple[int, ...] = (), longer_size: int = 100,
    train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build arithmetic modulo 5: the sum of the numbers so far, or the value of the expression so far.

    Args:
        operators: numbers at even places and +, - or * between them, multiplication first; a number's sample is scored, an
            operator's is not.
        length, valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    options = dict(length=length, valid_length=valid_length, longer=longer, longer_size=longer_size,
                   train=train, valid=valid, test=test, seed=seed)  # fmt: skip
    told = {"operators": operators}
    if not operators:
        table = (np.arange(MODULUS)[:, None] + np.arange(MODULUS)) % MODULUS
        return tracking("modular_arithmetic", table, np.arange(MODULUS), MODULUS, options, told=told)
    table, labels, start = expressions()
    phases = ((0, MODULUS), (MODULUS, len(OPERATORS)))
    return tracking("modular_arithmetic", table, labels, MODULUS, options, start=start, phases=phases, told=told)


def expressions() -> tuple[np.ndarray, np.ndarray, int]:
    """Table, labels and start of the automaton that reads sums of products modulo 5.

    A state is (sum of the finished products, product so far, operator it waits behind or none).
    """
    states = [(total, product, waiting) for waiting in ("", *OPERATORS) for total in range(MODULUS) for product in range(MODULUS)]
    number = {state: place for place, state in enumerate(states)}
    table = np.empty((len(states), MODULUS + len(OPERATORS)), dtype=np.int64)
    for place, (total, product, waiting) in enumerate(states):
        for digit in range(MODULUS):
            factor = {"": digit, "+": digit, "-": -digit, "*": product * digit}[waiting]
            table[place, digit] = number[total, factor % MODULUS, ""]
        for index, operator in enumerate(OPERATORS):
            after = (total, product, "*") if operator == "*" else ((total + product) % MODULUS, 0, operator)
            table[place, MODULUS + index] = number[after]
    labels = np.array([IGNORED if waiting else (total + product) % MODULUS for total, product, waiting in states])
    return table, labels, number[0, 0, "+"]
