"""Tasks by name, batches by index."""

import subprocess
import sys

import pytest

pytest.importorskip("numpy")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks.task import RaggedTokens, Task

LENGTHS = (3, 1, 5)


@pytest.fixture
def ragged() -> RaggedTokens:
    tokens = np.arange(1, 10, dtype=np.uint8)
    return RaggedTokens(tokens, np.array([0, 3, 4, 9]), np.array([7, 8, 9]))


def test_a_batch_is_padded_with_zeros_to_its_own_longest_example(ragged):
    batch = ragged.batch([1, 0])
    assert batch.inputs.tolist() == [[4, 0, 0], [1, 2, 3]]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.targets.tolist() == [8, 7]
    assert batch.inputs.dtype == batch.lengths.dtype == batch.targets.dtype == torch.int64


def test_a_batch_follows_the_order_of_its_indices_whatever_holds_them(ragged):
    for indices in ([2, 0, 2], torch.tensor([2, 0, 2]), np.array([2, 0, 2])):
        assert ragged.batch(indices).targets.tolist() == [9, 7, 9]


def test_a_batch_alone_equals_the_same_row_of_a_larger_batch(ragged):
    whole = ragged.batch(range(3))
    for index, length in enumerate(LENGTHS):
        assert torch.equal(ragged.batch([index]).inputs[0], whole.inputs[index, :length])


@pytest.mark.parametrize("indices", [[3], [-1], [], [0.5], [[0]]])
def test_indices_out_of_range_are_refused(ragged, indices):
    with pytest.raises(IndexError, match="expected"):
        ragged.batch(indices)


def test_offsets_that_do_not_fit_the_tokens_are_refused():
    with pytest.raises(ValueError, match="2 examples that end at 4, got 2 examples that end at 3"):
        RaggedTokens(np.ones(4, np.uint8), np.array([0, 1, 3]), np.array([0, 1]))


def test_a_hash_sees_every_token_every_target_and_where_examples_end(ragged):
    tokens, offsets, targets = ragged.tokens, ragged.offsets, ragged.targets
    others = [
        RaggedTokens(np.where(tokens == 9, 8, tokens).astype(np.uint8), offsets, targets),
        RaggedTokens(tokens, offsets, targets[::-1].copy()),
        RaggedTokens(tokens, np.array([0, 2, 4, 9]), targets),
    ]
    assert len({ragged.hash, *(other.hash for other in others)}) == 4
    assert ragged.hash == RaggedTokens(tokens.copy(), offsets.astype(np.int32), targets.astype(np.int16)).hash


def test_a_batch_moves_as_a_whole(ragged):
    moved = ragged.batch([0]).to("meta")
    assert {moved.inputs.device.type, moved.lengths.device.type, moved.targets.device.type} == {"meta"}


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ValueError, match="one of listops, text, retrieval, image, pathfinder, pathx, adding, copying, parity, .*; got 'listop'"):
        tasks.load("listop")


@pytest.mark.parametrize("name", tasks.names())
def test_an_unknown_option_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=f"task '{name}' has the options .*train.*test.*; got 'windw'"):
        tasks.load(name, windw=1)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("listops", {"minimum": 500, "maximum": 501}),
        ("listops", {"max_args": 1}),
        ("listops", {"train": 0}),
        ("listops", {"workers": 0}),
        ("listops", {"seed": -1}),
        ("listops", {"seed": "0"}),
        ("image", {"protocol": "s5"}),
        ("image", {"side": 8}),
        ("text", {"protocol": "s5"}),
        ("text", {"length": 1}),
        ("text", {"train": 0}),
        ("text", {"seed": -1}),
        ("retrieval", {"data": "aan"}),
        ("retrieval", {"protocol": "s5"}),
        ("retrieval", {"length": 10_001}),
        ("retrieval", {"valid": 0}),
        ("pathfinder", {"resolution": 48}),
        ("pathfinder", {"difficulty": "harder"}),
        ("pathfinder", {"workers": 0}),
        ("pathx", {"protocol": "s5"}),
        ("pathx", {"train": 0}),
        ("adding", {"length": 1}),
        ("adding", {"test": 2.5}),
        ("copying", {"alphabet": 1}),
        ("copying", {"scored": "some"}),
        ("copying", {"blanks": True}),
        ("parity", {"length": 0}),
        ("parity", {"longer": (0,)}),
        ("cycle_navigation", {"longer_size": 0}),
        ("modular_arithmetic", {"valid_length": 0}),
        ("word_problem", {"alphabet": "letters"}),
        ("word_problem", {"label": "colour"}),
        ("flip_flop_language", {"ignored": 1.0}),
        ("flip_flop_language", {"scored": "writes"}),
        ("flip_flop_language", {"length": 2}),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name, chosen):
    with pytest.raises(ValueError, match="expected .*(got|and)"):
        tasks.load(name, **chosen)


def test_a_task_takes_tokens_or_numbers_and_says_how_it_is_scored(ragged):
    splits = {"train": ragged, "valid": ragged, "test": ragged}
    common = {"name": "toy", "classes": 10, "length": 5, "variant": {}, **splits}
    task = Task(kind="classification", vocabulary=10, features=None, **common)
    assert (task.score_name, task.higher_is_better) == ("accuracy", True)
    assert task.sizes == {"train": 3, "valid": 3, "test": 3}
    task = Task(kind="regression", vocabulary=None, features=1, **common)
    assert (task.score_name, task.higher_is_better) == ("mean squared error", False)
    with pytest.raises(ValueError, match="one of classification, regression, tokens; got 'ranking'"):
        Task(kind="ranking", vocabulary=10, features=None, **common)
    with pytest.raises(ValueError, match="a vocabulary or features"):
        Task(kind="tokens", vocabulary=10, features=1, **common)


def test_without_numpy_the_error_names_the_extra():
    code = "import sys; sys.modules['numpy'] = None\nimport cffbook.tasks"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: cffbook.tasks needs") and "cffbook[train]" in last
