"""Pathfinder: the generator's statistics and reproducibility, its labels, and no shortcut."""

import hashlib
import subprocess
import sys

import pytest

pytest.importorskip("numpy")
pytest.importorskip("numba")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks import pathfinder, pathfinder_facts, pathfinder_shapes
from cffbook.tasks.pathfinder_draw import Drawn, draw, keys, traced
from cffbook.tasks.pathfinder_facts import discs_apart
from cffbook.tasks.pathfinder_raster import grown, line, resample
from cffbook.tasks.pathfinder_shapes import design, tables

COUNT = 3000
FEW = {"train": 21, "valid": 5, "test": 7}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CFFBOOK_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def hard() -> Drawn:
    return draw(design(32, "hard"), 5, "train", COUNT)


@pytest.fixture(scope="module")
def asked() -> Drawn:
    return draw(design(32, "hard"), 5, "test", COUNT)


def logistic(inputs: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of a logistic regression by Newton's method, the last one being the constant."""
    inputs, weight = np.c_[inputs, np.ones(len(inputs))], np.zeros(inputs.shape[1] + 1)
    for _ in range(8):
        chance = 1 / (1 + np.exp(-inputs @ weight))
        slope = inputs.T @ (chance - targets) / len(targets) + ridge * weight
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs / len(targets) + ridge * np.eye(len(weight))
        weight -= np.linalg.solve(curvature, slope)
    return weight


def test_labels_are_even_and_every_image_is_stretched_to_the_full_range(hard):
    assert abs(hard.labels.mean() - 0.5) < 3 * 0.5 / COUNT**0.5
    assert (hard.images.max((1, 2)) == 255).all() and (hard.images.min((1, 2)) == 0).all()


@pytest.mark.parametrize(("side", "difficulty", "count"), [(32, "easy", 600), (32, "intermediate", 600), (32, "hard", 600), (64, "hard", 40), (128, "hard", 12)])
def test_short_snakes_ink_and_components_are_those_of_the_original(side, difficulty, count):
    kind, known = design(side, difficulty), (side, difficulty)
    drawn = draw(kind, 1, "test", count)
    assert drawn.images.shape == (count, side, side) and (drawn.images.max((1, 2)) == 255).all()
    found = pathfinder_facts.measure(drawn, kind)
    assert found.shape == (count, len(pathfinder_facts.NAMES))
    error = found.std(0) * (1 / count + 1 / pathfinder_facts.IMAGES[known]) ** 0.5
    last = np.array([0.005, 0.05, 0.0005, 0.0005, 0.0005, 0.05, 0.005])  # half a unit of the last digit that was recorded
    # the two distances left out are those that were made equal, see below
    assert (np.abs(found.mean(0) - pathfinder_facts.ORIGINAL[known])[:7] < 3 * error[:7] + last).all()


@pytest.mark.parametrize("difficulty", ["easy", "intermediate", "hard"])
def test_the_ends_of_the_contours_are_as_far_from_the_first_disc_in_either_class(difficulty):
    drawn = draw(design(32, difficulty), 3, "train", COUNT)
    apart = discs_apart(drawn)
    ours, theirs = apart[drawn.labels == 1], apart[drawn.labels == 0]
    assert abs(ours.mean() - theirs.mean()) < 3 * (ours.var() / len(ours) + theirs.var() / len(theirs)) ** 0.5
    edges = np.quantile(apart, [0.1, 0.25, 0.5, 0.75, 0.9])
    shares = [(one[:, None] < edges).mean(0) for one in (ours, theirs)]
    assert np.abs(shares[0] - shares[1]).max() < 3 * (0.25 * (1 / len(ours) + 1 / len(theirs))) ** 0.5


def test_the_first_tips_are_the_seed_distance_apart_and_segments_follow_one_another(hard):
    kind = design(32, "hard")
    steps = tables(kind, 1).seeds
    assert np.abs(np.hypot(*steps.T) - 7).max() < 0.75  # rounded to whole pixels: 6.4 to 7.6, as recorded of the original
    long = hard.segments[:, : 2 * kind.contour].astype(int)
    assert (long[:, :, 0] == np.repeat([0, 1], kind.contour)).all()
    lengths = np.hypot(*(long[:, :, 1:3] - long[:, :, 3:]).transpose(2, 0, 1))
    assert lengths.min() >= 1 and lengths.max() < 2.9  # 2 pixels, rounded up in rows and columns
    gaps = np.hypot(*(long[:, 1 : kind.contour, 1:3] - long[:, : kind.contour - 1, 3:]).transpose(2, 0, 1))
    assert 1.5 < gaps.mean() < 2.5  # twice the margin
    assert (np.hypot(*(hard.discs[:, 0] - hard.segments[:, 0, 1:3]).T) <= 1.5).all()


def test_the_label_is_found_again_by_following_the_contour(hard):
    found = [traced(segments, discs, 5) for segments, discs in zip(hard.segments, hard.discs, strict=True)]
    assert found == hard.labels.tolist()
    segments = hard.segments[0].copy()
    segments[:, 0] = 2
    with pytest.raises(ValueError, match="begins at the disc"):
        traced(segments, hard.discs[0], 5)
    with pytest.raises(ValueError, match="expected the next segment within 1 pixels"):
        traced(hard.segments[0], hard.discs[0], 1)


def test_discs_and_segments_are_where_they_are_said_to_be(hard):
    rows = np.arange(COUNT)
    for disc in (0, 1):
        assert hard.images[rows, hard.discs[:, disc, 0], hard.discs[:, disc, 1]].min() >= 110  # the brightest may be twice that
    for place in range(28):
        head = hard.segments[:, place, 3:]
        assert hard.images[rows, head[:, 0], head[:, 1]].min() > 0


def test_brightness_tells_nothing_about_the_label(hard):
    brightness = hard.images.mean((1, 2))
    difference = brightness[hard.labels == 1].mean() - brightness[hard.labels == 0].mean()
    assert abs(difference) < 0.5


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_the_distance_of_the_discs_and_the_ink_tell_nothing_about_the_label(difficulty, hard, asked):
    kind = design(32, difficulty)
    known, asked = (hard, asked) if difficulty == "hard" else [draw(kind, 2, role, COUNT) for role in ("train", "test")]
    features = [np.c_[discs_apart(drawn), discs_apart(drawn) ** 2, drawn.images.mean((1, 2))] for drawn in (known, asked)]
    scaled = [(one - features[0].mean(0)) / features[0].std(0) for one in features]
    weight = logistic(scaled[0], known.labels, 1e-6)
    right = np.mean((np.c_[scaled[1], np.ones(COUNT)] @ weight > 0) == asked.labels)
    assert right < 0.52  # chance is 0.5 +- 0.009


def test_a_linear_model_of_the_pixels_is_at_chance(hard, asked):
    weight = logistic(hard.images.reshape(COUNT, -1) / 255, hard.labels, 1e-2)
    right = np.mean((np.c_[asked.images.reshape(COUNT, -1) / 255, np.ones(COUNT)] @ weight > 0) == asked.labels)
    assert right < 0.5 + 3 * 0.5 / COUNT**0.5  # three deviations above chance, 0.527


def test_a_seed_gives_these_bytes_on_every_machine(hard):
    digest = hashlib.sha256(b"".join(getattr(hard, name)[:200].tobytes() for name in ("images", "labels", "segments", "discs")))
    wide = draw(design(128, "easy"), 5, "train", 4)
    digest.update(wide.images.tobytes() + wide.margins.tobytes())
    assert digest.hexdigest()[:16] == "75e9b413b9727b9c"


def test_threads_and_the_number_of_images_do_not_change_an_image(hard):
    kind = design(32, "hard")
    few = draw(kind, 5, "train", 151, workers=3)
    for name in ("images", "labels", "segments", "discs", "margins"):
        assert (getattr(few, name) == getattr(hard, name)[:151]).all()
    for other in (draw(kind, 6, "train", 20), draw(kind, 5, "valid", 20)):
        assert (other.images != hard.images[:20]).any((1, 2)).all()
    assert len(np.unique(np.concatenate([keys(5, role, 5000) for role in ("train", "valid", "test")]))) == 15_000


def test_margins_of_two_and_three_are_drawn_at_128_pixels():
    drawn = draw(design(128, "easy"), 0, "train", 11)
    assert set(drawn.margins.tolist()) == {2, 3}
    for segments, discs, margin, label in zip(drawn.segments, drawn.discs, drawn.margins.tolist(), drawn.labels, strict=True):
        assert traced(segments, discs, 2 * margin + 3) == label


def test_resampling_keeps_a_flat_image_and_agrees_with_pillow():
    assert (resample(np.full((17, 17), 200), 9) == 200).all()
    image = pytest.importorskip("PIL.Image")
    fine = np.random.default_rng(0).integers(0, 256, (19, 19))
    expected = np.asarray(image.fromarray(fine.astype(np.uint8)).resize((9, 9), image.Resampling.LANCZOS)).astype(int)
    assert np.abs(resample(fine, 9).astype(int) - expected).max() <= 1  # Pillow resamples columns first and rounds between


@pytest.mark.parametrize(("length", "width", "allowed"), [(4, 1, 0.0), (10, 2, 0.5), (10, 3, 0.5)])
def test_a_line_is_that_of_pillow_to_half_a_pixel(length, width, allowed):
    image, draw_on = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageDraw")
    turns = np.radians(np.arange(0, 360, 0.5))
    ends = {tuple(end) for end in np.ceil(np.round(length * np.stack([np.sin(turns), np.cos(turns)], 1), 9)).astype(int).tolist()}
    different = []
    for down, right in sorted(ends):
        drawn = image.new("L", (31, 31))
        draw_on.Draw(drawn).line([(15, 15), (15 + right, 15 + down)], fill=1, width=width)
        different.append(np.abs(np.asarray(drawn) - line((down, right), width, 15)).sum())
    assert len(different) >= 30 and np.mean(different) <= allowed  # of 19 and 31 pixels; Pillow's polygons have longer points


def test_first_segments_leave_out_the_directions_that_the_original_leaves_out(hard):
    kind = tables(design(32, "hard"), 1)
    assert 0.05 < kind.usable.mean() < 0.15
    rows = hard.segments.astype(int)
    firsts = [np.unique(rows[0, :, 0], return_index=True)[1]] + [np.unique(one[:, 0], return_index=True)[1] for one in rows[1:500]]
    steps = {tuple(step) for step in kind.far[:360][kind.usable].tolist()}
    for one, places in zip(rows, firsts, strict=False):
        for place in places:
            if one[place, 0] > 1:  # of the long snakes only the one that was begun first is held to it
                assert tuple(one[place, 3:] - one[place, 1:3]) in steps


def test_dilation_covers_a_disc_around_every_point():
    point = np.zeros((9, 9), dtype=np.int64)
    point[4, 4] = 1
    rows, columns = np.mgrid[-4:5, -4:5]
    assert (grown(point, 3) == (rows**2 + columns**2 <= 9)).all()


def test_the_acceptance_keeps_all_where_nothing_was_fitted(monkeypatch):
    monkeypatch.setattr(pathfinder_shapes, "BALANCE", {})
    assert (pathfinder_shapes._accept(design(32, "easy"), 1) == 1 << 16).all()
    monkeypatch.undo()
    kept = pathfinder_shapes._accept(design(32, "easy"), 1) / (1 << 16)
    assert (kept.max(0) == 1).all() and kept.min() < 0.8  # of either label all are kept, or of the other


def test_a_pixel_is_a_token_or_a_number_by_protocol():
    tokens, numbers = (tasks.load("pathfinder", protocol=name, **FEW) for name in ("lra", "s4"))
    assert (tokens.name, tokens.vocabulary, tokens.features, tokens.classes, tokens.length) == ("pathfinder", 256, None, 2, 1024)
    assert (numbers.vocabulary, numbers.features) == (None, 1) and tokens.sizes == FEW
    one, other = tokens.test.batch([3, 0]), numbers.test.batch([3, 0])
    assert one.inputs.dtype == torch.int64 and one.lengths.tolist() == [1024, 1024]
    assert torch.equal(one.inputs, torch.from_numpy(tokens.test.drawn.images[[3, 0]].reshape(2, -1)).long())
    assert torch.equal(other.inputs[..., 0], one.inputs.float() / 255) and torch.equal(one.targets, other.targets)
    assert torch.equal(tokens.test.batch([0]).inputs[0], one.inputs[1])


def test_path_x_is_the_hard_task_at_128_pixels(monkeypatch):
    small = draw(design(128, "easy"), 0, "train", 3)  # hard ones take a tenth of a second each
    seen = []
    monkeypatch.setattr(pathfinder, "draw", lambda kind, seed, role, count, workers: seen.append((kind, role, count)) or small)
    task = tasks.load("pathx", train=3, valid=3, test=3)
    assert (task.name, task.length, task.vocabulary) == ("pathx", 16_384, 256)
    assert task.train.batch([0]).inputs.shape == (1, 16_384)
    assert seen == [(design(128, "hard"), role, 3) for role in ("train", "valid", "test")]


def test_a_curriculum_begins_with_shorter_contours_whose_labels_hold():
    task = tasks.load("pathfinder", difficulty="intermediate", **FEW)
    short = task.train.at(4)
    assert task.train.at(9) is task.train and task.train.at(4) is short and (len(short), short.length) == (21, 4)
    assert short.batch([0]).inputs.shape == task.train.batch([0]).inputs.shape
    long = short.drawn.segments[:, :8]
    assert (long[:, :4, 0] == 0).all() and (long[:, 4:, 0] == 1).all()  # two contours of four segments
    found = [traced(segments, discs, 5) for segments, discs in zip(short.drawn.segments, short.drawn.discs, strict=True)]
    assert found == short.drawn.labels.tolist()
    assert task.train.at(3).hash != short.hash == tasks.load("pathfinder", difficulty="intermediate", **FEW).train.at(4).hash
    assert not np.array_equal(task.valid.at(4).pixels[0], short.pixels[0])
    for length in (2, 10):
        with pytest.raises(ValueError, match=f"3 to 9 segments, got {length} segments of drawn images"):
            task.train.at(length)


def test_the_cache_gives_the_same_images_and_is_not_drawn_again(cache, monkeypatch):
    first = tasks.load("pathfinder", **FEW)
    monkeypatch.setattr(pathfinder, "draw", lambda *_: pytest.fail("drawn again"))
    again = tasks.load("pathfinder", **FEW)
    assert again.data_hash == first.data_hash and again.variant == first.variant and again.floors == first.floors
    assert (again.train.drawn.segments == first.train.drawn.segments).all()
    paths = sorted((cache / "pathfinder").iterdir())
    assert len(paths) == 3 and paths[1].stat().st_size < 21 * 1024  # packed
    paths[1].write_bytes(paths[1].read_bytes()[:3000])
    with pytest.raises(ValueError, match="damaged .* delete it"):
        tasks.load("pathfinder", **FEW)


def test_without_numba_the_error_names_the_extra_and_nothing_else_needs_it(tmp_path):
    code = ("import sys; sys.modules['numba'] = None\nfrom cffbook import tasks\ntasks.load('copying', blanks=3)\n"
            "tasks.load('pathfinder', train=1, valid=1, test=1)")  # fmt: skip
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: generating Pathfinder images needs the package 'numba'") and "cffbook[fast]" in last
