"""ListOps from Long Range Arena's files: unpacked, in the release's archive, damaged."""

import io
import tarfile

import pytest

pytest.importorskip("numpy")

from cffbook import tasks
from cffbook.tasks import listops
from cffbook.tasks.listops_text import write_tsv

SMALL = {"minimum": 5, "maximum": 40, "max_args": 5, "train": 300, "valid": 50, "test": 70}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_task_is_read_from_a_folder_of_the_arenas_files(tmp_path):
    made = tasks.load("listops", **SMALL)
    for name, file in listops.FILES.items():
        write_tsv(tmp_path / file, getattr(made, name))
    read = tasks.load("listops", source=tmp_path)
    assert read.data_hash == made.data_hash and read.floors == made.floors
    with pytest.raises(ValueError, match="expected fewer than 20 tokens"):
        tasks.load("listops", source=tmp_path, maximum=20)
    few = tasks.load("listops", source=tmp_path, train=30, valid=9)
    assert few.sizes == {"train": 30, "valid": 9, "test": 70}
    assert few.train.example(29).tolist() == made.train.example(29).tolist()
    (tmp_path / "basic_val.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="basic_val.tsv missing"):
        tasks.load("listops", source=tmp_path)


def test_the_files_are_found_in_the_unpacked_release(tmp_path):
    made = tasks.load("listops", **SMALL)
    folder = tmp_path / "lra_release" / "lra_release" / "listops-1000"
    for name, file in listops.FILES.items():
        write_tsv(folder / file, getattr(made, name))
    for source in (tmp_path, tmp_path / "lra_release", folder):
        assert tasks.load("listops", source=source).data_hash == made.data_hash


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def members(tmp_path) -> dict[str, bytes]:
    """The three files as the release's archive holds them, after a copy one folder higher that is not to be read."""
    made, found = tasks.load("listops", **SMALL), {}
    for name, file in listops.FILES.items():
        write_tsv(tmp_path / "made" / file, getattr(made, name))
        found |= {f"lra_release/listops-1000/{file}": b"not this one",
                  f"lra_release/lra_release/listops-1000/{file}": (tmp_path / "made" / file).read_bytes()}  # fmt: skip
    return found


def test_the_releases_archive_holds_the_same_task_and_is_read_once(members, tmp_path, cache, monkeypatch):
    made, path = tasks.load("listops", **SMALL), tmp_path / "lra_release.gz"
    path.write_bytes(archive(members))
    first = tasks.load("listops", source=path)
    assert first.data_hash == made.data_hash and set(first.variant["source"]) == {"lra_release.gz"}
    monkeypatch.setattr(listops, "read_lines", lambda *_: pytest.fail("read again"))
    assert tasks.load("listops", source=tmp_path, train=30).sizes == {"train": 30, "valid": 50, "test": 70}
    with pytest.raises(ValueError, match="expected fewer than 20 tokens"):
        tasks.load("listops", source=path, maximum=20)
    path.write_bytes(archive(members) + b"x")  # another checksum
    with pytest.raises(pytest.fail.Exception, match="read again"):
        tasks.load("listops", source=path)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda held: archive(held)[:-1000], ValueError, "damaged one or another format|the file is cut short|every bracket closed"),
        (lambda held: b"<html>not found</html>", ValueError, "expected a whole archive at .* got a damaged one"),
        (lambda held: archive({name: text for name, text in held.items() if "val" not in name}), FileNotFoundError, "basic_val.tsv missing"),
        (lambda held: archive({name: text.replace(b"Source", b"Label") for name, text in held.items()}), ValueError,
         r"lra_release.gz, lra_release/lra_release/listops-1000/basic_\w+.tsv, line 1: expected the header"),
        (lambda held: archive({name: text.replace(b"\t", b"\t1\t") for name, text in held.items() if text[:3] != b"not"}), ValueError,
         "line 1: expected the header"),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_one_sentence_and_leaves_nothing(members, tmp_path, cache, damage, kind, message):
    before = sorted(cache.rglob("*"))
    (tmp_path / "lra_release.gz").write_bytes(damage(members))
    with pytest.raises(kind, match=message) as error:
        tasks.load("listops", source=tmp_path / "lra_release.gz")
    assert "\n" not in str(error.value) and sorted(cache.rglob("*")) == before


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a file or folder as source of ListOps, got .*nowhere"):
        tasks.load("listops", source=tmp_path / "nowhere")
