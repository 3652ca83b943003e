"""Training: `fit` a model to a task by a `Recipe`, `evaluate` it on a split.

    recipe       optimiser, schedule, budget; parameter groups
    order        which samples an update sees
    scoring      losses, scores, evaluation of a split
    history      what a run leaves behind
    checkpoint   atomic safetensors files
    loop         fit
    checks       a settings dataclass against its annotations
"""

from cffbook.training.history import Evaluation, History
from cffbook.training.loop import fit
from cffbook.training.recipe import Recipe, parameter_groups
from cffbook.training.scoring import Score, evaluate

__all__ = ["Evaluation", "History", "Recipe", "Score", "evaluate", "fit", "parameter_groups"]
