"""The check of Pathfinder: turning an image keeps its label, the record stands apart from tables, and the labels can be learned."""

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("numba")

import torch

from cffbook import experiment
from cffbook.experiment import convolution
from cffbook.results import load_records, table


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))


def symmetries(image):
    """The square's eight."""
    return [torch.rot90(one, turns) for one in (image, image.flip(0)) for turns in range(4)]


def test_an_image_is_turned_into_each_of_its_eight_symmetries_and_nothing_else():
    image = torch.arange(16).view(4, 4)
    torch.manual_seed(0)
    found = {tuple(one.flatten().tolist()) for one in convolution.turned(image.expand(200, 4, 4))}
    assert found == {tuple(one.flatten().tolist()) for one in symmetries(image)} and len(found) == 8


def test_only_training_turns_images_and_a_new_block_is_the_identity():
    torch.manual_seed(0)
    model = convolution.Convolution(8, 4, 2, 2)
    tokens = torch.randint(0, 256, (3, 64))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens, lengths=torch.full((3,), 64)))
    plane = torch.rand(2, 4, 4, 4)
    assert torch.equal(model.blocks(plane), plane)


def test_the_network_has_the_size_of_a_small_one_and_its_seed_fixes_it():
    class Told:
        length, classes = 1024, 2

    first, again, other = (convolution.build(experiment.Check(seed=seed), Told) for seed in (0, 0, 1))
    assert 100_000 < sum(parameter.numel() for parameter in first.parameters()) < 400_000
    assert torch.equal(first.head.weight, again.head.weight) and not torch.equal(first.head.weight, other.head.weight)


def test_a_check_leaves_a_record_that_no_table_takes_for_one_of_its_own(tmp_path):
    check = experiment.Check("easy", convolution.recipe(4), channels=4, blocks=1, train=64, valid=16, test=24)
    record = experiment.verify(check, tmp_path / "results", tmp_path / "runs")
    assert check.path(tmp_path / "results").parent.name == "checks"
    assert record.task["variant"]["difficulty"] == "easy" and record.steps == 4 and record.samples == 256
    assert load_records(tmp_path / "results") == [] and experiment.load_checks(tmp_path / "results") == [record]
    assert experiment.verify(check, tmp_path / "results", tmp_path / "nowhere") == record
    assert table([record], columns="row").header[1:] == ("convolution",)  # a record like any other


@pytest.mark.parametrize(("change", "kind"), [({"channels": 0}, ValueError), ({"blocks": "8"}, TypeError), ({"train": -1}, ValueError)])
def test_a_value_out_of_range_is_refused(change, kind):
    with pytest.raises(kind, match=next(iter(change))):
        experiment.Check(**change)
