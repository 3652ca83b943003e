"""The comparisons of speed: what they refuse to measure, how ratios are taken, and that a record comes back as it was."""

import pytest
import torch

pytest.importorskip("accelerate", reason="needs the extra 'train'")
pytest.importorskip("numba", reason="needs the extra 'fast'")

from speed_records import LIMITS, all_of_them, case_named, comparison
from torch.overrides import TorchFunctionMode

from cffbook import results, speed
from cffbook.speed import __main__ as command
from cffbook.speed import measure
from cffbook.speed.bars import HALF, PROPOSAL, table as bar_table
from cffbook.speed.cases import layers


def small(**changes):
    return speed.Case(**{"group": "recurrent", "d_model": 8, "batch": 2, "time": 9, "layers": ("memory", "lstm"), "threads": 1, "rounds": 3} | changes)


def test_layers_take_turns_and_every_round_of_each_is_kept(monkeypatch):
    turns = []
    monkeypatch.setattr(measure, "step", lambda layer, inputs, backward: turns.append(type(layer).__name__))
    seconds = measure.clocks(small())
    assert turns == ["MemoryLayer", "MemoryLayer", "LSTM", "LSTM"] * 3  # the first of two is not counted
    assert [len(rounds) for rounds in seconds.values()] == [3, 3]


def test_a_layer_that_takes_too_long_runs_once_and_every_round_of_the_other_is_compared_with_it(monkeypatch):
    turns = []
    monkeypatch.setattr(measure, "step", lambda layer, inputs, backward: turns.append((type(layer).__name__, inputs.shape[1])))
    seconds = measure.clocks(small(once=("lstm",)))
    assert turns == [*[("MemoryLayer", 9)] * 2, ("LSTM", 8), ("LSTM", 9), *[("MemoryLayer", 9)] * 4]
    assert [len(rounds) for rounds in seconds.values()] == [3, 1]
    found = comparison("ncps-d128-b32-t256-train-2", {"ncps LTC": 6.0})
    found.seconds[found.case["layers"][0]][:] = [1.0, 2.0, 3.0, 1.5, 4.0]
    assert found.ratios("ncps LTC") == [6.0, 3.0, 2.0, 4.0, 1.5] and found.ratio("ncps LTC") == 3.0


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
        assert size < found["memory"] < found["memory, sequential"] and found["memory, sequential"] > 20 * size


def test_memory_that_was_given_back_before_the_pass_does_not_hide_what_the_pass_takes():
    try:
        measure.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not forget a high-water mark")
    torch.ones(1 << 26)  # 256 MiB, more than the pass will need, given back at once
    measure.forget_high_water()
    before = measure.high_water()
    kept = torch.ones(1 << 24)
    assert 0.9 * kept.nbytes < measure.high_water() - before < 1.5 * kept.nbytes


@pytest.mark.parametrize("name", [name for name in layers() if "ncps" not in name])
def test_every_layer_of_a_case_can_be_made_and_run(name):
    layer, x = speed.build(name, 16), torch.randn(2, 64, 16).requires_grad_()
    measure.step(layer, x, True)
    assert layer(x)[0].shape == x.shape


def test_what_a_layer_keeps_is_counted_by_hand():
    x = torch.randn(2, 50, 16, requires_grad=True)
    assert measure.kept(torch.nn.Linear(16, 8), x) == 4 * 100 * 8  # its outputs: inputs and weights were there before
    assert measure.kept(torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 4)), x) == 4 * 100 * (8 + 4)
    with torch.no_grad():
        assert measure.kept(torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 4)), x) == 4 * 100 * 4
    layer, x = speed.build("memory", 16), torch.randn(32, 4096, 16, requires_grad=True)  # outputs, and marks of both potentials every 64 samples
    assert 1 + 2 / 64 <= measure.kept(layer, x) / x.nbytes < 1.1


def test_case_names_are_distinct_and_unknown_layers_are_refused():
    names = [case.name for case in speed.cases()]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="unknown layer 'lstn'"):
        small(layers=("lstn",))


def test_every_bar_is_asked_of_a_layer_of_a_case_and_its_name_is_its_own():
    for bar in speed.bars():
        assert bar.layer in case_named(bar.case).layers and bar.asked > 0
        assert case_named(bar.case).threads == 2 and case_named(bar.case).backward
    assert len({bar.name for bar in speed.bars()}) == len(speed.bars())
    with pytest.raises(ValueError, match="unknown quantity 'tme'"):
        speed.Bar("x", "y", "z", "tme", 1)


def standing(name, *comparisons, ours=None):
    """Measured value and verdict of a bar by the beginning of its name."""
    (bar,) = (bar for bar in speed.bars() if bar.name.startswith(name))
    measured = bar.measured(comparisons, ours)
    return measured, bar.verdict(measured)


def test_a_bar_is_met_from_the_asked_ratio_on_and_not_below():
    attention = "time-d128-b8-t4096-train-2"
    for seconds, verdict in ((9.9, "missed"), (10.0, "met"), (11.0, "met")):
        assert standing("causal attention, T = 4,096", comparison(attention, {"attention": seconds})) == (seconds, verdict)
    fast = comparison(attention, {"attention": 12.0, PROPOSAL: 2.0})
    assert standing("causal attention, T = 4,096", fast, ours=PROPOSAL) == (6.0, "missed")


def test_every_memory_layer_that_was_measured_beside_ours_has_its_column():
    found = comparison("time-d128-b8-t4096-train-2", {"attention": 12.0, PROPOSAL: 2.0, HALF: 0.5})
    row = next(row for row in bar_table([found]).rows if row[0] == "causal attention, T = 4,096")
    assert row[2:] == ("12.0 times", "met", "6.00 times", "24.0 times")


def test_what_is_asked_to_be_at_most_is_met_up_to_it():
    long = "long-d64-b1-t1000000-train-2"
    for seconds, verdict in ((4.9, "met"), (5.0, "met"), (5.1, "missed")):
        assert standing("one sequence of 1,000,000: time", comparison(long, {"memory": seconds}))[1] == verdict
    for gigabytes, verdict in ((1.9, "met"), (2.1, "missed")):
        assert standing("one sequence of 1,000,000: memory", comparison(long, None, {"memory": int(1e9 * gigabytes)})) == (gigabytes, verdict)
    arrays = comparison("time-d128-b8-t4096-train-2", None, {"memory": 4 * 8 * 4096 * 128 * 3})
    assert standing("memory in output-sized arrays, T = 4,096", arrays) == (3.0, "met")


def test_a_second_core_is_compared_with_the_record_of_one():
    one, two = (comparison(f"threads-d128-b32-t4096-train-{threads}", {"memory": seconds}) for threads, seconds in ((1, 1.7), (2, 1.0)))
    assert standing("one core", two) == (None, results.DASH)
    assert standing("one core", one, two) == (1.7, "met")


def test_nothing_is_said_of_what_was_not_measured():
    assert {row[2:] for row in speed.table([]).rows} == {(results.DASH,) * 4}
    killed = comparison("ncps-d128-b32-t256-train-2", None, {"ncps LTC": None})
    assert standing("LTC of ncps, equal neurons: memory", killed) == (None, results.DASH)


def test_the_table_has_a_line_for_every_bar_and_the_command_prints_it(tmp_path, capsys):
    for each in all_of_them():
        each.write(tmp_path)
    rows = speed.table(speed.load_comparisons(tmp_path)).rows
    assert [row[0] for row in rows] == [bar.name for bar in speed.bars()] and results.DASH not in {row[2] for row in rows}
    command.main(["--bars", "--results", str(tmp_path)])
    assert speed.table(speed.load_comparisons(tmp_path)).to_markdown() in capsys.readouterr().out


def test_the_command_measures_the_case_it_is_told_and_says_what_was_asked_of_it(tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(command, "run", lambda case: seen.append(case.name) or comparison(case.name, {"attention": 20.0}))
    command.main(["--case", "time-d128-b8-t4096-train-2", "--results", str(tmp_path)])
    assert seen == ["time-d128-b8-t4096-train-2"] and [each.name for each in speed.load_comparisons(tmp_path)] == seen
    assert "causal attention, T = 4,096: 20.0 times, asked 10: met" in capsys.readouterr().out
    seen.clear()
    command.main(["--results", str(tmp_path)])
    there = "cpu", "cuda" if torch.cuda.is_available() else "cpu"
    assert seen == [case.name for case in speed.cases() if case.group != "smoke" and case.device in there]


class Gates(TorchFunctionMode):
    """Counts the logistic functions that are taken."""

    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.sigmoid, torch.Tensor.sigmoid, torch.nn.functional.sigmoid):
            self.count += args[0].numel()
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["memory", PROPOSAL])
def test_the_gates_counted_are_those_that_the_definition_opens(name):
    layer, case = speed.build(name, 16), small(d_model=16, layers=(name,), backward=False)
    layer.backend = "sequential"
    with Gates() as gates:
        layer(torch.zeros(case.batch, case.time, 16))
    assert gates.count == speed.work(case, name).gates == speed.work(small(d_model=16, layers=(name,)), name).gates / 2


def test_the_products_counted_are_those_of_the_maps_and_limits_turn_work_into_time():
    from torch.utils.flop_counter import FlopCounterMode

    for backward in (False, True):
        layer, case = speed.build("memory", 16), small(d_model=16, layers=("memory",), backward=backward)
        layer.backend = "sequential"  # PyTorch does not see into the fused pass, which makes the input lines once more on the way back
        again = backward * 2 * case.batch * case.time * layer.input_map.weight.numel()
        with FlopCounterMode(display=False) as counter:
            measure.step(layer, torch.zeros(case.batch, case.time, 16).requires_grad_(backward), backward)
        found = speed.work(case, "memory")
        assert found.operations == counter.get_total_flops() + again
        one, two = found.seconds(LIMITS), found.seconds(LIMITS, threads=2)
        assert one["gates"] == 2 * two["gates"] == found.gates / 1e9 and one["memory"] == two["memory"] == found.bytes / 1e10
    with pytest.raises(ValueError, match="expected a memory layer of independent flip-flops, got 'lstm'"):
        speed.work(small(), "lstm")
