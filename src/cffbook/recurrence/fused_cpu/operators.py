"""Kernels as operators that PyTorch knows: shapes without a run for `torch.compile`, gradients by another kernel.

`torch.library.custom_op` would do the same, but loads the whole of `torch._dynamo` at the first call, which takes seconds.
"""

from collections.abc import Callable

import torch


def operator(name: str, kernel: Callable, fake: Callable) -> Callable:
    """The operator `cffbook::name`.

    Args:
        name: of the operator.
        kernel: computes it on the CPU, with annotated arguments, and changes none of them.
        fake: gives empty tensors of the results' shapes.
    """
    told = f"cffbook::{name}"
    torch.library.define(told, torch.library.infer_schema(kernel, mutates_args=()), tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(told, "cpu", kernel)
    torch.library.register_fake(told, fake)
    return getattr(torch.ops.cffbook, name).default


def differentiate(name: str, backward: Callable, keep: Callable) -> None:
    """Give an operator its gradient: `keep(ctx, inputs, output)` saves what `backward(ctx, *gradients)` needs."""
    torch.library.register_autograd(f"cffbook::{name}", backward, setup_context=keep)


def refuse(name: str) -> None:
    """Make the gradient of an operator an error: it is itself one."""

    def backward(ctx, *gradients):
        raise RuntimeError("the fused backends give no gradients of gradients: name backend='sequential' for these")

    differentiate(name, backward, lambda ctx, inputs, output: None)
