"""Every figure of the book: one function, one plotly figure."""

from cffbook.figures.gradients import bound_and_measured, gate_of_a_step, gradient_norms, held_values
