"""The automaton inside a memory: its states and what each input does to them, read out of what it answers.

    s ~ s'  if  answers(s, w) = answers(s', w) for every word w                                             (same-state)
    table[s, x] = the state after s under input x

Potentials are one state if no continuation tells them apart; so a state is no place but all places that behave alike. In
place of every word there are some, drawn at random. Source: Nerode 1958.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cffbook.lateral import MemoryCell
from cffbook.memory import MemoryLayer

Advance = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class StateGraph(NamedTuple):
    """An automaton, and where it came from.

    Args:
        table: the next state, `(states, inputs)` int64.
        state: of each potential that was looked at, `(potentials,)`.
        centres: means of the potentials of each state, `(states, pairs, 2)`.
        spread: the largest distance of a potential from the centre of its state, in any neuron.
        certainty: share of all steps from all potentials that go where the table says.
    """

    table: Tensor
    state: Tensor
    centres: Tensor
    spread: float
    certainty: float


@torch.no_grad()
def read_out(advance: Advance, potentials: Tensor, inputs: int, words: int = 16, length: int = 8, seed: int = 0) -> StateGraph:
    """The automaton that potentials and what follows from them show.

    Args:
        advance: `(potentials (n, pairs, 2), inputs (n, time)) -> (answers (n, time), potentials after the last one)`.
        potentials: where trajectories have been, `(n, pairs, 2)`.
        inputs: number of different inputs, 0 to `inputs` - 1.
        words: random continuations by which potentials are told apart.
        length: samples of each; with every single input they have one more.
        seed: of the words.

    Raises:
        ValueError: potentials of another shape.
    """
    if potentials.dim() != 3 or potentials.shape[-1] != 2:
        raise ValueError(f"expected potentials (n, pairs, 2), got {tuple(potentials.shape)}: flatten batch and time")
    count = len(potentials)
    continuations = torch.randint(inputs, (words, length), generator=torch.Generator().manual_seed(seed))
    continuations[: min(inputs, words), 0] = torch.arange(inputs)[:words]

    def future(now: Tensor) -> Tensor:
        answers, _ = advance(now.repeat_interleave(words, 0), continuations.repeat(len(now), 1))
        return answers.reshape(len(now), -1)

    symbols = torch.arange(inputs)
    _, after = advance(potentials.repeat_interleave(inputs, 0), symbols.repeat(count)[:, None])
    futures = torch.cat((future(potentials), future(after)))
    classes = futures.unique(dim=0, return_inverse=True)[1]  # eq. same-state
    seen, state = classes[:count].unique(return_inverse=True)
    following = torch.searchsorted(seen, classes[count:]).clamp(max=len(seen) - 1)
    following = torch.where(seen[following] == classes[count:], following, -1).view(count, inputs)
    table = torch.stack([following[state == each].mode(0).values for each in range(len(seen))])
    centres = torch.stack([potentials[state == each].mean(0) for each in range(len(seen))])
    spread = float((potentials - centres[state]).abs().max())
    return StateGraph(table, state, centres, spread, float((following == table[state]).double().mean()))


def isomorphism(table: Tensor, other: Tensor, start: int, other_start: int) -> Tensor | None:
    """The states of `other` `(states,)` that the states of `table` are, both `(states, inputs)`, or None if there is no such map.

    Both are walked from their first states along equal inputs; states that cannot be reached are -1.
    """
    found = torch.full((len(table),), -1)
    found[start], waiting = other_start, [start]
    while waiting:
        state = waiting.pop()
        for after, expected in zip(table[state].tolist(), other[found[state]].tolist(), strict=True):
            if after < 0 or (found[after] >= 0 and found[after] != expected):
                return None
            if found[after] < 0:
                found[after] = expected
                waiting.append(after)
    reached = found[found >= 0]
    return found if len(reached.unique()) == len(reached) else None


@torch.no_grad()
def silence(layer: MemoryLayer, flip_flops: Iterable[int] = (), synapses: Iterable[int] = ()) -> MemoryLayer:
    """Cut what some CFFs tell others and the output, or single lateral synapses, in the layer itself, which is returned.

    Raises:
        ValueError: lateral synapses of a layer that has none.
    """
    cell: nn.Module = layer.cell
    chosen = torch.tensor(list(flip_flops), dtype=torch.int64)
    columns = chosen if layer.readout == "one" else torch.cat((2 * chosen, 2 * chosen + 1))
    layer.output_map.weight[:, columns] = 0
    cut = torch.tensor(list(synapses), dtype=torch.int64)
    if isinstance(cell, MemoryCell):
        cut = torch.cat((cut, torch.isin(cell.lateral.source, chosen).nonzero()[:, 0]))
        cell.lateral.raw_conductance[cut] = -40.0  # softplus: 4e-18
    elif len(cut):
        raise ValueError(f"expected no lateral synapses to silence in independent flip-flops, got {cut.tolist()}")
    return layer
