"""The arena's own Pathfinder files: miniature folders and archives of 23 images, whole and damaged."""

import io
import tarfile

import pytest

pytest.importorskip("numpy")
pytest.importorskip("numba")

from cffbook import tasks
from cffbook.tasks import pathfinder
from cffbook.tasks.pathfinder_draw import draw
from cffbook.tasks.pathfinder_shapes import design


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CFFBOOK_DATA", raising=False)
    return tmp_path / "cache"


NAME = "lra_release/lra_release/pathfinder32/curv_contour_length_14"


def release(damage: str = "none", variant: str = NAME) -> dict[str, bytes]:
    image = pytest.importorskip("PIL.Image")
    drawn, found = draw(design(32, "hard"), 9, "train", 23), {}
    for batch in (0, 1):
        lines = []
        for index in range(batch, 23, 2):
            stream = io.BytesIO()
            picture = drawn.images[index] if damage != "shape" or index else drawn.images[index][:16]
            image.fromarray(picture).save(stream, format="PNG")
            found[f"{variant}/imgs/{batch}/sample_{index}.png"] = stream.getvalue()
            lines.append(f"imgs/{batch} sample_{index}.png {index} {drawn.labels[index]} 1.0 14 4 2 0.5 1 1")
        found[f"{variant}/metadata/{batch}.npy"] = "\n".join(lines).encode() + b"\n"
    if damage == "line":
        found[f"{variant}/metadata/1.npy"] += b"imgs/1 sample_99"
    if damage == "label":
        found[f"{variant}/metadata/1.npy"] = b"imgs/1 sample_1.png 1 2 1.0 14 4 2 0.5 1 1\n"
    if damage == "binary":  # what its name promises
        found[f"{variant}/metadata/1.npy"] = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', }\n"
    if damage == "missing":
        del found[f"{variant}/imgs/1/sample_3.png"]
    if damage == "picture":
        found[f"{variant}/imgs/1/sample_3.png"] = found[f"{variant}/imgs/1/sample_3.png"][:150]
    if damage == "not png":
        found[f"{variant}/imgs/1/sample_3.png"] = b"<html>not found</html>"
    if damage == "empty":
        found[f"{variant}/imgs/1/sample_3.png"] = b""
    return found


def unpack(folder, content: dict[str, bytes]):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def packed(content: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def held(task) -> list[tuple[bytes, int]]:
    splits = [task.train, task.valid, task.test]
    return [(split.pixels[i].tobytes(), int(split.targets[i])) for split in splits for i in range(len(split))]


def test_the_release_is_read_from_folder_and_archive_and_split_by_the_seed(tmp_path):
    drawn = draw(design(32, "hard"), 9, "train", 23)
    other = {name.replace("lra_release/lra_release", "lra_release", 1): b"not the one that works" for name in release()}
    folder = unpack(tmp_path / "given", release())
    task = tasks.load("pathfinder", source=folder)
    assert task.sizes == {"train": 18, "valid": 2, "test": 3} and "generator" not in task.variant
    assert sorted(held(task)) == sorted((image.tobytes(), label) for image, label in zip(drawn.images, drawn.labels.tolist(), strict=True))
    (tmp_path / "lra_release.gz").write_bytes(packed(other | release()))
    for source in (tmp_path / "lra_release.gz", tmp_path):
        assert tasks.load("pathfinder", source=source).data_hash == task.data_hash
    for source in (folder / "lra_release", folder / "lra_release" / "lra_release"):
        assert tasks.load("pathfinder", source=source).data_hash == task.data_hash
    moved = tasks.load("pathfinder", source=folder, seed=1)
    assert held(moved) != held(task) and sorted(held(moved)) == sorted(held(task))
    assert tasks.load("pathfinder", source=folder, train=4).train.hash == pathfinder.Contours(
        task.train.pixels[:4], task.train.targets[:4], False).hash
    with pytest.raises(ValueError, match="got 3 segments of a release"):
        task.train.at(3)


def test_the_empty_image_of_the_release_is_skipped_by_its_name(tmp_path):
    variant = "pathfinder32/curv_baseline"
    content = release(variant=variant)
    content[f"{variant}/imgs/0/sample_172.png"] = b""
    content[f"{variant}/metadata/0.npy"] += b"imgs/0 sample_172.png 9 1 1.0 6 2 2 0.5 1 1\n"
    task = tasks.load("pathfinder", difficulty="easy", source=unpack(tmp_path, content))
    assert sum(task.sizes.values()) == 23


def test_of_two_folders_with_images_of_128_pixels_the_inner_one_is_read(tmp_path):
    """The release has another pathfinder128 one folder higher, whose labels cannot be learned (issue 38 of its repository)."""
    image, found = pytest.importorskip("PIL.Image"), {}
    for place, value in (("lra_release", 9), ("lra_release/lra_release", 200)):
        folder, lines = f"{place}/pathfinder128/curv_contour_length_14", []
        for index in range(10):
            stream = io.BytesIO()
            image.new("L", (128, 128), value).save(stream, format="PNG")
            found[f"{folder}/imgs/7/sample_{index}.png"] = stream.getvalue()
            lines.append(f"imgs/7 sample_{index}.png {index} {index % 2} 1.8 14 4 5 1.5 2 1")
        found[f"{folder}/metadata/7.npy"] = "\n".join(lines).encode() + b"\n"
    folder = unpack(tmp_path / "given", found)
    for source in (folder, folder / "lra_release", folder / "lra_release" / "lra_release"):
        task = tasks.load("pathx", source=source)
        assert task.sizes == {"train": 8, "valid": 1, "test": 1} and task.length == 16_384
        assert (task.train.pixels == 200).all() and (task.test.pixels == 200).all()
    (tmp_path / "lra_release.gz").write_bytes(packed(found))
    assert tasks.load("pathx", source=tmp_path).data_hash == task.data_hash


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        ("line", ValueError, "metadata/1.npy, line 12: expected folder, file, number, label"),
        ("label", ValueError, "metadata/1.npy, line 1: expected folder, file, number, label 0 or 1, ..., got 'imgs/1 sample_1.png 1 2 1.0"),
        ("binary", ValueError, "metadata/1.npy, line 1: expected folder, file, number, label"),
        ("missing", FileNotFoundError, "imgs/1/sample_3.png in .* which the metadata lists; it is missing"),
        ("picture", ValueError, "expected a whole PNG image as .*imgs/1/sample_3.png"),
        ("not png", ValueError, "expected a whole PNG image as .*imgs/1/sample_3.png"),
        ("empty", ValueError, "expected a whole PNG image as .*imgs/1/sample_3.png"),
        ("shape", ValueError, "expected 32 x 32 pixels in .*sample_0.png, got 16 x 32"),
    ],
)
def test_a_damaged_release_is_one_sentence_and_leaves_the_cache_clean(tmp_path, cache, damage, kind, message):
    folder = unpack(tmp_path / "given", release(damage))
    with pytest.raises(kind, match=message) as error:
        tasks.load("pathfinder", source=folder)
    assert "\n" not in str(error.value) and files(cache) == []


def test_a_truncated_archive_and_a_missing_variant_are_one_sentence(tmp_path, cache):
    (tmp_path / "lra_release.gz").write_bytes(packed(release())[:-4000])
    with pytest.raises(ValueError, match="damaged one or another format"):
        tasks.load("pathfinder", source=tmp_path)
    (tmp_path / "lra_release.gz").write_bytes(packed(release()))
    with pytest.raises(FileNotFoundError, match="expected pathfinder64/curv_baseline/metadata"):
        tasks.load("pathfinder", source=tmp_path, resolution=64, difficulty="easy")
    (tmp_path / "lra_release.gz").unlink()
    with pytest.raises(FileNotFoundError, match="expected pathfinder32/curv_contour_length_14 or lra_release.gz"):
        tasks.load("pathfinder", source=tmp_path)
    assert files(cache) == []
