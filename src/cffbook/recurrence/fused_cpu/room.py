"""Room for large results: on Linux in pages of 2 MiB, as the first touch of a page costs about as much as what is computed in it."""

import ctypes
import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

PAGE, LEAST = 2 << 20, 4 << 20  # bytes
HUGE_PAGES = 14  # MADV_HUGEPAGE of Linux, the same on every processor


def empty(like: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor of the type of `like`. The system may take the advice on its pages or not; the tensor is the same."""
    tensor = like.new_empty(shape)
    if sys.platform == "linux" and tensor.nbytes >= LEAST:
        first = -(-tensor.data_ptr() // PAGE) * PAGE
        _advise()(first, (tensor.data_ptr() + tensor.nbytes) // PAGE * PAGE - first, HUGE_PAGES)
    return tensor


@functools.cache
def _advise() -> Callable[[int, int, int], int]:
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise
