"""Where tensors lie: wirings keep their numbers whatever the default device is, and layers that hold them can be built before they have any."""

import pytest
import torch

from cffbook import LTC, MemoryLayer, mixers, wiring

BUILT = {
    "independent": (8,), "dense": (8,), "tiles": (8, 4), "random_sparse": (8, 0.5), "ring": (8,), "lattice": ((2, 2, 2),), "small_world": (8, 2, 0.5),
    "ncp": (4, 4, 3, 2),
}  # fmt: skip
NCP = {"sensory_fanout": 2, "inter_fanout": 2, "recurrent_command_synapses": 3, "motor_fanin": 2}


def built(name):
    return wiring.builder(name)(*BUILT[name], **(NCP if name == "ncp" else {}))


@pytest.mark.parametrize("name", wiring.names())
def test_a_wiring_has_its_numbers_whatever_the_default_device_is(name):
    with torch.device("meta"):
        there = built(name)
        again = wiring.from_graph(there.polarity.tolist())
        blocks, tile = there.blocks(), there.tile_size()
    here = built(name)
    assert torch.equal(there.polarity, here.polarity) and torch.equal(again.polarity, here.polarity)
    assert tile == here.tile_size() and all(torch.equal(one, other) for one, other in zip(blocks, here.blocks(), strict=True))


def test_a_matrix_without_numbers_is_no_wiring():
    with pytest.raises(ValueError, match="expected polarity to have values, got a tensor on the device 'meta'"):
        wiring.Wiring(torch.zeros(3, 3, device="meta"))


@pytest.mark.parametrize("name", mixers.known())
def test_a_mixer_built_without_numbers_takes_those_of_another(name):
    if name in mixers.adapted():
        pytest.importorskip(mixers.adapted()[name])
    options = mixers.MixerOptions(length=32, tile=4 if name == "memory" else 0)
    with torch.device("meta"):
        empty = mixers.build(name, 16, options)
    assert all(parameter.is_meta for parameter in empty.parameters())
    full, x = mixers.build(name, 16, options).eval(), torch.randn(2, 32, 16)
    empty.load_state_dict(full.state_dict(), assign=True)
    assert torch.equal(empty.eval()(x)[0], full(x)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("make", [lambda: MemoryLayer(8), lambda: MemoryLayer(8, 8, wiring.tiles(8, 4)), lambda: LTC(8, 8)], ids=["alone", "tiles", "ltc"])
def test_a_layer_built_on_a_gpu_runs_there(make):
    with torch.device("cuda"):
        layer, x = make(), torch.randn(2, 5, 8)
    layer(x)[0].sum().backward()
    assert {each.device.type for each in (*layer.parameters(), *layer.buffers())} == {"cuda"}
