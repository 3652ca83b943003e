"""Comparisons on a GPU: what they run, what they refuse, and that a layer or a case that fails takes nothing else with it."""

import json
from dataclasses import replace

import pytest
import torch

pytest.importorskip("accelerate", reason="needs the extra 'train'")

from cffbook import speed
from cffbook.memory import MemoryLayer
from cffbook.recurrence import basins
from cffbook.recurrence.choice import TABLE
from cffbook.speed import __main__ as command
from cffbook.speed import machine, measure
from cffbook.speed.cases import ALONE, layers

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SMALL = speed.Case("gpu", 16, 2, 64, ("memory", "memory, sequential", "lstm"), rounds=2, device="cuda")


def pretend(monkeypatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


def found(case):
    seconds, memory = {name: [1.0] for name in case.layers}, dict.fromkeys(case.layers, 7)
    told = {"layers": list(case.layers), "batch": case.batch, "time": case.time, "d_model": case.d_model}
    return speed.Comparison(case.name, told, seconds, memory, {}, {}, {}, None, "")


def test_every_memory_layer_of_a_case_of_a_gpu_runs_on_the_backend_of_its_name_and_on_no_other():
    for case in (case for case in speed.cases() if case.device == "cuda"):
        for name in case.layers:
            expected = next((way for way in ("sequential", "basins") if name.endswith(way)), "fused_gpu")
            model = layers("cuda")[name](16)
            assert {each.backend for each in model.modules() if isinstance(each, MemoryLayer)} <= {expected}
            assert ("memory" in name) == any(isinstance(each, MemoryLayer) for each in model.modules())
    assert layers("cuda")[ALONE](16).backend == "fused_gpu"


def test_a_layer_has_the_same_weights_on_every_device():
    for name in ("memory", "lstm", "attention, bfloat16"):
        one, other = speed.build(name, 8), speed.build(name, 8, device="cuda" if torch.cuda.is_available() else "cpu")
        assert all(torch.equal(mine, yours.cpu()) for mine, yours in zip(one.parameters(), other.parameters(), strict=True))


def test_attention_as_it_is_used_multiplies_in_bfloat16_and_trains():
    layer, x = speed.build("attention, bfloat16", 16), torch.randn(2, 9, 16)
    outputs = layer(x)[0]
    assert outputs.dtype == torch.bfloat16 and speed.build("attention", 16)(x)[0].dtype == torch.float32
    outputs.float().square().sum().backward()
    assert all(each.grad.abs().max() > 0 for each in layer.parameters())


def test_without_a_gpu_one_sentence_says_what_to_do_and_nothing_is_measured(tmp_path, capsys, monkeypatch):
    pretend(monkeypatch, False)
    with pytest.raises(RuntimeError, match=r"expected a GPU that PyTorch can use, got none: run this where .* or choose a group of the processor"):
        speed.run(SMALL)
    for arguments in (["--group", "gpu"], ["--device", "cuda"], ["--group", "definition", "--group", "gpu_tiles"]):
        with pytest.raises(SystemExit, match="2"):
            command.main([*arguments, "--results", str(tmp_path)])
        assert "error: expected a GPU that PyTorch can use, got none: run this where" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [False, True])
def test_without_a_group_the_cases_of_the_devices_that_are_there_are_measured(tmp_path, monkeypatch, there):
    pretend(monkeypatch, there)
    seen = []
    monkeypatch.setattr(command, "run", lambda case: seen.append(case) or found(case))
    command.main(["--results", str(tmp_path)])
    devices = {"cpu", "cuda"} if there else {"cpu"}
    assert seen == [case for case in speed.cases() if case.group != "smoke" and case.device in devices]
    seen.clear()
    command.main(["--device", "cpu", "--group", "gpu_tiles", "--group", "long", "--results", str(tmp_path)])
    assert [case.group for case in seen] == ["long"]


def test_a_case_that_fails_is_told_of_and_the_others_are_measured(tmp_path, capsys, monkeypatch):
    def run(case):
        if case.batch == 8:
            raise RuntimeError("expected agreement, got none")
        return found(case)

    monkeypatch.setattr(command, "run", run)
    with pytest.raises(SystemExit, match="got none of threads-d128-b8") as stopped:
        monkeypatch.setattr(command, "choose", lambda *given: [replace(SMALL, group="threads", d_model=128, batch=batch, device="cpu") for batch in (8, 32)])
        command.main(["--results", str(tmp_path)])
    assert stopped.value.code and [each.name for each in speed.load_comparisons(tmp_path)] == ["threads-d128-b32-t64-train-2"]
    assert "threads-d128-b8-t64-train-2: not measured" in capsys.readouterr().out


def test_a_layer_that_a_gpu_has_no_room_for_leaves_the_case_and_takes_no_other_with_it(monkeypatch, capsys, tmp_path):
    def memory_of_a_pass(case, name):
        if name in large:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 7

    clocked = []
    monkeypatch.setattr(measure, "memory_of_a_pass", memory_of_a_pass)
    monkeypatch.setattr(measure, "require_device", lambda device: None)
    monkeypatch.setattr(measure, "clocks", lambda case: clocked.append(case) or {name: [1.0] for name in case.layers})
    monkeypatch.setattr(measure, "limits", lambda device: {})
    monkeypatch.setattr(measure.facts, "machine", lambda device: {"gpu": str(device)})
    large = {"memory, sequential"}
    record = speed.run(replace(SMALL, once=("memory, sequential", "lstm")))
    assert clocked == [replace(SMALL, layers=("memory", "lstm"), once=("lstm",))] and record.name == SMALL.name
    assert record.memory == {"memory": 7, "memory, sequential": None, "lstm": 7} and record.case["layers"] == ["memory", "lstm"]
    assert record.machine == {"gpu": "cuda"}
    assert command.said(record)[2] == "memory, sequential: no room"
    large = {"memory"}
    with pytest.raises(RuntimeError, match="expected 'memory' to fit into the memory of the GPU"):
        speed.run(SMALL)


def test_clocks_start_and_stop_when_the_device_has_done_all_it_was_told(monkeypatch):
    told = []
    monkeypatch.setattr(measure, "step", lambda layer, inputs, backward: told.append("pass"))
    monkeypatch.setattr(measure, "wait", told.append)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: told.append("clock") or 0.0)
    measure.clocks(replace(SMALL, layers=("lstm",), rounds=1, device="cpu"))
    assert told == ["pass", "cpu", "clock", "pass", "cpu", "clock"]
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    machine.wait("cpu")
    assert not waited
    machine.wait("cuda")
    assert waited


def test_chunks_of_time_are_held_to_the_definition_before_a_clock_starts(monkeypatch):
    measure.check(speed.build("memory, basins", 4), 4)

    def nowhere(starts, ends, start):  # every chunk begins at zeros
        return torch.zeros_like(starts[0]), torch.zeros_like(starts[0, ..., 0])

    monkeypatch.setattr(basins, "_select", nowhere)
    with pytest.raises(RuntimeError, match="expected basins to agree with the definition"):
        measure.check(speed.build("memory, basins", 4), 4)


def test_records_from_before_there_was_a_gpu_are_those_of_a_processor(root):
    for each in speed.load_comparisons(root / "results" / "speed"):
        case = speed.Case(**each.case | {"layers": tuple(each.case["layers"]), "once": tuple(each.case["once"])})
        assert case.name == each.name and case.device == ("cuda" if each.machine["gpu"] else "cpu")
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        replace(SMALL, device="tpu")


def test_auto_takes_on_a_gpu_what_the_records_say_was_fastest(root):
    records = [each for each in speed.load_comparisons(root / "results" / "speed") if each.case["group"] == "gpu_auto"]
    names = {"memory": "fused_gpu", "memory, basins": "basins"}
    for each in records:
        lanes, samples = each.case["d_model"] * each.case["batch"], each.case["time"]
        row = next(row for row in TABLE if row.device == "cuda" and lanes <= row.most_lanes and samples >= row.least_samples)
        assert row.backend == min(names.values(), key={names[layer]: each.median(layer) for layer in names}.__getitem__)
    assert len(records) in (0, 9)


@needs_a_gpu
def test_a_case_of_a_gpu_is_measured_there_and_its_record_names_it(tmp_path):
    record = speed.run(SMALL)
    record.write(tmp_path)
    assert speed.load_comparisons(tmp_path) == [record] and record.machine["gpu"] == torch.cuda.get_device_name()
    size = 4 * SMALL.batch * SMALL.time * SMALL.d_model
    assert size <= record.memory["memory"] < record.memory["memory, sequential"]
    assert all(seconds > 0 for rounds in record.seconds.values() for seconds in rounds)
    assert record.limits["gates_per_second"] > 1e10 and record.limits["bytes_per_second"] > 1e10
    assert json.loads((tmp_path / f"{SMALL.name}.json").read_text())["case"]["device"] == "cuda"


@needs_a_gpu
def test_the_memory_of_a_pass_on_a_gpu_is_what_its_tensors_have_at_most():
    before = torch.ones(1 << 20, device="cuda")
    torch.ones(1 << 24, device="cuda")
    machine.forget_high_water("cuda")
    start = machine.high_water("cuda")
    kept = torch.ones(1 << 22, device="cuda")
    assert machine.high_water("cuda") - start == kept.nbytes and start >= before.nbytes
