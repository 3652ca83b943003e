"""Neural circuit policies: sensory -> inter -> command -> motor, with recurrent command synapses.

Source: Lechner et al. 2020, Neural circuit policies enabling auditable autonomy; neuron order as in the package ncps.
"""

import torch
from torch import Tensor

from cffbook.wiring import checks
from cffbook.wiring.base import Wiring
from cffbook.wiring.builders import random_signs
from cffbook.wiring.devices import on_processor


@on_processor
def ncp(
    inputs: int,
    inter: int,
    command: int,
    motor: int,
    *,
    sensory_fanout: int,
    inter_fanout: int,
    recurrent_command_synapses: int,
    motor_fanin: int,
    self_connections: bool = False,
    excitatory: float = 0.5,
    seed: int = 0,
) -> Wiring:
    """A neural circuit policy. Neurons are numbered motor first, then command, then inter.

    A neuron that no draw has reached gets the mean number of synapses of its layer, so that none is left out.

    Args:
        inputs: number of inputs (sensory neurons).
        inter: number of inter neurons.
        command: number of command neurons.
        motor: number of motor neurons, which are the outputs.
        sensory_fanout: inter neurons that each input reaches.
        inter_fanout: command neurons that each inter neuron reaches.
        recurrent_command_synapses: synapses between command neurons, all at different places (ncps may draw a place
            twice and then has fewer).
        motor_fanin: command neurons that reach each motor neuron.
        self_connections: whether a command neuron may have a synapse on itself (in ncps it may).
        excitatory: fraction of synapses, sensory ones included, with polarity +1.
        seed: of the places and the polarity.

    Returns:
        A wiring with `sensory` ``(inputs, neuron)``, ``outputs = motor`` and ``layers = (motor, command, inter)``.

    Raises:
        ValueError: a size below 1, or a fan larger than the layer it draws from.
    """
    layers = tuple(checks.count(*size) for size in ((motor, "motor"), (command, "command"), (inter, "inter")))
    inputs = checks.count(inputs, "inputs")
    first_inter, size = motor + command, sum(layers)
    generator = torch.Generator().manual_seed(seed)
    reached = torch.zeros(inputs + size, size, dtype=torch.bool)  # sensory rows first: one draw of all polarities
    between = reached[inputs:]
    reached[:inputs, first_inter:] = _fan(inputs, inter, sensory_fanout, "sensory_fanout", generator)
    between[first_inter:, motor:first_inter] = _fan(inter, command, inter_fanout, "inter_fanout", generator)
    between[motor:first_inter, motor:first_inter] = _recurrent(
        command, recurrent_command_synapses, self_connections, generator
    )
    between[motor:first_inter, :motor] = _fan(motor, command, motor_fanin, "motor_fanin", generator).T
    polarity = random_signs(reached, excitatory, generator)
    name = f"ncp({inputs}, {inter}, {command}, {motor})"
    return Wiring(polarity[inputs:], sensory=polarity[:inputs], outputs=motor, name=name, layers=layers)


def _fan(near: int, far: int, fan: int, name: str, generator: torch.Generator) -> Tensor:
    """(near, far) bool: `fan` far neurons for each near one, then the mean of near ones for each forgotten one."""
    if checks.count(fan, name) > far:
        raise ValueError(f"expected {name} to be at most {far}, the size of its layer, got {fan}: lower it")
    drawn = _choose(near, far, fan, generator)
    forgotten = ~drawn.any(0)
    mean = min(max(near * fan // far, 1), near)
    return drawn | (_choose(far, near, mean, generator).T & forgotten)


def _choose(rows: int, columns: int, per_row: int, generator: torch.Generator) -> Tensor:
    """(rows, columns) bool with `per_row` different random columns in each row."""
    order = torch.rand(rows, columns, generator=generator).argsort(1)
    return torch.zeros(rows, columns, dtype=torch.bool).scatter_(1, order[:, :per_row], True)


def _recurrent(command: int, synapses: int, self_connections: bool, generator: torch.Generator) -> Tensor:
    possible = torch.ones(command, command, dtype=torch.bool)
    if not self_connections:
        possible.fill_diagonal_(False)
    place = possible.flatten().nonzero().squeeze(1)
    if checks.count(synapses, "recurrent_command_synapses", least=0) > len(place):
        raise ValueError(
            f"expected at most {len(place)} recurrent_command_synapses for {command} command neurons, got {synapses}: "
            "lower it"
        )
    drawn = torch.zeros(command * command, dtype=torch.bool)
    drawn[place[torch.randperm(len(place), generator=generator)[:synapses]]] = True
    return drawn.view(command, command)
