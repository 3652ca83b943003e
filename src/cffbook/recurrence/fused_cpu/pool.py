"""Shares of a kernel run side by side: threads of our own, because the kernels release the interpreter's lock.

numba's own `parallel=True` ends a process that was forked, or that calls from two threads.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

SMALL = 20_000  # pair-samples times unfolds below which a second thread costs more than it brings


@functools.lru_cache(maxsize=1)
def _threads(process: int, workers: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child gets its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix="cffbook")


def share(kernel: Callable[[int, int], None], parts: int, work: int) -> None:
    """Call `kernel(first, end)` so that every one of `parts` is in one call, as many at a time as torch has threads.

    Args:
        kernel: computes the parts from `first` up to `end`.
        parts: number of independent parts.
        work: how much there is to do, in gates of one number; little is not worth a second thread.
    """
    workers = min(torch.get_num_threads(), parts)
    if workers <= 1 or work < SMALL:
        kernel(0, parts)
        return
    cuts = [parts * worker // workers for worker in range(workers + 1)]
    pool = _threads(os.getpid(), torch.get_num_threads() - 1)
    rest = [pool.submit(kernel, first, end) for first, end in zip(cuts[1:-1], cuts[2:], strict=True)]
    try:
        kernel(cuts[0], cuts[1])
    finally:
        # An interrupted call waits for what still writes into its arrays, so that the next one finds all threads idle.
        for future in rest:
            future.result()
