"""The backend `fused_gpu` against the definition: in Triton's interpreter here, on a GPU where there is one; and what it refuses.

The interpreter has to be chosen before Triton is imported, so the cases of `gpu_cases` are run in a process of their own.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gpu_cases
import pytest
import torch

from cffbook import FlipFlop, MemoryLayer, RungeKutta4, unroll
from cffbook.recurrence.choice import choose

triton = pytest.importorskip("triton", reason="needs the extra 'gpu'")
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cffbook.recurrence.fused_gpu import pairs_backward, pairs_forward, tiles_backward, tiles_forward
from cffbook.recurrence.fused_gpu.arithmetic import SIZES
from cffbook.recurrence.fused_gpu.pairs import LANES
from cffbook.recurrence.fused_gpu.tiles import ROWS

COMMON = {"SHARED": False, "STEADY": True, "PADDED": False, "FAST": True}  # a usual call
BACK = {"BOTH": False, "TIMED": False}
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
WITHOUT = """
import sys
sys.modules["triton"] = None
import torch
from cffbook import FlipFlop, unroll
try:
    unroll(FlipFlop(2), torch.zeros(1, 2, 2, 2), backend="fused_gpu")
except ImportError as error:
    print(error)
"""


def python(*arguments: str, interpret: str = "1") -> str:
    """What a process with Triton's interpreter writes."""
    environment = {**os.environ, "TRITON_INTERPRET": interpret, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str | None]:
    """The error of each case in the interpreter."""
    return json.loads(python(str(Path(gpu_cases.__file__))))


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu_cases.CASES)
def test_in_the_interpreter_it_is_the_definition(name: str, interpreted: dict[str, str | None]) -> None:
    assert interpreted[name] is None, interpreted[name]


@needs_a_gpu
@pytest.mark.parametrize("name", gpu_cases.CASES)
def test_on_a_gpu_it_is_the_definition(name: str) -> None:
    torch.manual_seed(0)
    gpu_cases.CASES[name]("cuda")


def spilled(kernel, warps: int, constants: dict[str, object], folder: Path) -> int:
    """Bytes of the stack that a kernel for compute capability 9.0 uses in float32, as the disassembler writes them."""
    types = {"lengths": "*i64", **dict.fromkeys(("sums", "gate_sums", "matrix_sums"), "*fp64"), **dict.fromkeys(SIZES, "i32")}
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, {name: types.get(name, "*fp32") for name in kernel.arg_names}, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "enable_fp_fusion": True})
    binary = folder / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    usage = subprocess.run([triton.knobs.nvidia.cuobjdump.path, "-res-usage", binary], capture_output=True, text=True, check=True)
    return int(re.search(r"STACK:(\d+)", usage.stdout)[1])


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile")
@pytest.mark.parametrize(
    ("back", "unfolds", "steered"), [(False, 1, True), (False, 6, True), (True, 1, True), (True, 2, True), (True, 6, False)]
)
def test_all_of_a_lane_fits_into_registers(back, unfolds, steered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, constants = (pairs_backward.backward, BACK) if back else (pairs_forward.forward, {})
    assert spilled(kernel, 1, COMMON | {"UNFOLDS": unfolds, "STEERED": steered, "LANES": LANES} | constants, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile")
@pytest.mark.parametrize("back", [False, True])
def test_nearly_all_of_a_tile_of_16_fits_into_registers(back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, constants = (tiles_backward.backward, BACK) if back else (tiles_forward.forward, {})
    sizes = {"UNFOLDS": 2, "STEERED": True, "BLOCK": 16, "SIZE": 16, "ROWS": ROWS}
    assert spilled(kernel, 8, COMMON | sizes | constants, tmp_path) <= 64


@needs_a_gpu
def test_auto_takes_it_on_a_gpu() -> None:
    assert choose(FlipFlop(2).cuda(), torch.zeros(1, 2, 2, 2, device="cuda")) == "fused_gpu"


@needs_a_gpu
def test_once_the_lengths_are_checked_a_pass_waits_for_nothing() -> None:
    layer, x, lengths = MemoryLayer(8, 8, bidirectional=True).cuda(), torch.randn(3, 9, 8, device="cuda"), torch.tensor([9, 4, 0], device="cuda")
    layer(x, lengths=lengths)[0].sum().backward()
    try:
        torch.cuda.set_sync_debug_mode("error")
        layer(x, lengths=lengths)[0].sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    lengths[0] = 10
    with pytest.raises(ValueError, match="between 0 and the 9 samples given, got 0 to 10"):
        layer(x, lengths=lengths)


def test_auto_leaves_the_cpu_to_the_backends_of_the_cpu() -> None:
    assert choose(FlipFlop(2), torch.zeros(1, 2, 2, 2)) != "fused_gpu"


def test_what_it_cannot_run_is_refused_in_one_sentence() -> None:
    x = torch.zeros(1, 2, 4, 2)
    with pytest.raises(ValueError, match="runs on a CUDA device, got inputs on cpu and parameters on cpu: move both"):
        unroll(FlipFlop(4), x, backend="fused_gpu")
    with pytest.raises(ValueError, match="semi-implicit solver alone, got RungeKutta4"):
        unroll(FlipFlop(4, solver=RungeKutta4(1)), x, backend="fused_gpu")


def test_without_triton_the_extra_is_named() -> None:
    assert "the backend 'fused_gpu' needs the package 'triton', which is not installed: pip install 'cffbook[gpu]'" in python("-c", WITHOUT)
