"""Every figure of the book: one function, one plotly figure."""

from cffbook.figures.evaluation import aim, curves, published_scores, scores
from cffbook.figures.flipflop import basins, circuit, lock_step, phase_plane, potentials
from cffbook.figures.gradients import bound_and_measured, gate_of_a_step, gradient_norms, held_values
from cffbook.figures.latch import bifurcation, fading_gradient, hysteresis, phase_diagram, retention
from cffbook.figures.learning import learning_curve
from cffbook.figures.memory import accuracy_over_time, cost, gallery, image_raster, raster
from cffbook.figures.parallel import newton_residuals, rerun_share
from cffbook.figures.pathfinder import contact_sheet
from cffbook.figures.remembering import before_and_after, dilemma, loss_over_length
from cffbook.figures.speed import bars_met, over_time, shares_of_limits
from cffbook.figures.tracking import generalisation, graph, heat
from cffbook.figures.transformer import block, influence, parameters_by_part, state_bytes, training_curves
from cffbook.figures.trials import effects, loss_over_setting

__all__ = [
    "accuracy_over_time",
    "aim",
    "bars_met",
    "basins",
    "before_and_after",
    "bifurcation",
    "block",
    "bound_and_measured",
    "circuit",
    "contact_sheet",
    "cost",
    "curves",
    "dilemma",
    "effects",
    "fading_gradient",
    "gallery",
    "gate_of_a_step",
    "generalisation",
    "gradient_norms",
    "graph",
    "heat",
    "held_values",
    "hysteresis",
    "image_raster",
    "influence",
    "learning_curve",
    "lock_step",
    "loss_over_length",
    "loss_over_setting",
    "newton_residuals",
    "over_time",
    "parameters_by_part",
    "phase_diagram",
    "phase_plane",
    "potentials",
    "published_scores",
    "raster",
    "rerun_share",
    "retention",
    "scores",
    "shares_of_limits",
    "state_bytes",
    "training_curves",
]
