"""Running labels of automata and groups, and flip-flop language modelling, against plain Python."""

import hashlib
import itertools

import pytest

pytest.importorskip("numpy")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks.groups import closure, compose, parse

CASES = {
    "parity": ("parity", {}),
    "cycle_navigation": ("cycle_navigation", {}),
    "sums": ("modular_arithmetic", {}),
    "expressions": ("modular_arithmetic", {"operators": True}),
    "S3": ("word_problem", {"group": "s3"}),
    "A5": ("word_problem", {"group": "a5"}),
    "S5 by generators": ("word_problem", {"group": "s5", "alphabet": "generators"}),
    "of cycles": ("word_problem", {"group": "(0 1)(2 3); (0 2 1)"}),
    "place of S5": ("word_problem", {"group": "s5", "alphabet": "generators", "label": "place"}),
    "flip-flops": ("flip_flop_language", {"length": 64}),
}


def load(case, **options):
    name, own = CASES[case]
    return tasks.load(name, **{**own, **options})


def by_hand(task, inputs):
    """The labels of one example, made in plain Python."""
    symbols, variant = [token - 1 for token in inputs.tolist()], task.variant
    if task.name == "parity":
        return np.cumsum(symbols) % 2
    if task.name == "cycle_navigation":
        return np.cumsum([(0, 1, -1)[symbol] for symbol in symbols]) % 5
    if task.name == "modular_arithmetic" and not variant["operators"]:
        return np.cumsum(symbols) % 5
    if task.name == "modular_arithmetic":
        text = "".join("01234+-*"[symbol] for symbol in symbols)
        return [-100 if place % 2 else eval(text[: place + 1]) % 5 for place in range(len(text))]
    generators = parse(variant["group"])
    elements = sorted(closure(generators))
    letters = elements if variant["alphabet"] == "elements" else [elements[0], *generators]
    places, labels = list(range(len(elements[0]))), []
    for symbol in symbols:
        places = [letters[symbol][place] for place in places]  # where every place has gone so far
        labels.append(elements.index(tuple(places)) if variant["label"] == "element" else places[0])
    return labels


@pytest.mark.parametrize("case", [case for case in CASES if case != "flip-flops"])
def test_the_label_of_every_sample_is_that_of_the_whole_sequence_up_to_it(case):
    task = load(case, length=37)
    batch = task.test.batch(range(20))
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        assert targets.tolist() == list(by_hand(task, inputs))
    assert batch.inputs.min() >= 1 and batch.inputs.max() < task.vocabulary and batch.targets.max() < task.classes
    assert batch.lengths.tolist() == [37] * 20


def test_a_read_gives_the_bit_that_was_written_last():
    for length in (64, 65, 3):
        batch = tasks.load("flip_flop_language", length=length, ignored=0.5).test.batch(range(50))
        for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            text, last = [" wri01"[token] for token in inputs], None
            assert text[0] == "w" and text[length - 1 - (length - 1) % 2] == "r"
            for place, token in enumerate(text):
                if place % 2 == 0:
                    assert token in "wri" and (targets[place] == -100) == (token != "r")
                    assert token != "r" or " wri01"[targets[place]] == last
                else:
                    assert token in "01" and targets[place] == -100
                    last = token if text[place - 1] == "w" else last
                    assert text[place - 1] != "r" or token == last


def test_instructions_come_as_often_as_told_in_each_test():
    task = tasks.load("flip_flop_language", length=512, test=400)
    for split, ignored in ((task.test, 0.8), (task.tests["sparse"], 0.98), (task.tests["dense"], 0.1)):
        batch = split.batch(range(400))
        inner = batch.inputs[:, 2:-2:2]  # the first is always w, the last always r
        for token, share in ((3, ignored), (1, (1 - ignored) / 2), (2, (1 - ignored) / 2)):
            deviation = (share * (1 - share) / inner.numel()) ** 0.5
            assert (inner == token).double().mean().item() == pytest.approx(share, abs=4 * deviation)
        written = batch.inputs[:, 1::2][batch.inputs[:, ::2] == 1]
        assert (written == 5).double().mean().item() == pytest.approx(0.5, abs=2 / len(written) ** 0.5)


def test_every_next_token_is_the_target_when_all_are_scored():
    batch = tasks.load("flip_flop_language", length=20, scored="all").train.batch(range(5))
    assert torch.equal(batch.targets[:, :-1], batch.inputs[:, 1:]) and (batch.targets[:, -1] == -100).all()


@pytest.mark.parametrize("name, order", [("s3", 6), ("s4", 24), ("s5", 120), ("a4", 12), ("a5", 60), ("z7", 7), ("d4", 8), ("d5", 10), ("s2", 2)])
def test_a_named_group_has_the_elements_it_should(name, order):
    elements = closure(parse(name))
    assert len(elements) == order and elements[0] == tuple(range(len(elements[0])))
    some = elements[:: max(1, order // 6)]
    assert all(compose(one, two) in elements for one in some for two in some)
    even = [sum(a > b for a, b in itertools.combinations(element, 2)) % 2 == 0 for element in elements]
    assert all(even) if name[0] == "a" else True
    inverse = [tuple(np.argsort(element).tolist()) for element in elements]
    assert set(inverse) == set(elements)


def test_generators_are_read_as_cycles_and_the_left_factor_is_applied_first():
    assert parse("(0 1); (0 1 2)") == [(1, 0, 2), (1, 2, 0)]
    assert compose((1, 0, 2), (1, 2, 0)) == (2, 1, 0)  # 0 -> 1 -> 2
    assert closure(parse("(0 1); (0 1 2)")) == closure(parse("s3"))
    batch = tasks.load("word_problem", group="s5", alphabet="generators").train.batch(range(100))
    assert sorted(batch.inputs.unique().tolist()) == [1, 2, 3]  # the identity and both generators


@pytest.mark.parametrize("group, error", [("q8", "expected a group"), ("(0 1 0)", "share no place"), ("s7", "at most 720"), ("a2", "more places"), ("", "expected a group")])
def test_what_is_no_group_is_refused(group, error):
    with pytest.raises(ValueError, match=error):
        tasks.load("word_problem", group=group)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [3, 40, 41])
def test_an_example_depends_on_seed_split_length_and_index_alone(case, length):
    task = load(case, length=length, train=300)
    whole = task.train.batch(range(300))
    assert torch.equal(load(case, length=length, train=400).train.batch([299, 7]).inputs, whole.inputs[[299, 7]])
    assert torch.equal(load(case, length=41, train=300).train.at(length).batch([5]).targets[0], whole.targets[5])
    assert load(case, length=length, seed=1).train.hash != load(case, length=length).train.hash


@pytest.mark.parametrize("case", [case for case in CASES if case != "flip-flops"])
def test_one_sample_is_a_sequence_too(case):
    task = load(case, length=1)
    batch = task.train.batch([0])
    assert batch.inputs.shape == batch.targets.shape == (1, 1) and batch.targets.tolist()[0] == list(by_hand(task, batch.inputs[0]))


def test_the_bytes_are_the_same_on_every_machine():
    def digest(case):
        batch = load(case, seed=3).test.batch(range(50))
        return hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()[:12]

    assert {case: digest(case) for case in CASES} == {
        "parity": "f39eb4795568",
        "cycle_navigation": "59b4539720d4",
        "sums": "41c29ed548de",
        "expressions": "47318fd963db",
        "S3": "795452036122",
        "A5": "44c1487c4f88",
        "S5 by generators": "bd19cd4f53c7",
        "of cycles": "cfb79b8f1d43",
        "place of S5": "3238aefcfcb8",
        "flip-flops": "2c02615b6cf0",
    }


@pytest.mark.parametrize("case", CASES)
def test_a_rule_scores_everything_and_a_constant_the_floor(case):
    task = load(case)
    batch = task.test.batch(range(500))
    scored = batch.targets != -100
    labels = batch.targets[scored]
    counts = torch.bincount(labels, minlength=task.classes).double() / len(labels)
    assert counts.max().item() == pytest.approx(task.floors["majority"], abs=0.03)
    assert task.floors["memoryless"] >= task.floors["majority"] - 0.02
    assert task.floors["memoryless"] < 0.6 and task.floors["chance"] <= 0.5


@pytest.mark.parametrize("case", ["parity", "cycle_navigation", "sums", "S3", "A5"])
def test_the_labels_of_a_group_are_balanced_at_its_end(case):
    task = load(case, length=60)
    last = task.test.batch(range(2000)).targets[:, -1]
    counts, expected = torch.bincount(last, minlength=task.classes).double(), 2000 / task.classes
    chi = ((counts - expected) ** 2 / expected).sum().item()
    freedom = task.classes - 1
    assert chi < freedom + 4 * (2 * freedom) ** 0.5 + 4  # beyond four standard deviations of chi-square


def test_longer_tests_have_their_own_examples_and_a_hundred_thousand_samples_come_at_once():
    task = tasks.load("parity", longer=(80, 100_000), longer_size=4)
    assert list(task.tests) == ["length 80", "length 100000"] and task.length == 40
    long = task.tests["length 100000"].batch(range(4))
    assert long.inputs.shape == (4, 100_000)
    assert torch.equal(long.targets, (long.inputs - 1).cumsum(1) % 2)
    assert not torch.equal(task.tests["length 80"].batch([0]).inputs[0, :40], task.test.batch([0]).inputs[0])
    assert task.data_hash != tasks.load("parity", longer=(80,), longer_size=4).data_hash


def test_the_validation_split_may_be_longer():
    task = tasks.load("parity", length=8, valid_length=20)
    assert task.valid.batch([0]).inputs.shape == (1, 20) and task.length == 20 and task.train.batch([0]).inputs.shape == (1, 8)
