"""What a machine has and can do at most: its device, high-water marks of memory, gates, products and copies a second."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from cffbook.training.loop import peak_memory


class Sizes(NamedTuple):
    """How much is done at once to find a limit.

    Args:
        gates: numbers, few enough to stay in a cache.
        repeats: how often their gates are opened in one timing.
        square: rows and columns of a matrix.
        copied: numbers, too many for a cache.
    """

    gates: int
    repeats: int
    square: int
    copied: int


SIZES = {"cpu": Sizes(4096, 200, 1024, 1 << 25), "cuda": Sizes(1 << 22, 50, 8192, 1 << 28)}


def require_device(device: str) -> None:
    """Require the device "cpu" or "cuda" to be there.

    Raises:
        RuntimeError: there is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "expected a GPU that PyTorch can use, got none: run this where torch.cuda.is_available() is true, or choose a group of the processor"
        )


def wait(device: str) -> None:
    """Wait until a GPU has done all it was told; a processor always has."""
    if device == "cuda":
        torch.cuda.synchronize()


def forget_high_water(device: str = "cpu") -> None:
    """Let `high_water` begin at what is held now: loading and compiling may have needed more than the pass will.

    Where the system cannot forget, a pass shows only what it needs beyond all that came before.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def high_water(device: str = "cpu") -> int | None:
    """The most bytes that tensors have had on a GPU, or this process resident; None where the system does not say.

    Linux's getrusage counts what the parent had before it started this process, /proc does not.
    """
    if device == "cuda":
        return peak_memory(torch.device(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return peak_memory(torch.device(device))
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def limits(device: str = "cpu") -> dict[str, float]:
    """What one thread of the processor, or the whole GPU, can do at most a second in float32, as PyTorch is set.

    Gates of single numbers, operations of a matrix product, bytes copied.
    """
    sizes, before = SIZES[device], torch.get_num_threads()
    torch.set_num_threads(1)
    small, square = torch.linspace(-3, 3, sizes.gates, device=device), torch.ones(sizes.square, sizes.square, device=device)
    large = torch.zeros(sizes.copied, device=device)
    target, product, copied = torch.empty_like(small), torch.empty_like(square), torch.empty_like(large)
    try:
        gates = _least(device, lambda: [torch.sigmoid(small, out=target) for _ in range(sizes.repeats)]) / (sizes.repeats * len(small))
        operations = _least(device, lambda: torch.mm(square, square, out=product)) / (2 * sizes.square**3)
        copies = _least(device, lambda: copied.copy_(large)) / (large.nbytes * 2)
    finally:
        torch.set_num_threads(before)
    return {"gates_per_second": 1 / gates, "operations_per_second": 1 / operations, "bytes_per_second": 1 / copies}


def _least(device: str, call: Callable[[], object]) -> float:
    """Seconds of the fastest of five calls."""
    seconds = []
    for _ in range(5):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
