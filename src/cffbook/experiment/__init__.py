"""Experiments: frozen `Settings`, one function per table row, `run(settings) -> Record`.

    settings     what a run is: checked, named, changed by known names
    probes       the budgets of the probes
    budgets      the tiers: data and budget of every task
    rows         one function per table row
    runner       settings to model, training and record; record to trained model
    weights      where trained weights are kept
    facts        parameter counts, machine, versions, commit
    convolution  a network over the plane: whether Pathfinder's labels can be learned at all
    __main__     ``python -m cffbook.experiment``, also under ``accelerate launch``

Example:
    >>> from cffbook import experiment
    >>> record = experiment.run(experiment.memory("listops", tier="smoke"))
"""

from cffbook.experiment.budgets import tiers
from cffbook.experiment.convolution import Check, Convolution, load_checks, verify
from cffbook.experiment.rows import (
    alone_coupled,
    alone_plain,
    alone_steered,
    alone_wide,
    attention,
    bigbird,
    gru,
    linear,
    linformer,
    local,
    longformer,
    lstm,
    ltc,
    memory,
    memory_both,
    memory_plain,
    memory_small,
    memory_tiles,
    min_gru,
    ncp,
    norm_preserving,
    nystrom,
    performer,
    reformer,
    rnn,
    rows,
    settings,
    sinkhorn,
    sparse,
    state_space,
    synthesizer_factorised,
    synthesizer_random,
)
from cffbook.experiment.runner import build_model, run, trained
from cffbook.experiment.settings import Settings, override, parse

__all__ = ["Check", "Convolution", "Settings", "alone_coupled", "alone_plain", "alone_steered", "alone_wide", "attention", "bigbird", "build_model",
           "gru", "linear", "linformer", "load_checks", "local", "longformer", "lstm", "ltc", "memory", "memory_both", "memory_plain",
           "memory_small", "memory_tiles", "min_gru", "ncp", "norm_preserving", "nystrom", "override", "parse", "performer", "reformer",
           "rnn", "rows", "run", "settings", "sinkhorn", "sparse", "state_space", "synthesizer_factorised", "synthesizer_random",
           "tiers", "trained", "verify"]
