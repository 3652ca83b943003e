"""Shares of a kernel run side by side, by the threads that PyTorch computes with, because the kernels release the interpreter's lock.

PyTorch's threads go on turning for some milliseconds after each of its operations, so that threads of our own would get half
of a processor until they rest. Where they cannot be had (no OpenMP library that offers them, or a child after a fork, in which
they are gone), threads of our own work. numba's `parallel=True` ends a process that was forked, or that calls from two threads.
"""

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

SMALL = 20_000  # pair-samples times unfolds below which a second thread costs more than it brings
HOME = os.getpid()


def threads(work: int) -> int:
    """How many threads are worth their while for so much work, in gates of one number."""
    return torch.get_num_threads() if work >= SMALL else 1


def share(kernel: Callable[[int, int], None], parts: int, work: int) -> None:
    """Call `kernel(first, end)` so that every one of `parts` is in one call, as many at a time as torch has threads.

    Args:
        kernel: computes the parts from `first` up to `end`.
        parts: number of independent parts.
        work: how much there is to do, in gates of one number; little is not worth a second thread.
    """
    workers = min(threads(work), parts)
    if workers <= 1:
        kernel(0, parts)
        return
    cuts = [parts * worker // workers for worker in range(workers + 1)]
    left, failures = iter(list(zip(cuts[:-1], cuts[1:], strict=True))), []

    def body(_=None) -> None:
        # An interrupted call still waits for what writes into its arrays, so that the next one finds all threads idle.
        try:
            for first, end in left:
                kernel(first, end)
        except BaseException as failure:
            failures.append(failure)

    start = _team() if os.getpid() == HOME else None
    if start is not None:
        start(BODY(body), None, workers, 0)
    else:
        pool = _threads(os.getpid(), torch.get_num_threads() - 1)
        others = [pool.submit(body) for _ in range(workers - 1)]
        body()
        for other in others:
            other.result()
    if failures:
        raise failures[0]


def alone(kernel: Callable[[int, int], None], parts: int, work: int) -> None:
    """As `share`, in this thread."""
    kernel(0, parts)


BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def _team() -> Callable | None:
    """`GOMP_parallel(body, data, threads, flags)` of the OpenMP library that PyTorch has loaded, or None."""
    try:
        return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None


@functools.lru_cache(maxsize=1)
def _threads(process: int, workers: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child gets its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="cffbook")
