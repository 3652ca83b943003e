"""Continuous flip-flops: a memory layer in place of attention."""

__version__ = "0.1.0"
