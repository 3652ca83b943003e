"""Retention, selective copying, associative recall, induction, and irregular sampling: targets against plain Python."""

import hashlib

import pytest

pytest.importorskip("numpy")
import torch

from cffbook import tasks

CASES = {
    "one bit": ("retention", {"length": 11}),
    "three bits": ("retention", {"length": 20, "bits": 3, "irregular": True}),
    "selective copying": ("selective_copying", {"length": 31, "symbols": 5}),
    "associative recall": ("associative_recall", {"pairs": 4, "keys": 9, "values": 7, "length": 25}),
    "induction": ("induction", {"length": 17, "alphabet": 5}),
    "irregular adding": ("adding", {"length": 13, "irregular": True}),
}


def load(case, **options):
    name, own = CASES[case]
    return tasks.load(name, **{**own, **options})


@pytest.mark.parametrize("bits, length", [(1, 2), (1, 3), (1, 50), (3, 6), (3, 31)])
def test_every_bit_is_set_once_held_over_weaker_noise_and_asked_for(bits, length):
    batch = tasks.load("retention", bits=bits, length=length, noise=0.9).test.batch(range(200))
    lines, cues = batch.inputs.split(bits, 2)
    assert batch.inputs.shape == (200, length, 2 * bits)
    pulses = lines[:, :bits]
    assert (pulses.abs().sum(2) == 1).all() and (pulses.abs().sum(1) == 1).all()
    noise = lines[:, bits : length - bits]
    assert (noise.abs() < 0.9 + 1e-6).all() and (lines[:, length - bits :] == 0).all()
    assert torch.equal(cues[:, -bits:], torch.eye(bits).expand(200, bits, bits)) and (cues[:, :-bits] == 0).all()
    assert (batch.targets[:, :-bits] == -100).all() and torch.equal(batch.targets[:, -bits:], (pulses.sum(1) > 0).long())


def test_noise_is_even_and_bits_are_fair_in_any_order():
    batch = tasks.load("retention", bits=2, length=24, noise=0.5).train.batch(range(2000))
    noise = batch.inputs[:, 2:-2, :2]
    assert abs(noise.mean().item()) < 4 * (1 / 12 / noise.numel()) ** 0.5  # uniform in +-1/2
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.02)
    values = batch.targets[:, -2:].double()
    assert values.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=4 * (0.25 / 2000) ** 0.5)
    first = batch.inputs[:, 0, 0].abs().double().mean().item()
    assert first == pytest.approx(0.5, abs=4 * (0.25 / 2000) ** 0.5)


@pytest.mark.parametrize("length", [5, 6, 200])
def test_symbols_among_blanks_are_recalled_in_their_order(length):
    batch = tasks.load("selective_copying", length=length, symbols=5, alphabet=4).test.batch(range(100))
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        said = [token - 1 for token in inputs[:length] if token <= 4]
        assert len(said) == 5 and set(inputs[:length]) <= {1, 2, 3, 4, 5} and inputs[length:] == [6] * 5
        assert targets == [-100] * length + said


def test_symbols_reach_every_place():
    inputs = tasks.load("selective_copying", length=10, symbols=3, alphabet=2).test.batch(range(2000)).inputs[:, :10]
    share = (inputs <= 2).double().mean(0)
    assert (share - 0.3).abs().max() < 4 * (0.3 * 0.7 / 2000) ** 0.5


@pytest.mark.parametrize("length", [12, 13, 60])
def test_every_key_is_asked_for_once_and_its_value_is_the_target(length):
    batch = tasks.load("associative_recall", pairs=4, keys=9, values=7, length=length).test.batch(range(100))
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        pairs = dict(zip(inputs[0:8:2], inputs[1:8:2], strict=True))
        assert len(pairs) == 4 and set(pairs) <= set(range(1, 10)) and set(pairs.values()) <= set(range(10, 17))
        asked = [token for token in inputs[8:] if token]
        assert sorted(asked) == sorted(pairs) and all(target == -100 for target in targets[:8])
        assert [target for target in targets if target != -100] == [pairs[key] - 10 for key in asked]
        assert all((target == -100) == (token == 0) for token, target in zip(inputs[8:], targets[8:], strict=True))


@pytest.mark.parametrize("length", [3, 4, 40])
def test_the_token_after_the_special_one_is_the_target_at_the_end(length):
    batch = tasks.load("induction", length=length, alphabet=5).test.batch(range(100))
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        assert inputs.count(6) == 2 and inputs[-1] == 6 and targets[:-1] == [-100] * (length - 1)
        assert targets[-1] == inputs[inputs.index(6) + 1] - 1


@pytest.mark.parametrize("case", ["three bits", "irregular adding"])
def test_irregular_samples_come_as_often_too_early_as_too_late_and_change_nothing_else(case):
    batch = load(case).train.batch(range(2000))
    elapsed = batch.elapsed
    assert elapsed.dtype == torch.float32 and elapsed.shape == batch.inputs.shape[:2]
    assert elapsed.min() >= 1 / 8 and elapsed.max() < 8
    share = (elapsed < 1).double().mean().item()
    assert share == pytest.approx(0.5, abs=4 * (0.25 / elapsed.numel()) ** 0.5)
    octaves = torch.bincount((elapsed.log2().floor() + 3).long().flatten()).double() / elapsed.numel()
    assert octaves.tolist() == pytest.approx([1 / 6] * 6, abs=0.01)
    regular = load(case, irregular=False).train.batch(range(2000))
    assert regular.elapsed is None and torch.equal(regular.inputs, batch.inputs) and torch.equal(regular.targets, batch.targets)
    assert batch.to("cpu").elapsed is not None
    assert load(case).data_hash != load(case, irregular=False).data_hash


@pytest.mark.parametrize("case", CASES)
def test_an_example_depends_on_seed_split_length_and_index_alone(case):
    task = load(case, train=300)
    whole, alone = task.train.batch(range(300)), load(case, train=400).train.batch([299])
    assert torch.equal(alone.inputs[0], whole.inputs[299]) and torch.equal(alone.targets[0], whole.targets[299])
    assert alone.elapsed is None or torch.equal(alone.elapsed[0], whole.elapsed[299])
    hashes = {load(case, seed=seed).train.hash for seed in (0, 1)} | {task.valid.hash, task.test.hash}
    assert len(hashes) == 4
    longer = load(case, longer=(40, 41), longer_size=3)
    assert [len(split) for split in longer.tests.values()] == [3, 3] and list(longer.tests) == ["length 40", "length 41"]


def test_the_bytes_are_the_same_on_every_machine():
    def digest(case):
        batch = load(case, seed=3).test.batch(range(50))
        parts = [batch.inputs, batch.targets, *([] if batch.elapsed is None else [batch.elapsed])]
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:12]

    assert {case: digest(case) for case in CASES} == {
        "one bit": "1c3054b9dd06",
        "three bits": "826c5d692842",
        "selective copying": "464b862fcf66",
        "associative recall": "8f2f5bc65f0b",
        "induction": "f78048003518",
        "irregular adding": "ffc284fb32d5",
    }


@pytest.mark.parametrize("case", ["one bit", "selective copying", "associative recall", "induction"])
def test_a_guess_reaches_the_floor(case):
    task = load(case)
    targets = task.test.batch(range(2000)).targets
    labels = targets[targets != -100]
    counts = torch.bincount(labels, minlength=task.classes).double() / len(labels)
    deviation = (1 / task.classes / len(labels)) ** 0.5
    floor = task.floors.get("memoryless", task.floors.get("chance"))
    assert counts.tolist() == pytest.approx([floor] * task.classes, abs=4 * deviation)


def test_saying_any_value_of_the_example_reaches_its_floor():
    task = load("associative recall")
    batch = task.test.batch(range(2000))
    right = (batch.targets == (batch.inputs[:, 1] - 10)[:, None]).sum().item()
    assert right / (2000 * 4) == pytest.approx(task.floors["any_value_of_the_example"], abs=0.01)
