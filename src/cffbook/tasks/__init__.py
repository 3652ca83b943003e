"""Tasks by name: ``load(name, ...) -> Task``; ``names()`` lists them.

listops
    nested list operations of the Long Range Arena; classification
text
    movie reviews, byte by byte, of the Long Range Arena; classification
retrieval
    whether one paper cites the other, of the Long Range Arena; classification of pairs
image
    CIFAR-10 in gray, pixel by pixel, of the Long Range Arena; classification
pathfinder
    whether a contour joins two discs, pixel by pixel, of the Long Range Arena; classification
pathx
    the same at 128 x 128 pixels; classification
adding
    the sum of two marked numbers; regression
copying
    ten symbols, recalled after a long blank; a target for each sample
parity
    whether the ones so far are odd; a target for each sample
cycle_navigation
    the place on a cycle of five after the steps so far; a target for each sample
modular_arithmetic
    the sum, or the value of the expression, so far modulo 5; a target for each sample
word_problem
    the product so far in a finite group; a target for each sample
flip_flop_language
    the bit written last, past bits to be ignored; a target for each read
retention
    bits held over a noisy stretch; a target for each bit at the end
selective_copying
    symbols among blanks, said again in their order; a target for each symbol
associative_recall
    the value of each key that is asked for; a target for each query
induction
    the token that followed the special one; a target at the end
mnist
    handwritten digits, pixel by pixel, in rows or permuted; classification

Retention and adding can be sampled irregularly: their batches then hold the time elapsed since the last sample, which the memory
layer, LTC and NCP take as a time, and every other mixer as one more input feature.

No data comes with the package. ListOps, Pathfinder and the probes from adding on are generated here; image and text fetch the canonical archives
from their authors' sites (CIFAR-10, Krizhevsky 2009; Large Movie Reviews, Maas et al. 2011; neither states a licence), mnist the
canonical files from a mirror (LeCun et al. 1998), or all read a file that is given.
"""

import inspect

from cffbook._optional import require

require("numpy", extra="train", purpose="cffbook.tasks")

from cffbook.tasks import (  # noqa: E402
    adding,
    automata,
    copying,
    digits,
    flip_flop_language,
    groups,
    image,
    listops,
    pathfinder,
    recall,
    retention,
    retrieval,
    selective_copying,
    text,
)
from cffbook.tasks.task import Batch, Split, Task  # noqa: E402

__all__ = ["Batch", "Split", "Task", "load", "names", "options"]

_BUILDERS = {
    "listops": listops.build, "text": text.build, "retrieval": retrieval.build, "image": image.build,
    "pathfinder": pathfinder.build, "pathx": pathfinder.build_pathx, "adding": adding.build, "copying": copying.build,
    "parity": automata.build_parity, "cycle_navigation": automata.build_cycle, "modular_arithmetic": automata.build_modular,
    "word_problem": groups.build, "flip_flop_language": flip_flop_language.build,
    "retention": retention.build, "selective_copying": selective_copying.build,
    "associative_recall": recall.build, "induction": recall.build_induction, "mnist": digits.build,
}  # fmt: skip


def names() -> list[str]:
    """Return the names that `load` knows."""
    return list(_BUILDERS)


def options(name: str) -> dict[str, object]:
    """Return the options of a task and their defaults.

    Raises:
        ValueError: unknown task; the message lists the known ones.
    """
    if name not in _BUILDERS:
        raise ValueError(f"expected a task, one of {', '.join(_BUILDERS)}; got {name!r}")
    return {key: parameter.default for key, parameter in inspect.signature(_BUILDERS[name]).parameters.items()}


def load(name: str, **chosen: object) -> Task:
    """Build a task: its three splits, its floors, and all that fixes its data.

    Args:
        name: one of `names()`.
        **chosen: options of that task, see `options(name)` and the ``build`` function of its module.

    Raises:
        ValueError: an unknown task or option (the message lists the known ones), or a value out of range.
    """
    known = options(name)
    unknown = [key for key in chosen if key not in known]
    if unknown:
        raise ValueError(f"task '{name}' has the options {', '.join(known)}; got {', '.join(map(repr, unknown))}")
    return _BUILDERS[name](**chosen)
