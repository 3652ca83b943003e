"""ListOps: the generator's distribution, its values, its reproducibility, and Long Range Arena's files."""

import hashlib
import random
import time
from pathlib import Path

import pytest

pytest.importorskip("numpy")
import numpy as np

from cffbook import tasks
from cffbook.tasks import listops
from cffbook.tasks.listops_draw import Grammar, draw_chunk
from cffbook.tasks.listops_text import VOCABULARY, evaluate, read_tsv, serialise, tokenise, write_tsv
from cffbook.tasks.task import RaggedTokens

SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "lra_format" / "listops_basic_test.head.tsv"
SMALL = {"minimum": 5, "maximum": 40, "max_args": 5, "train": 300, "valid": 50, "test": 70}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def drawn():
    """60 chunks of the true window: about 10,000 trees."""
    return [draw_chunk(Grammar(), seed=1, index=index) for index in range(60)]


@pytest.fixture(scope="module")
def trees(drawn) -> RaggedTokens:
    lengths = np.concatenate([np.diff(chunk.offsets) for chunk in drawn])
    tokens = np.concatenate([chunk.tokens for chunk in drawn])
    return RaggedTokens(tokens, np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([c.values for c in drawn]))


def naive_tree(source: random.Random, depth: int = 1, max_args: int = 10, max_depth: int = 10) -> list[str]:
    """The generator as one would write it first: one node, one call."""
    if depth >= max_depth or source.random() > 0.25:
        return [str(source.randrange(10))]
    words = [source.choice(["[MIN", "[MAX", "[MED", "[SM"])]
    for _ in range(source.randint(2, max_args)):
        words += naive_tree(source, depth + 1, max_args, max_depth)
    return [*words, "X"]


def largest_gap(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance of two samples."""
    grid = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(sample), grid, "right") / len(sample) for sample in (one, other)]
    return np.abs(shares[0] - shares[1]).max()


def root_arity(tokens: np.ndarray) -> int:
    operator, close = (tokens >= 11) & (tokens < 15), tokens == 15
    level = np.cumsum(operator.astype(int) - close.astype(int))
    return int((operator & (level == 2)).sum() + ((tokens < 11) & (level == 1)).sum())


# Recorded statistics: the rules one node at a time, as `naive_tree` has them, 100,000 accepted of 1,208,895 draws. Tolerances
# are four standard errors of the difference of the two samples (100,000 and about 10,000 trees), unless a line says otherwise.
RECORDED = 100_000


def tolerance(deviation: float, size: int) -> float:
    return 4 * deviation * (1 / RECORDED + 1 / size) ** 0.5


def test_one_draw_in_twelve_is_accepted_and_hardly_any_is_too_long(drawn):
    draws = sum(chunk.draws for chunk in drawn)
    accepted = sum(len(chunk.values) for chunk in drawn)
    rejected_long = sum(chunk.long for chunk in drawn)
    assert sum(chunk.short for chunk in drawn) + rejected_long + accepted == draws
    assert accepted / draws == pytest.approx(0.0827, abs=4 * (0.0827 * 0.9173 * (1 / 1_208_895 + 1 / draws)) ** 0.5)
    assert rejected_long / (draws - accepted) == pytest.approx(0.0123, abs=4 * (0.0123 / (draws - accepted)) ** 0.5)


def test_lengths_lie_strictly_inside_the_window(trees):
    lengths = np.diff(trees.offsets)
    assert lengths.min() > 500 and lengths.max() < 2000
    exact = draw_chunk(Grammar(3, 6), seed=0, index=0)
    assert set(np.diff(exact.offsets).tolist()) == {4, 5}


def test_length_deciles_are_the_recorded_ones(trees):
    deciles = np.array([577, 660, 748, 846, 955, 1081, 1225, 1403, 1642])
    shares = np.searchsorted(np.sort(np.diff(trees.offsets)), deciles, "right") / len(trees)
    # Two samples' Kolmogorov-Smirnov distance stays below 1.95 sqrt(1/n + 1/m), 0.02 here, with probability 0.999.
    assert np.abs(shares - np.arange(0.1, 1, 0.1)).max() < 1.95 * (1 / RECORDED + 1 / len(trees)) ** 0.5
    assert np.diff(trees.offsets).mean() == pytest.approx(1035.5, abs=tolerance(394, len(trees)))


def test_labels_are_u_shaped_as_recorded(trees):
    recorded = np.array([16785, 9143, 7838, 8269, 8901, 8734, 7558, 7104, 8835, 16833])
    counts = np.bincount(trees.targets, minlength=10)
    scale = (len(trees) / RECORDED) ** 0.5
    statistic = ((counts / scale - recorded * scale) ** 2 / (counts + recorded)).sum()
    assert statistic < 27.9  # chi-square of two samples, 9 degrees of freedom, exceeded with probability 0.001


def test_operators_root_arity_and_depth_are_the_recorded_ones(trees):
    count = listops.operators(trees)
    assert count.mean() == pytest.approx(147.3, abs=tolerance(55.7, len(trees)))
    some = range(0, len(trees), 3)
    arity = np.array([root_arity(trees.example(index)) for index in some])
    assert arity.mean() == pytest.approx(6.888, abs=tolerance(2.38, len(arity)))
    assert arity.min() == 2 and arity.max() == 10
    for index in some:
        tokens = trees.example(index)
        level = np.cumsum(((tokens >= 11) & (tokens < 15)).astype(int) - (tokens == 15).astype(int))
        assert level.max() == 9  # a node at depth 10 is a digit, and so long a tree always reaches it
    roots = np.bincount(trees.tokens[trees.offsets[:-1]], minlength=16)[11:15]
    assert np.abs(roots / len(trees) - 0.25).max() < 4 * (0.25 * 0.75 / len(trees)) ** 0.5


def test_floors_are_the_recorded_ones(trees):
    found = listops.floors(trees)
    assert found["majority"] == pytest.approx(0.168, abs=tolerance(0.374, len(trees)))
    assert found["root_operator"] == pytest.approx(0.360, abs=tolerance(0.480, len(trees)))
    # 4,000 trees of another implementation; deviation 0.5 at most
    for depth, recorded in ((1, 0.445), (2, 0.656), (3, 0.781)):
        assert found[f"depth_{depth}"] == pytest.approx(recorded, abs=4 * 0.5 * (1 / 4000 + 1 / len(trees)) ** 0.5)


def test_lengths_and_node_counts_agree_with_a_naive_generator(trees):
    source, naive = random.Random(3), []
    while len(naive) < 1200:
        words = naive_tree(source)
        if 500 < len(words) < 2000:
            naive.append((len(words), len(words) - words.count("X")))
    lengths, nodes = np.array(naive).T
    bound = 1.95 * (1 / len(naive) + 1 / len(trees)) ** 0.5  # exceeded with probability 0.001
    assert largest_gap(lengths, np.diff(trees.offsets)) < bound
    assert largest_gap(nodes, np.diff(trees.offsets) - listops.operators(trees)) < bound


def test_every_value_agrees_with_the_independent_evaluator(trees):
    for index in range(3000):
        assert evaluate(trees.example(index)) == trees.targets[index]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("7", 7),
        ("( ( ( [MIN 4 ) 2 ) ] )", 2),
        ("( ( ( [MAX 4 ) 2 ) ] )", 4),
        ("( ( ( ( [SM 9 ) 9 ) 5 ) ] )", 3),
        ("( ( ( ( [MED 9 ) 1 ) 5 ) ] )", 5),
        ("( ( ( [MED 4 ) 7 ) ] )", 5),  # 5.5, cut
        ("( ( ( [MAX ( ( ( [MIN 8 ) 3 ) ] ) ) 2 ) ] )", 3),
    ],
)
def test_an_expression_has_the_value_worked_out_by_hand(source, value):
    tokens = tokenise(source)
    assert evaluate(tokens) == value
    assert serialise(tokens) == source


def test_deeper_operators_count_as_five_when_the_depth_is_cut():
    tokens = tokenise("[MAX [MIN 9 [SM 4 4 ] ] 2 ]")
    assert [evaluate(tokens, depth) for depth in (1, 2, 3, None)] == [5, 5, 8, 8]
    tokens = tokenise("[MIN [SM [MAX 1 2 ] [MAX 0 0 ] ] 9 ]")
    assert [evaluate(tokens, depth) for depth in (1, 2, 3, None)] == [5, 0, 2, 2]


def test_the_tokeniser_keeps_closing_brackets_and_has_fifteen_words():
    assert tokenise("( ( ( [SM 0 ) 9 ) ] )").tolist() == [14, 1, 10, 15]
    assert VOCABULARY == 16


def test_a_long_file_of_trees_survives_writing_and_reading(trees, tmp_path):
    few = RaggedTokens(trees.tokens[: trees.offsets[50]], trees.offsets[:51], trees.targets[:50])
    write_tsv(tmp_path / "trees.tsv", few)
    assert read_tsv(tmp_path / "trees.tsv").hash == few.hash


def test_rows_of_the_real_file_are_read_evaluated_and_written_back(tmp_path):
    if not SAMPLES.exists():
        pytest.skip("rows of Long Range Arena's own file are not at hand: ../shared/data/lra_format is absent")
    split = read_tsv(SAMPLES)
    assert [evaluate(split.example(index)) for index in range(5)] == split.targets.tolist()
    write_tsv(tmp_path / "copy.tsv", split)
    assert (tmp_path / "copy.tsv").read_bytes() == SAMPLES.read_bytes()


GOOD = "( ( ( [MAX 4 ) 2 ) ] )\t4\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected a header and rows"),
        ("Source\tTarget\n", "line 2: expected a header and rows"),
        ("Target\tSource\n" + GOOD, "line 1: expected the header"),
        ("Source\tTarget\n" + GOOD + GOOD.replace("\t", "\t\t"), "line 3: expected 2 columns, got 3"),
        ("Source\tTarget\n" + GOOD + GOOD[:12], "line 3: expected 2 columns, got 1: the file is cut short"),
        ("Source\tTarget\n" + GOOD[:-2], "line 2: expected a digit as target, got ''"),
        ("Source\tTarget\n( ( ( [MAX 4 ) 2 )\t4\n", "line 2: expected one expression with every bracket closed"),
        ("Source\tTarget\n4 4\t4\n", "line 2: expected one expression"),
        ("Source\tTarget\n( ( ( [AVG 4 ) 2 ) ] )\t4\n", r"line 2: expected words among .* got '\[AVG'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, content, message):
    (tmp_path / "bad.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_tsv(tmp_path / "bad.tsv")


def test_the_other_protocol_adds_an_end_to_every_expression(tmp_path):
    plain, ended = tasks.load("listops", **SMALL), tasks.load("listops", protocol="s4", **SMALL)
    assert (ended.vocabulary, plain.vocabulary, ended.floors) == (18, 16, plain.floors)
    assert ended.variant == plain.variant | {"protocol": "s4"} and "protocol" not in plain.variant
    for one, other in ((ended.train, plain.train), (ended.valid, plain.valid), (ended.test, plain.test)):
        assert one.targets.tolist() == other.targets.tolist()
        for index in range(0, len(one), 7):
            assert one.example(index).tolist() == [*other.example(index).tolist(), 16]
    assert np.diff(ended.train.offsets).max() <= ended.length
    with pytest.raises(ValueError, match="one of lra, s4; got 's5'"):
        tasks.load("listops", protocol="s5")
    with pytest.raises(ValueError, match="expected maximum to be at most 2048"):
        tasks.load("listops", protocol="s4", **SMALL | {"minimum": 1, "maximum": 2049, "train": 20, "valid": 5, "test": 5})


def test_a_seed_gives_these_bytes_on_every_machine():
    chunk = draw_chunk(Grammar(), seed=0, index=0)
    assert hashlib.sha256(chunk.tokens.tobytes() + bytes(chunk.values.tolist())).hexdigest()[:16] == "865923fadaee5de8"


def test_workers_do_not_change_the_data():
    sizes = {"train": 600, "valid": 50, "test": 50}
    alone, three = (listops.generate(Grammar(100, 500), sizes, 5, workers) for workers in (1, 3))
    assert {name: split.hash for name, split in alone.items()} == {name: split.hash for name, split in three.items()}


def test_seeds_differ_and_a_larger_training_set_leaves_the_test_set_alone():
    small, large, other = (tasks.load("listops", **{**SMALL, **more}) for more in ({}, {"train": 600}, {"seed": 1}))
    assert small.test.hash == large.test.hash and small.valid.hash == large.valid.hash
    assert small.test.hash != other.test.hash


def test_no_tree_occurs_twice_even_where_the_window_holds_few():
    task = tasks.load("listops", minimum=3, maximum=6, max_args=3, train=1500, valid=200, test=200)
    trees = [split.example(index).tobytes() for split in (task.train, task.valid, task.test) for index in range(len(split))]
    assert len(set(trees)) == len(trees) == 1900


def test_a_window_with_too_few_trees_is_refused():
    with pytest.raises(ValueError, match="expected 402 different trees .* found 400"):
        tasks.load("listops", minimum=3, maximum=5, train=400, valid=1, test=1)


def test_the_cache_gives_the_same_task_and_is_not_drawn_again(cache, monkeypatch):
    first = tasks.load("listops", **SMALL)
    monkeypatch.setattr(listops, "generate", lambda *_: pytest.fail("drawn again"))
    again = tasks.load("listops", **SMALL)
    assert again.data_hash == first.data_hash and again.floors == first.floors and again.variant == first.variant
    assert [path.suffix for path in (cache / "listops").iterdir()] == [".npz"]


@pytest.mark.parametrize("protocol", listops.PROTOCOLS)
def test_shorter_trees_to_begin_with_are_others_than_the_task_has(protocol, cache):
    task = tasks.load("listops", **SMALL, protocol=protocol)
    ended = int(protocol == "s4")
    held = {split.example(index).tobytes() for split in (task.train, task.valid, task.test) for index in range(len(split))}
    for length in (12, 30):  # the task itself has trees of 6 to 39 tokens
        short = task.train.at(length)
        lengths = np.diff(short.offsets) - ended
        assert len(short) == len(task.train) and length // 2 < lengths.min() and lengths.max() < length
        values = [evaluate(short.example(index)[: lengths[index]]) for index in range(len(short))]
        assert values == short.targets.tolist() and len({short.example(index).tobytes() for index in range(len(short))}) == len(short)
        if length == 30:
            assert sum(short.example(index).tobytes() in held for index in range(len(short))) < len(short) / 100
    assert task.train.hash == RaggedTokens(task.train.tokens, task.train.offsets, task.train.targets).hash  # as records of older code have it
    assert task.train.at(40) is task.train and task.train.at(12) is task.train.at(12)
    again = tasks.load("listops", **SMALL, protocol=protocol)
    assert again.train.at(12).hash == task.train.at(12).hash != tasks.load("listops", **SMALL, seed=1).train.at(12).hash
    assert sum("shorter" in path.name for path in (cache / "listops").iterdir()) == 3


def test_trees_are_not_had_at_lengths_that_there_are_not():
    task = tasks.load("listops", **SMALL)
    for length in (9, 41):
        with pytest.raises(ValueError, match=f"expected a length of 10 to 40 tokens, got {length}"):
            task.train.at(length)
    assert not hasattr(task.test, "at")


def test_a_damaged_cache_says_to_delete_it(cache):
    tasks.load("listops", **SMALL)
    (path,) = (cache / "listops").iterdir()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged .* delete it"):
        tasks.load("listops", **SMALL)


def test_a_batch_of_long_trees_takes_about_a_millisecond(trees):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        trees.batch(range(32))
        times.append(time.perf_counter() - start)
    assert min(times) < 2e-3
