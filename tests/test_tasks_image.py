"""The image task: the archive and its checks, the download, the cache, and the two protocols."""

import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading

import pytest

pytest.importorskip("numpy")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks import cifar
from cffbook.tasks.cache import download
from cffbook.tasks.cifar import Archive, gray, prepare, read_archive

ROWS = 20
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CFFBOOK_DATA", raising=False)
    return tmp_path / "cache"


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote `str`, which is how the canonical archive was made."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, text):
        self.write(b"T" + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_bytes


def rows(name: str) -> tuple[np.ndarray, list[int]]:
    source = np.random.default_rng(NAMES.index(name))
    return source.integers(0, 256, (ROWS, 3072), dtype=np.uint8), source.integers(0, 10, ROWS).tolist()


def batch_file(name: str, python2: bool = True) -> bytes:
    data, labels = rows(name)
    content = {b"batch_label": name.encode(), b"labels": labels, b"data": data, b"filenames": [b"a.png"] * ROWS}
    if not python2:
        return pickle.dumps(content, protocol=2)
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def archive_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {"readme.html": b"a page", **members}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture(scope="module")
def content() -> bytes:
    return archive_bytes({name: batch_file(name) for name in NAMES})


def known(content: bytes, url: str = "http://localhost/cifar-10-python.tar.gz") -> Archive:
    return Archive(url, len(content), hashlib.md5(content).hexdigest())


@pytest.fixture
def prepared(content, tmp_path):
    """The cache filled from a miniature archive of 100 + 20 images."""
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(content)
    return prepare(path, known(content))


@pytest.fixture
def server():
    """A loopback server with Range; `cut` breaks the first answer off there, `ranges` False ignores Range."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.requests.append(wanted)
            first = int(wanted[6:-1]) if wanted and state.ranges else 0
            body = state.content[first:]
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut] if state.cut else body)
            state.cut = 0

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as state:
        state.content, state.cut, state.ranges, state.requests = b"", 0, True, []
        state.url = f"http://127.0.0.1:{state.server_port}/cifar-10-python.tar.gz"
        threading.Thread(target=state.serve_forever, args=(0.02,), daemon=True).start()
        yield state
        state.shutdown()


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def test_gray_is_luma_as_pil_computes_it():
    planes = rows("test_batch")[0]
    colours = planes.reshape(ROWS, 3, 32, 32).astype(float)
    luma = 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]
    assert np.abs(gray(planes) - luma).max() <= 0.5 + 1e-2  # rounded; 16-bit weights are off by less than 0.01
    image = pytest.importorskip("PIL.Image")
    for index, picture in enumerate(planes.reshape(ROWS, 3, 32, 32).transpose(0, 2, 3, 1)):
        assert (np.asarray(image.fromarray(np.ascontiguousarray(picture)).convert("L")) == gray(planes)[index]).all()


@pytest.mark.parametrize("python2", [True, False])
def test_the_archive_is_read_in_order_whichever_python_pickled_it(tmp_path, python2):
    path = tmp_path / "small.tar.gz"
    path.write_bytes(archive_bytes({name: batch_file(name, python2) for name in reversed(NAMES)}))
    found = read_archive(path)
    assert (found["x_train"] == np.concatenate([gray(rows(name)[0]) for name in NAMES[:5]])).all()
    assert found["y_train"].tolist() == sum((rows(name)[1] for name in NAMES[:5]), [])
    assert found["y_test"].tolist() == rows("test_batch")[1]


def test_splits_are_ninety_and_ten_percent_of_train_and_all_of_test(prepared):
    task = tasks.load("image")
    assert task.sizes == {"train": 90, "valid": 10, "test": 20}
    labels = sum((rows(name)[1] for name in NAMES[:5]), [])
    assert task.train.batch(range(90)).targets.tolist() + task.valid.batch(range(10)).targets.tolist() == labels
    most = np.bincount(labels[:90]).argmax()
    assert task.floors == {"majority": np.mean(np.array(rows("test_batch")[1]) == most)}


def test_a_pixel_is_a_token_row_by_row_in_the_arenas_protocol(prepared):
    task = tasks.load("image")
    batch = task.test.batch([3, 0])
    assert (task.vocabulary, task.features, task.length) == (256, None, 1024)
    assert batch.inputs.dtype == torch.int64 and batch.lengths.tolist() == [1024, 1024]
    assert torch.equal(batch.inputs, torch.from_numpy(gray(rows("test_batch")[0])[[3, 0]].reshape(2, -1)).long())


def test_a_pixel_is_a_normalised_number_in_the_other_protocol(prepared):
    task, tokens = tasks.load("image", protocol="s4"), tasks.load("image").test.batch([1]).inputs
    batch = task.test.batch([1])
    assert (task.vocabulary, task.features) == (None, 1) and batch.inputs.shape == (1, 1024, 1)
    expected = (tokens.double() / 255 - 122.6 / 255) / (61 / 255)
    assert torch.allclose(batch.inputs[..., 0].double(), expected, atol=1e-6)  # float32 rounding of numbers below 3
    assert task.test.hash != tasks.load("image").test.hash


def test_half_the_side_is_the_mean_of_four_pixels(prepared):
    small = tasks.load("image", side=16).test.batch([2]).inputs.reshape(16, 16).double()
    large = tasks.load("image").test.batch([2]).inputs.reshape(1, 1, 32, 32).double()
    mean = torch.nn.functional.avg_pool2d(large, 2)[0, 0]
    assert torch.equal(small, torch.floor(mean + 0.5))


def test_sizes_take_the_first_images_and_no_more_than_there_are(prepared):
    task = tasks.load("image", train=7, valid=3, test=2)
    assert task.sizes == {"train": 7, "valid": 3, "test": 2} and task.variant["sizes"] == [7, 3, 2]
    assert torch.equal(task.train.batch(range(7)).inputs, tasks.load("image").train.batch(range(7)).inputs)
    with pytest.raises(ValueError, match="expected valid to be at most 10, got 11"):
        tasks.load("image", valid=11)


def test_an_npz_fills_the_same_cache_and_gives_the_same_data(prepared, tmp_path, monkeypatch):
    first = tasks.load("image")
    arrays = dict(np.load(prepared))
    folder = tmp_path / "given" / "cifar10"
    folder.mkdir(parents=True)
    np.savez(folder / "cifar10_gray.npz", **{name: arrays[name] for name in cifar.ARRAYS})
    second = tasks.load("image", source=folder.parent)
    assert second.data_hash == first.data_hash and second.variant["source"].startswith("cifar10_gray.npz sha256 ")
    prepared.unlink()
    monkeypatch.setenv("CFFBOOK_DATA", str(folder.parent))
    assert tasks.load("image").variant == second.variant


def test_what_is_prepared_is_not_prepared_again(prepared, content, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "read_archive", lambda *_: pytest.fail("read again"))
    assert prepare() == prepared
    assert prepare(tmp_path / "cifar-10-python.tar.gz", known(content)) == prepared


def test_the_archive_is_downloaded_checked_and_prepared_without_a_source(server, content, cache):
    server.content = content
    prepare(archive=known(content, server.url))
    assert files(cache) == ["cifar-10-python.tar.gz", "gray.npz"]
    assert tasks.load("image").sizes["train"] == 90


def test_a_broken_download_goes_on_where_it_stopped(server, content, tmp_path):
    server.content, server.cut = content, 5000
    archive, path = known(content, server.url), tmp_path / "a.tar.gz"
    with pytest.raises(ConnectionError, match="call again|try again"):
        download(archive.url, path, archive.size, archive.md5)
    assert files(tmp_path) == ["a.tar.gz.part"] and (tmp_path / "a.tar.gz.part").stat().st_size == 5000
    download(archive.url, path, archive.size, archive.md5)
    assert server.requests == [None, "bytes=5000-"] and path.read_bytes() == content
    assert files(tmp_path) == ["a.tar.gz"]


def test_a_server_without_ranges_sends_everything_again(server, content, tmp_path):
    server.content, server.ranges = content, False
    (tmp_path / "a.part").write_bytes(b"other bytes")
    archive = known(content, server.url)
    assert download(archive.url, tmp_path / "a", archive.size, archive.md5).read_bytes() == content


@pytest.mark.parametrize(("change", "message"), [(b"!", "expected 1?[0-9]+ bytes"), (None, "expected the md5 sum")])
def test_a_download_with_a_wrong_size_or_checksum_leaves_nothing(server, content, cache, change, message):
    server.content = content + change if change else bytes([*content[:-1], content[-1] ^ 1])
    with pytest.raises(ValueError, match=message):
        prepare(archive=known(content, server.url))
    assert files(cache) == []


def test_an_unreachable_server_is_one_sentence(server, content, cache):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="could not fetch .*: try again, or fetch it by hand"):
        prepare(archive=known(content, server.url))
    assert files(cache) == []


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def broken(kind: str) -> bytes:
    members = {name: batch_file(name) for name in NAMES}
    if kind == "truncated":
        return archive_bytes(members)[:-20_000]
    if kind == "no archive":
        return b"<html>not found</html>"
    if kind == "missing":
        del members["data_batch_3"]
    if kind == "evil":
        members["test_batch"] = pickle.dumps({b"data": Evil(), b"labels": []})
    if kind == "no pickle":
        members["test_batch"] = b"text"
    if kind == "shape":
        members["test_batch"] = pickle.dumps({b"data": np.zeros((3, 3), np.uint8), b"labels": [1, 2, 3]})
    if kind == "label":
        members["test_batch"] = pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]})
    return archive_bytes(members)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "damaged"),
        ("no archive", "damaged"),
        ("missing", "data_batch_3 in .*missing"),
        ("evil", r"numpy arrays only, got \w+\.mkdir"),
        ("no pickle", "as test_batch in"),
        ("shape", r"uint8 data \(3, 3072\) as test_batch"),
        ("label", "labels 0 to 9 for test"),
    ],
)
def test_a_damaged_archive_is_one_sentence_and_leaves_the_cache_clean(tmp_path, cache, monkeypatch, kind, message):
    monkeypatch.chdir(tmp_path)
    content = broken(kind)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        prepare(tmp_path, known(content))
    assert "\n" not in str(error.value)
    assert files(cache) == [] and not (tmp_path / "evil").exists()


def test_a_given_archive_with_a_wrong_checksum_is_refused(tmp_path, content, cache):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match="expected 170498071 bytes"):
        tasks.load("image", source=tmp_path)
    with pytest.raises(FileNotFoundError, match="expected the archive or a folder"):
        tasks.load("image", source=tmp_path / "nowhere")
    assert files(cache) == []


def test_an_npz_that_lacks_an_array_or_is_damaged_is_refused(tmp_path, cache):
    path = tmp_path / "given.npz"
    np.savez(path, x_train=np.zeros((1, 32, 32), np.uint8))
    with pytest.raises(ValueError, match="y_train, x_test, y_test missing"):
        prepare(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        prepare(path)
    assert files(cache) == []
