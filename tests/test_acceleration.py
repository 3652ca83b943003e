"""`accelerate`: models of ncps, unmodified, give the same outputs and gradients, and stay what they were."""

import copy
import pickle

import pytest
import torch
from torch import nn

import cffbook

pytest.importorskip("numba", reason="needs the extra 'fast'")
ncps = pytest.importorskip("ncps", reason="needs the extra 'test'")
pytest.importorskip("ncps.torch")


def pair(wiring=7, **options):
    """A model of ncps and its accelerated twin, their values away from the initial ones."""
    torch.manual_seed(0)
    theirs = ncps.torch.LTC(3, wiring, **options)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "mask" not in name:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
    return theirs, cffbook.accelerate(copy.deepcopy(theirs))


WIRINGS = {
    "full": lambda: 7, "ncp": lambda: ncps.wirings.NCP(6, 5, 2, 3, 2, 4, 3), "auto": lambda: ncps.wirings.AutoNCP(16, 4),
    "random": lambda: ncps.wirings.Random(9, 3, sparsity_level=0.5),
}  # fmt: skip


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", WIRINGS)
def test_outputs_and_gradients_are_those_of_ncps(name, implicit):
    theirs, ours = pair(WIRINGS[name](), implicit_param_constraints=implicit)
    found, expected = [], []
    for model, results in ((ours, found), (theirs, expected)):
        x = torch.randn(7, 60, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()  # batch == neurons for "full"
        outputs, last = model(x)
        (outputs.square().mean() + last.mean()).backward()
        results += [outputs, last, x.grad, *(parameter.grad for parameter in model.parameters() if parameter.requires_grad)]
    for mine, yours in zip(found, expected, strict=True):
        assert float((mine - yours).detach().abs().max()) < 1e-5 * max(1.0, float(yours.detach().abs().max()))


@pytest.mark.parametrize("options", [{"return_sequences": False}, {"batch_first": False}, {"input_mapping": "linear", "output_mapping": None}])
def test_every_way_to_call_it_gives_what_ncps_gives(options):
    theirs, ours = pair(**options)
    x, start = torch.randn(4, 9, 3), torch.rand(4, 7)
    x = x if options.get("batch_first", True) else x.transpose(0, 1)
    for mine, yours in zip(ours(x, start), theirs(x, start), strict=True):
        assert torch.allclose(mine, yours, atol=1e-5)
    for mine, yours in zip(ours(x[0], start[0]), theirs(x[0], start[0]), strict=True):  # a sequence without a batch
        assert mine.shape == yours.shape and torch.allclose(mine, yours, atol=1e-5)


def test_times_are_those_of_each_sample_and_sequence():
    theirs, ours = pair()
    x, times = torch.randn(7, 5, 3), torch.rand(7, 5) + 0.2
    whole, _ = ours(x, timespans=times)
    for one in range(7):  # ncps knows the times of one sequence at a time
        assert torch.allclose(whole[one], theirs(x[one], timespans=times[one])[0], atol=1e-5)


def test_parameters_stay_the_same_objects_wherever_the_model_is():
    model = nn.Sequential(nn.Linear(2, 3), ncps.torch.LTC(3, 7))
    before, keys = list(model.parameters()), list(model.state_dict())
    assert cffbook.accelerate(model) is model and isinstance(model[1], ncps.torch.LTC)
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True)) and list(model.state_dict()) == keys
    x = torch.randn(2, 5, 2)
    expected = model(x)[0]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x)[0], expected)
    with torch.no_grad():
        model[1].rnn_cell._params["vleak"].add_(1.0)
    assert not torch.allclose(model(x)[0], expected)


def test_what_cannot_be_accelerated_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"expected a module with an ncps.torch.LTC inside, got a Linear without"):
        cffbook.accelerate(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="mixed_memory=True"):
        cffbook.accelerate(ncps.torch.LTC(3, 4, mixed_memory=True))
