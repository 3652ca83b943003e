"""The budgets of the tiers, the same for every mixer.

Tier ``full`` is the budget of the small PyTorch protocol of the Long Range Arena (Xiong et al. 2021, Nystromformer's
code): 2 layers, d_model 64, d_ff 128, 2 heads, mean pooling, dropout 0.1, linear decay without weight decay.
"""

from dataclasses import replace
from typing import Any

from cffbook.experiment.probes import probes
from cffbook.training.recipe import Recipe

TIERS = ("smoke", "cpu", "gpu", "full")


def tiers() -> dict[tuple[str, str], tuple[dict[str, Any], Recipe]]:
    """Options of the data and budget for every (task, tier).

    ``smoke`` takes seconds and shows only that the line works; ``cpu`` at most a quarter of an hour on two cores, of the
    arena's tasks minutes, so that one core makes their whole table in some hours; ``gpu`` minutes on one large GPU, with four
    blocks in place of two; ``full`` is the published budget, or the literature's length for the probes. ListOps begins with short
    expressions at tiers ``cpu`` and ``gpu``. Retrieval is on the rebuilt pairs, called so, but for ``full``, which needs the
    arena's own. Path-X below ``full`` shows that the length can be run, and no accuracy.
    """
    few = {"train": 256, "valid": 64, "test": 64}
    smoke = Recipe(steps=12, batch=16, eval_every=6, warmup=2)
    return {
        ("listops", "smoke"): ({"minimum": 10, "maximum": 40, **few}, replace(smoke, bucket=4)),
        ("listops", "cpu"): ({"train": 20_000, "valid": 500, "test": 2_000}, _climbing(_short(steps=4_000, looks=5, bucket=20, batch=32))),
        ("listops", "gpu"): ({"train": 32_000}, _climbing(_large(steps=2_500, looks=5, bucket=20))),
        ("listops", "full"): ({}, published(steps=5_000, batch=32)),
        **_arena(few, smoke), **probes(few, smoke),
        ("image", "smoke"): ({"side": 16, **few}, smoke),
        ("image", "cpu"): ({"protocol": "s4", "valid": 500, "test": 2_000}, _short(steps=3_000, looks=6, batch=16)),
        ("image", "gpu"): ({"protocol": "s4"}, _large(steps=7_000, looks=7)),
        ("image", "full"): ({}, published(steps=35_000, batch=256)),
    }


def _arena(few: dict[str, int], smoke: Recipe) -> dict[tuple[str, str], tuple[dict[str, Any], Recipe]]:
    """Text, retrieval, Pathfinder and Path-X; see `tiers`."""
    looked_at = {"valid": 500, "test": 2_000}
    pairs = {"data": "AAN-rebuilt"}
    return {
        ("text", "smoke"): ({"length": 64, **few}, replace(smoke, bucket=4)),
        ("text", "cpu"): ({"length": 1_024, **looked_at}, _short(steps=3_600, looks=6, bucket=20)),
        ("text", "gpu"): ({"length": 4_096}, _large(steps=1_000, looks=5, bucket=20)),
        ("text", "full"): ({}, published(steps=20_000, batch=32)),
        ("retrieval", "smoke"): ({**pairs, "length": 48, **few}, replace(smoke, batch=8, bucket=4)),
        ("retrieval", "cpu"): ({**pairs, "length": 512, **looked_at}, _short(steps=1_200, looks=4)),
        ("retrieval", "gpu"): ({**pairs, "length": 4_000}, _large(steps=800, looks=4)),
        ("retrieval", "full"): ({}, published(steps=30_000, batch=32)),
        ("pathfinder", "smoke"): ({"difficulty": "easy", **few}, replace(smoke, batch=4)),
        ("pathfinder", "cpu"): ({"protocol": "s4", "difficulty": "easy", "train": 10_000, **looked_at}, _short(steps=200)),
        ("pathfinder", "gpu"): ({"protocol": "s4"}, _large(steps=10_000, looks=20)),
        ("pathfinder", "full"): ({}, published(steps=62_400, batch=256)),
        ("pathx", "smoke"): ({"train": 2, "valid": 1, "test": 1}, Recipe(steps=1, batch=1, eval_every=1, warmup=0)),
        ("pathx", "cpu"): ({"train": 256, "valid": 32, "test": 32}, Recipe(steps=20, batch=2, eval_every=10, warmup=2)),
        ("pathx", "gpu"): ({"train": 10_000, "valid": 500, "test": 1_000}, Recipe(steps=2_000, batch=16, eval_every=500, warmup=200)),
        ("pathx", "full"): ({}, published(steps=500_000, batch=64)),
    }  # fmt: skip


def _short(steps: int, looks: int = 2, bucket: int = 0, batch: int = 8) -> Recipe:
    """Budget of the arena's tasks at tier ``cpu``: many small updates, looked at a few times, the last time at the end."""
    return Recipe(steps=steps, batch=batch, eval_every=steps // looks, warmup=steps // 10, bucket=bucket, conductance_factor=1.0, eval_batch=64)


def _climbing(recipe: Recipe) -> Recipe:
    """A recipe that begins with a dozen tokens: long expressions alone, in so few updates, teach their first operator and no more."""
    return replace(recipe, shortest=12, pace="geometric", growth=0.9)


def _large(steps: int, looks: int, bucket: int = 0) -> Recipe:
    """Budget of the arena's tasks at tier ``gpu``: large updates with short products, as many as a GPU makes in minutes."""
    return Recipe(steps=steps, batch=128, eval_every=steps // looks, warmup=steps // 10, bucket=bucket, conductance_factor=1.0,
                  precision="bfloat16")  # fmt: skip


def published(steps: int, batch: int) -> Recipe:
    """The small protocol's optimiser settings; its learning rate is the row's at this tier."""
    return Recipe(steps=steps, batch=batch, schedule="linear", weight_decay=0.0, eval_every=steps // 20, bucket=0)
