"""Training with values that are not finite: it stops and says where, or leaves an update out if it may."""

from dataclasses import replace

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import torch
from test_training import RECIPE, example, reader

from cffbook.training import fit
from cffbook.training.loop import total_norm


def test_a_gradient_whose_square_is_too_large_for_a_float_still_has_a_norm():
    gradients = [torch.tensor([3e25, 1.0]), torch.tensor([[-4e25]])]
    assert abs(total_norm(gradients) / 5e25 - 1) < 1e-6
    assert not total_norm([torch.tensor([float("inf"), 1.0])]).isfinite()


@pytest.mark.parametrize("where", ["parameter", "gradient"])
def test_a_value_that_is_not_finite_stops_the_run_naming_step_and_parameter(tmp_path, where):
    model = reader()
    calls = []

    def spoil(module, inputs, output):
        calls.append(1)
        if len(calls) == 4 and where == "parameter":
            module.head.weight.data[0, 0] = float("nan")
        return output * torch.tensor(float("inf")) if len(calls) == 4 and where == "gradient" else output

    model.register_forward_hook(spoil)
    named = {"parameter": "parameter head.weight is not", "gradient": "gradient of the parameter raw_conductance is not"}
    with pytest.raises(FloatingPointError, match=rf"step 4 .*{named[where]} finite"):
        fit(model, example(), RECIPE, folder=tmp_path)


@pytest.mark.parametrize("allowed", [1, 2])
def test_an_update_whose_gradient_overflows_is_left_out_as_often_as_the_recipe_allows(tmp_path, allowed):
    model, seen = reader(), []

    def note(module, inputs):
        if module.training:
            seen.append({name: tensor.clone() for name, tensor in module.state_dict().items()})

    def overflow(gradient):  # of updates 4 and 9, counted from 1
        return gradient * float("inf") if len(seen) in (4, 9) else gradient

    model.register_forward_pre_hook(note)
    model.head.weight.register_hook(overflow)
    recipe = replace(RECIPE, overflows=allowed)
    if allowed == 1:
        with pytest.raises(FloatingPointError, match=r"step 9 .*after 1 left out.*gradient of the parameter head.weight is not finite"):
            fit(model, example(), recipe, folder=tmp_path)
    else:
        history = fit(model, example(), recipe, folder=tmp_path)
        assert (history.overflows, history.steps, len(seen)) == (2, 60, 60)
        assert fit(reader(), example(), recipe, folder=tmp_path).overflows == 2  # from its checkpoint
    same = [all(torch.equal(one[name], other[name]) for name in one) for one, other in zip(seen, seen[1:])]
    assert [number for number, equal in enumerate(same, 1) if equal] == [4, 9][:allowed]
