"""Every mixer by name with small options, for the tests of mixers and of the body around them."""

import importlib.util

import pytest

from cffbook.mixers import MixerOptions, adapted, can_be_causal, known


def skipped(name: str):
    """The parameter `name`, skipped where its package is not installed."""
    package = adapted().get(name)
    missing = package is not None and importlib.util.find_spec(package) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{package} is not installed: it is of the extra comparators"))


def names(causal: bool = False) -> list:
    """All mixers, or those that can be causal."""
    return [skipped(name) for name in known() if can_be_causal(name) or not causal]


def both() -> list:
    """(name, causal) of every mixer in every direction it knows."""
    return [pytest.param(*case.values, causal, marks=case.marks) for causal in (False, True) for case in names(causal)]


def small(causal: bool = False, **changes) -> MixerOptions:
    """Options of which every one matters on a few samples of width 8."""
    values = {"flip_flops": 6, "slowest": 10.0, "length": 24, "block": 3, "summary": 1, "window": 4, "random_blocks": 1,
              "global_samples": 1, "features": 12, "rank": 3, "landmarks": 3, "modes": 3}
    return MixerOptions(causal=causal, **values | changes)
