"""The comparisons of speed: what they refuse to measure, how ratios are taken, and that a record comes back as it was."""

import pytest
import torch

pytest.importorskip("accelerate", reason="needs the extra 'train'")
pytest.importorskip("numba", reason="needs the extra 'fast'")

from cffbook import results, speed
from cffbook.speed import measure
from cffbook.speed.cases import layers


def small(**changes):
    return speed.Case(**{"group": "recurrent", "d_model": 8, "batch": 2, "time": 9, "layers": ("memory", "lstm"), "threads": 1, "rounds": 3} | changes)


def test_layers_take_turns_and_every_round_of_each_is_kept(monkeypatch):
    turns = []
    monkeypatch.setattr(measure, "step", lambda layer, inputs, backward: turns.append(type(layer).__name__))
    seconds = measure.clocks(small())
    assert turns == ["MemoryLayer", "LSTM"] * 4  # one pass of each goes before, uncounted
    assert [len(rounds) for rounds in seconds.values()] == [3, 3]


def test_a_ratio_is_the_median_of_the_ratios_within_a_round():
    values = {"seconds": {"memory": [1.0, 2.0, 4.0], "lstm": [3.0, 4.0, 4.0]}, "case": {"layers": ["memory", "lstm"]}}
    empty = {"memory": {}, "limits": {}, "machine": {}, "versions": {}, "git": None, "started": ""}
    found = speed.Comparison(name="x", **values, **empty)
    assert found.ratio("lstm") == 2.0 and found.ratio("memory") == 1.0 and found.median("memory") == 2.0


def test_a_layer_that_does_not_agree_with_the_definition_is_not_measured(monkeypatch):
    original = torch.nn.Linear.forward
    calls = []

    def wrong(self, inputs):
        calls.append(1)
        return original(self, inputs) * (1.0 + 0.01 * len(calls))

    monkeypatch.setattr(torch.nn.Linear, "forward", wrong)
    with pytest.raises(RuntimeError, match="to agree with the definition"):
        measure.check(speed.build("memory", 8), 8)


def test_a_record_of_a_real_run_comes_back_as_it_was_and_is_no_record_of_a_training(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "memories", lambda case: {name: None for name in case.layers})
    found = speed.run(small())
    found.write(tmp_path / "speed")
    assert speed.load_comparisons(tmp_path / "speed") == [found]
    assert results.load_records(tmp_path) == []
    assert all(value > 0 for rounds in found.seconds.values() for value in rounds) and found.limits["gates_per_second"] > 1e6


def test_the_memory_of_a_pass_is_that_of_a_fresh_process():
    case = next(case for case in speed.cases() if case.group == "definition")
    found = measure.memories(case)
    size = case.batch * case.time * case.d_model * 4
    assert set(found) == set(case.layers)
    if found["memory"] is not None:
        assert 0 <= found["memory"] < found["memory, sequential"] and found["memory, sequential"] > 20 * size


@pytest.mark.parametrize("name", [name for name in layers() if "ncps" not in name])
def test_every_layer_of_a_case_can_be_made_and_run(name):
    layer, x = speed.build(name, 16), torch.randn(2, 64, 16).requires_grad_()
    measure.step(layer, x, True)
    assert layer(x)[0].shape == x.shape


def test_case_names_are_distinct_and_unknown_layers_are_refused():
    names = [case.name for case in speed.cases()]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="unknown layer 'lstn'"):
        small(layers=("lstn",))
