"""A memory as plain numbers: the JSON that a page computes it from, and the cell that such a JSON describes.

The format, `cffbook.memory/1`; n flip-flops, S lateral synapses, tensors as nested lists::

    format, scheme, sensory, self_polarity, unfolds      as `FlipFlop` is built, unfolds of the semi-implicit solver
    values           name -> (n, 2)                      every physical value of the pairs
    lateral          null, or kind; source, target, polarity (S,); conductance, reversal (S, 2);
                     slope, half_activation (n,) for presynaptic gates, (S, 2) for gates per synapse
    start            (n, 2)                              potentials before the first sample
    names            (n,)                                what the flip-flops are called
    symbols          null, or names; lines (symbols, lines): the input lines under each symbol
    answers          null, or names; readout; weight (answers, held), bias: scores read from what is held
    automaton        null, or states; next (states, symbols); start: what a right answer follows
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cffbook.flipflop import FlipFlop
from cffbook.lateral import MemoryCell
from cffbook.memory import MemoryLayer
from cffbook.neuron import inverse_softplus
from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.solver import SemiImplicitEuler
from cffbook.widgets.flipflop import unfolds_of, values_of
from cffbook.wiring import Wiring

FORMAT = "cffbook.memory/1"
LARGEST = 64  # flip-flops that a page shows


@torch.no_grad()
def describe(
    memory: MemoryLayer | MemoryCell | FlipFlop,
    names: Sequence[str] | None = None,
    symbols: Mapping[str, Tensor] | None = None,
    answers: tuple[Sequence[str], nn.Linear] | None = None,
    automaton: tuple[Sequence[str], Sequence[Sequence[int]], int] | None = None,
    start: Tensor | None = None,
) -> dict[str, object]:
    """The numbers of a memory, ready for `json.dumps`.

    Args:
        memory: a layer that runs forwards, or a cell.
        names: of the flip-flops; their numbers when None.
        symbols: by name, what a symbol is for the layer, `(d_model,)`; such as the rows of an embedding.
        answers: names, and the linear map `(d_model -> answers)` that reads the layer's output.
        automaton: names of its states, the next state for each state and symbol, and the first state; answers are its states.
        start: potentials `(pairs, 2)` at the start, zeros when None.

    Raises:
        ValueError: the memory is larger than 64, runs both ways, has another solver, or names do not fit.
    """
    cell = memory.cell if isinstance(memory, MemoryLayer) else memory
    pairs = cell.state_shape[0]
    flip_flops = cell.flip_flops if isinstance(cell, MemoryCell) else cell
    _check(memory, pairs, names, symbols, answers)
    each = [values_of(flip_flops, pair) for pair in range(pairs)]
    return {
        "format": FORMAT,
        "scheme": flip_flops.scheme, "sensory": flip_flops.kind, "self_polarity": flip_flops.self_polarity, "unfolds": unfolds_of(cell.solver),
        "values": {name: [values[name] for values in each] for name in PAIR_VALUES},
        "lateral": _lateral(cell) if isinstance(cell, MemoryCell) else None,
        "start": (torch.zeros(pairs, 2) if start is None else start).tolist(),
        "names": list(names or map(str, range(pairs))),
        "symbols": symbols and {"names": list(symbols), "lines": [memory.input_map(vector).tolist() for vector in symbols.values()]},
        "answers": answers and _answers(memory, *answers),
        "automaton": automaton and {"states": list(automaton[0]), "next": [list(row) for row in automaton[1]], "start": automaton[2]},
    }  # fmt: skip


@torch.no_grad()
def cell_of(description: Mapping) -> FlipFlop | MemoryCell:
    """The cell, in double precision, that a description is of.

    Raises:
        ValueError: it is of another format.
    """
    if description.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT!r}, got {description.get('format')!r}: make the description with describe()")
    pairs, solver = len(description["values"]["capacitance"]), SemiImplicitEuler(description["unfolds"])
    flip_flops = FlipFlop(pairs, description["scheme"], description["sensory"], description["self_polarity"], solver).double()
    values = {name: torch.tensor(description["values"][name], dtype=torch.float64) for name in flip_flops.parameter_names()}
    if description["self_polarity"]:
        values["self_reversal"] = description["self_polarity"] * values["self_reversal"].abs()
    flip_flops.assign(values)
    lateral = description["lateral"]
    if lateral is None or not lateral["source"]:
        return flip_flops
    polarity = torch.zeros(pairs, pairs, dtype=torch.int8)
    polarity[lateral["source"], lateral["target"]] = torch.tensor(lateral["polarity"], dtype=torch.int8)
    cell = MemoryCell(flip_flops, Wiring(polarity), lateral["kind"]).double()
    found = {name: torch.tensor(lateral[name], dtype=torch.float64) for name in ("conductance", "reversal", "slope", "half_activation")}
    # parameters are in the order of nonzero(), by source and then by target
    order = torch.argsort(torch.tensor(lateral["source"]) * pairs + torch.tensor(lateral["target"]))
    gates = order if lateral["kind"] == "per_synapse" else slice(None)
    cell.lateral.raw_conductance.copy_(inverse_softplus(found["conductance"][order]))
    cell.lateral.raw_reversal.copy_(inverse_softplus(found["reversal"][order].abs()))
    cell.lateral.raw_slope.copy_(inverse_softplus(found["slope"][gates]))
    cell.lateral.half_activation.copy_(found["half_activation"][gates])
    return cell


def _lateral(cell: MemoryCell) -> dict[str, object]:
    synapses, values = cell.lateral, cell.lateral.values()
    at = synapses.source, synapses.target
    gates = {"slope": values.slope, "half_activation": values.half_activation}
    if synapses.kind == "per_synapse":
        gates = {name: gate[at] for name, gate in gates.items()}
    tensors = {"conductance": values.conductance[at], "reversal": values.reversal[at], **gates}
    return {
        "kind": synapses.kind, "source": at[0].tolist(), "target": at[1].tolist(), "polarity": synapses.sign[:, 0].int().tolist(),
        **{name: tensor.double().tolist() for name, tensor in tensors.items()},
    }  # fmt: skip


def _answers(layer: MemoryLayer, names: Sequence[str], head: nn.Linear) -> dict[str, object]:
    """The layer's output map and the head after it as one map."""
    weight, inner = head.weight.double(), layer.output_map
    bias = weight @ inner.bias.double() + (0 if head.bias is None else head.bias.double())
    return {"names": list(names), "readout": layer.readout, "weight": (weight @ inner.weight.double()).tolist(), "bias": bias.tolist()}


def _check(memory: nn.Module, pairs: int, names, symbols, answers) -> None:
    if pairs > LARGEST:
        raise ValueError(f"a page shows at most {LARGEST} flip-flops, got {pairs}: describe a smaller memory")
    if getattr(memory, "bidirectional", False):
        raise ValueError("a layer that runs both ways has no present state to show: describe one with bidirectional=False")
    if (symbols or answers) and not isinstance(memory, MemoryLayer):
        raise ValueError(f"symbols and answers need the maps of a MemoryLayer, got a {type(memory).__name__}: describe the layer")
    if names is not None and len(names) != pairs:
        raise ValueError(f"expected a name for each of {pairs} flip-flops, got {len(names)}: give one each")
    if answers and answers[1].out_features != len(answers[0]):
        raise ValueError(f"expected {answers[1].out_features} names of answers, got {len(answers[0])}: give one for each output of the head")
