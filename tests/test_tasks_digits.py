"""Sequential MNIST: the files and their checks, the cache, the order of pixels; the real digits where they are."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import pytest

pytest.importorskip("numpy")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks.cache import Archive
from cffbook.tasks.mnist import canonical, prepare, read_idx

NAMES = {name: archive.name for name, archive in canonical().items()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    given = os.environ.get("CFFBOOK_DATA")
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CFFBOOK_DATA", raising=False)
    return given


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def arrays():
    source = np.random.default_rng(0)
    return {"x_train": source.integers(0, 256, (24, 28, 28), dtype=np.uint8), "y_train": np.arange(24, dtype=np.uint8) % 10,
            "x_test": source.integers(0, 256, (5, 28, 28), dtype=np.uint8), "y_test": np.array([3, 3, 1, 0, 9], np.uint8)}  # fmt: skip


@pytest.fixture
def files(arrays, tmp_path):
    """A folder with the four files in miniature, and what to know them by."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    known = {}
    for name, array in arrays.items():
        content = idx(array)
        (folder / NAMES[name]).write_bytes(content)
        address = (folder / NAMES[name]).as_uri()
        known[name] = Archive(address, len(content), hashlib.md5(content).hexdigest())
    return folder, known


@pytest.fixture
def prepared(arrays, tmp_path):
    np.savez(tmp_path / "mnist.npz", **arrays)
    return tmp_path / "mnist.npz"


def test_the_files_are_read_as_images_and_labels(files, arrays, tmp_path):
    folder, known = files
    for source in (folder, folder.parent):
        with np.load(prepare(source, known, tmp_path / "out")) as stored:
            assert all(np.array_equal(stored[name], array) for name, array in arrays.items())


def test_without_a_source_the_files_are_fetched_and_the_prepared_file_is_kept(files, tmp_path):
    folder, known = files
    path = prepare(None, known, tmp_path / "out")
    written = path.stat().st_mtime_ns
    for file in folder.iterdir():
        file.unlink()
    assert prepare(None, known, tmp_path / "out") == path and path.stat().st_mtime_ns == written


def test_a_folder_named_by_the_environment_is_looked_into(prepared, monkeypatch):
    monkeypatch.setenv("CFFBOOK_DATA", str(prepared.parent))
    assert tasks.load("mnist").sizes == {"train": 22, "valid": 2, "test": 5}


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"\0\0\x08"), gzip.compress(b"\0\0\x0d\x01\0\0\0\x01x"),
                                     gzip.compress(b"\0\0\x08\x01\0\0\0\x02x"), idx(np.zeros(9, np.uint8))[:-9]])  # fmt: skip
def test_a_damaged_file_is_refused(content, tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="fetch it again"):
        read_idx(path)


def test_other_bytes_and_other_shapes_are_refused(files, arrays, tmp_path):
    folder, known = files
    with pytest.raises(ValueError, match="bytes in .*fetch it again"):
        prepare(folder)  # not the canonical ones
    np.savez(tmp_path / "few.npz", **arrays | {"y_test": arrays["y_test"][:4]})
    with pytest.raises(ValueError, match="as many labels 0 to 9 for test"):
        prepare(tmp_path / "few.npz")
    with pytest.raises(FileNotFoundError, match="expected a folder with train-images"):
        prepare(tmp_path / "nowhere")
    assert not (tmp_path / "cache" / "mnist" / "digits.npz").exists()


def test_digits_are_read_in_rows_or_in_an_order_drawn_once(prepared, arrays):
    task, permuted, other = (tasks.load("mnist", source=prepared, **chosen) for chosen in
                             ({}, {"permuted": True}, {"permuted": True, "seed": 1}))
    batch, mixed = task.train.batch([3, 0]), permuted.train.batch([3, 0])
    assert batch.inputs.shape == (2, 784, 1) and batch.inputs.dtype == torch.float32
    expected = (arrays["x_train"][[3, 0]].reshape(2, 784) - 33.3) / 78.6
    assert np.allclose(batch.inputs[..., 0], expected, atol=1e-5)  # float32
    order = torch.argsort(permuted.train.batch([0]).inputs[0, :, 0], stable=True)
    assert order.tolist() != list(range(784)) and permuted.data_hash != other.data_hash != task.data_hash
    assert torch.equal(mixed.inputs.sort(1).values, batch.inputs.sort(1).values) and not torch.equal(mixed.inputs, batch.inputs)
    assert batch.targets.tolist() == mixed.targets.tolist() == [3, 0]
    assert (task.kind, task.features, task.classes, task.length) == ("classification", 1, 10, 784)
    assert task.floors["majority"] == pytest.approx(1 / 5)  # the 0 and 1 are the commonest training digits, one of five tests is 0


def test_small_digits_are_means_of_four_pixels(prepared, arrays):
    task = tasks.load("mnist", source=prepared, side=14)
    block = arrays["x_test"][0, 2:4, 4:6].astype(int)
    found = task.test.batch([0]).inputs[0, 1 * 14 + 2, 0] * 78.6 + 33.3
    assert found.item() == pytest.approx((block.sum() + 2) // 4, abs=1e-3)


@pytest.mark.parametrize("chosen", [{"side": 7}, {"seed": -1}, {"train": 23}, {"valid": 0}])
def test_an_option_out_of_range_is_refused(prepared, chosen):
    with pytest.raises(ValueError, match="expected"):
        tasks.load("mnist", source=prepared, **chosen)


def test_the_real_digits_have_the_mean_and_deviation_they_are_normalised_with(cache):
    folder = Path(cache or "") / "mnist"
    if not cache or not any((folder / name).is_file() for name in ("mnist.npz", NAMES["x_train"])):
        pytest.skip("no MNIST: CFFBOOK_DATA names no folder with mnist/mnist.npz or the four canonical files")
    task = tasks.load("mnist", source=cache)
    assert task.sizes == {"train": 55_000, "valid": 5_000, "test": 10_000}
    assert task.train.pixels.mean() == pytest.approx(task.train.mean, abs=0.05)
    assert task.train.pixels.std() == pytest.approx(task.train.deviation, abs=0.05)
    assert task.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(task.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert task.floors["majority"] == pytest.approx(0.1135)
