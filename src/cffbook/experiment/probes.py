"""The budgets of the probes: what a memory can do in seconds, minutes, on a GPU, and at the literature's length."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cffbook.training.recipe import Recipe
from cffbook.transformer import Body

TRACKING = ("parity", "cycle_navigation", "modular_arithmetic", "word_problem")
LENGTHS = (100, 1_000, 10_000, 100_000)
MASTERED = Recipe(steps=3_000, batch=128, eval_every=100, warmup=50, schedule="linear", clip=0.1, shortest=3, mastery=0.98, varied=False)
SHORT = replace(MASTERED, steps=1_500)
# A group is learned length by length: a lower threshold and more updates leave time for the longest words, whatever the seed.
GROUPS = replace(MASTERED, steps=6_000, mastery=0.95)
Budgets = dict[tuple[str, str], tuple[dict[str, Any], Recipe]]


def probes(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """Options of the data and budget for every (probe, tier).

    Args:
        few: sizes of the splits of tier ``smoke``.
        smoke: budget of tier ``smoke``.
    """
    return {**_tracking(few, smoke), **_language(few, smoke), **_memory(few, smoke), **_recall(few, smoke), **_digits(few, smoke)}


def body_of_held(task: str) -> Body:
    """The body where a value has to be held; blocks of copying are wide enough for ten symbols of three bits."""
    # A wide first embedding fills the stream of copying with the symbol, and every mixer is late to add its place in the list.
    bodies = {"adding": Body(d_model=32, layers=1, d_ff=64), "copying": Body(d_model=64, layers=2, d_ff=128, spread=0.05)}
    return bodies.get(task, Body(d_model=32, layers=2, d_ff=128))


def _some(**options: Any) -> dict[str, Any]:
    return {**options, "train": 50_000, "valid": 2_000, "test": 2_000}


def _tracking(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """State tracking: trained on lengths that grow to 40, selected at 200, tested at up to 100,000."""
    trained = {"length": 40, "valid_length": 200, "longer": LENGTHS}
    grown = replace(smoke, shortest=2)
    found = {}
    for task in TRACKING:
        found[task, "smoke"] = ({"length": 10, "longer": (20,), "longer_size": 8, **few}, grown)
        letters = {"alphabet": "generators"} if task == "word_problem" else {}
        recipe = {"parity": SHORT, "word_problem": GROUPS}.get(task, MASTERED)
        found[task, "cpu"] = ({**trained, "longer_size": 20, "valid": 500, **letters}, recipe)
        found[task, "gpu"] = (trained, Recipe(steps=10_000, batch=256, eval_every=500, warmup=250, shortest=2))
        found[task, "full"] = (trained, Recipe(steps=50_000, batch=256, eval_every=1_000, warmup=500, shortest=2))
    return found  # fmt: skip


def _language(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """Flip-flop language modelling: texts of 512 tokens; at tier ``cpu`` trained and tested on the lengths of state tracking."""
    name = "flip_flop_language"
    return {
        (name, "smoke"): ({"length": 32, **few}, smoke),
        (name, "cpu"): ({"length": 40, "valid_length": 200, "longer": LENGTHS, "longer_size": 20, "valid": 500}, replace(MASTERED, steps=1_000)),
        (name, "gpu"): ({"length": 512}, Recipe(steps=10_000, batch=16, eval_every=500, warmup=250)),
        (name, "full"): ({"length": 512, "train": 160_000}, Recipe(steps=10_000, batch=16, eval_every=500, warmup=250)),
    }


def _memory(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """Bits, numbers and symbols to be held."""
    short = Recipe(steps=1_500, batch=64, eval_every=100, warmup=75)
    held = {"train": 50_000, "valid": 500, "test": 1_000, "longer_size": 100}
    middle, long = Recipe(steps=5_000, batch=64, eval_every=250, warmup=250), Recipe(steps=20_000, batch=64, eval_every=500, warmup=500)
    return {
        ("retention", "smoke"): ({"length": 20, "longer": (40,), "longer_size": 8, **few}, replace(smoke, shortest=4)),
        ("retention", "cpu"): (_some(length=100, longer=(1_000, 10_000)), replace(short, shortest=4)),
        ("retention", "gpu"): ({"length": 100, "longer": (1_000, 10_000, 100_000)}, replace(middle, shortest=4)),
        ("retention", "full"): ({"length": 1_000, "longer": (10_000, 100_000)}, replace(long, shortest=4)),
        ("adding", "smoke"): ({"length": 20, **few}, smoke),
        ("adding", "cpu"): ({**held, "length": 1_000, "longer": (100, 5_000)}, replace(short, steps=2_600, batch=32, eval_every=200, shortest=10)),
        ("adding", "gpu"): (_some(length=400), middle),
        ("adding", "full"): ({"length": 1_000}, long),
        ("copying", "smoke"): ({"blanks": 10, "symbols": 3, **few}, smoke),
        ("copying", "cpu"): (
            {**held, "blanks": 1_000, "valid": 200, "scored": "recall", "longer": (100, 2_000, 5_000)},
            replace(short, steps=16_000, batch=32, eval_every=1_000, shortest=8, pace="geometric", growth=0.75),
        ),
        ("copying", "gpu"): (_some(blanks=400), middle),
        ("copying", "full"): ({"blanks": 1_000}, long),
        ("selective_copying", "smoke"): ({"length": 20, "symbols": 3, **few}, smoke),
        ("selective_copying", "cpu"): (_some(length=128, symbols=8), short),
        ("selective_copying", "gpu"): ({"length": 1_024}, middle),
        ("selective_copying", "full"): ({"length": 4_096}, long),
    }


def _recall(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """What attention is good at."""
    short, long = Recipe(steps=1_500, batch=64, eval_every=100, warmup=75), Recipe(steps=20_000, batch=64, eval_every=500, warmup=500)
    vocabulary = {"keys": 4_096, "values": 4_096}
    return {
        ("associative_recall", "smoke"): ({"pairs": 2, "keys": 8, "values": 8, "length": 16, **few}, smoke),
        ("associative_recall", "cpu"): (_some(pairs=4, keys=32, values=32, length=64), short),
        ("associative_recall", "gpu"): ({"pairs": 8, **vocabulary, "length": 64}, long),
        ("associative_recall", "full"): ({"pairs": 64, **vocabulary, "length": 512}, long),
        ("induction", "smoke"): ({"length": 16, "alphabet": 4, **few}, smoke),
        ("induction", "cpu"): (_some(length=64), short),
        ("induction", "gpu"): ({"length": 256}, long),
        ("induction", "full"): ({"length": 256}, long),
    }


def _digits(few: Mapping[str, int], smoke: Recipe) -> Budgets:
    """Sequential MNIST; `permuted=true` permutes it at any tier."""
    return {
        ("mnist", "smoke"): ({"side": 14, **few}, smoke),
        ("mnist", "cpu"): ({"side": 14}, Recipe(steps=1_500, batch=64, eval_every=250, warmup=75)),
        ("mnist", "gpu"): ({}, Recipe(steps=10_000, batch=64, eval_every=500, warmup=500)),
        ("mnist", "full"): ({}, Recipe(steps=43_000, batch=128, eval_every=430, warmup=1_000)),
    }
