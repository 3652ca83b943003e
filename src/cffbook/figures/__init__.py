"""Every figure of the book: one function, one plotly figure."""

from cffbook.figures.gradients import bound_and_measured, gate_of_a_step, gradient_norms, held_values
from cffbook.figures.memory import accuracy_over_time, cost, gallery, image_raster, raster
from cffbook.figures.transformer import block, influence, learning, parameters_by_part, state_bytes
