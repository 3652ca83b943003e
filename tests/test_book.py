"""The book builds without a warning, reads without a network, and never shows an output of an older source or record."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book")

import yaml
from bs4 import BeautifulSoup
from jupyter_book.config import PATH_YAML_DEFAULT, validate_yaml

from cffbook.sphinx_ext import in_page, inputs, layout, offline
from cffbook.widgets import assembly
from conftest import build_book

pytestmark = [pytest.mark.book]

EXECUTED = "Executed notebook in"
ADDED_KEYS = {"bibtex_bibfiles"}  # known to jupyter-book, absent from its defaults
ADDED_LATEX_KEYS = {"latex_documents"}  # known to Sphinx
ADDED_EXECUTE_KEYS = {"raise_on_error", "show_tb", "eval_regex"}


def page_files(pages: Path) -> list[Path]:
    return [*sorted(pages.glob("*.html")), *sorted((pages / "notebooks").glob("*.html"))]


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.slow
def test_the_strict_build_has_no_warning(strict_build: subprocess.CompletedProcess) -> None:
    assert strict_build.returncode == 0, strict_build.stderr[-5000:] + strict_build.stdout[-2000:]


@pytest.mark.slow
def test_every_page_of_the_contents_is_built(pages: Path, root: Path) -> None:
    contents = yaml.safe_load((root / "_toc.yml").read_text())
    chapters = [chapter for part in contents["parts"] for chapter in part["chapters"]]
    names = [contents["root"], *(entry["file"] for chapter in chapters for entry in [chapter, *chapter.get("sections", ())])]
    assert [name for name in names if not (pages / f"{name}.html").is_file()] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(pages: Path) -> None:
    wrong = []
    for path in page_files(pages):
        for tag, key in (("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")):
            for element in soup(path).find_all(tag):
                address = element.get(key) or ""
                if re.match(r"(https?:)?//", address) and element.get("rel") not in (["canonical"], ["license"]):
                    wrong.append(f"{path.name}: {address}")
    assert wrong == []


@pytest.mark.slow
def test_every_link_within_the_book_leads_to_a_page_and_a_place_that_are_there(pages: Path) -> None:
    assert broken_links(pages) == []


@pytest.mark.slow
def test_every_page_can_be_downloaded_and_every_notebook_as_a_notebook(pages: Path, root: Path) -> None:
    for path in page_files(pages):
        offered = [(path.parent / link["href"]).resolve() for link in soup(path).select("a.btn-download-source-button")]
        assert all(file.is_file() for file in offered), path.name
        source = next((root / folder / f"{path.stem}.ipynb" for folder in ("book", "notebooks") if (root / folder / f"{path.stem}.ipynb").is_file()), None)
        if source is not None:
            assert [file.read_bytes() for file in offered] == [source.read_bytes()], f"{path.name}: no notebook to download"
    # no button leads to a hub that has no repository to start from
    assert [path.name for path in page_files(pages) if soup(path).select(".dropdown-launch-buttons")] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text('<p id="here"><a href="#here"></a><a href="two.html#a%20b"></a><a href="https://x.org/#y"></a><a href="two.html#c"></a></p>')
    (tmp_path / "two.html").write_text('<p id="a b"><a href="three.html"></a><a href="#"></a></p>')
    assert broken_links(tmp_path) == ["one.html: two.html#c", "two.html: three.html"]


def broken_links(folder: Path) -> list[str]:
    """Links of pages to files or anchors that are not there."""
    read = {path.resolve(): soup(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}
    anchors = {path: {tag.get("id") or tag.get("name") for tag in page.find_all(lambda tag: tag.get("id") or tag.get("name"))} for path, page in read.items()}
    broken = []
    for path, page in read.items():
        for link in page.select("a[href]"):
            parts = urllib.parse.urlsplit(link["href"])
            if parts.scheme or parts.netloc or link["href"] == "#":
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (parts.fragment and target in anchors and urllib.parse.unquote(parts.fragment) not in anchors[target]):
                broken.append(f"{path.relative_to(folder.resolve())}: {link['href']}")
    return broken


@pytest.mark.slow
def test_no_raw_tex_or_unread_markup_is_left(pages: Path) -> None:
    wrong = []
    for path in page_files(pages):
        article = soup(path).find("article")
        if article is None:
            continue
        for element in article.find_all(["script", "style", "pre", "code"]) + article.select(".math, .cffbook-figure"):
            element.decompose()
        text = article.get_text(" ")
        wrong += [f"{path.name}: {hit}" for hit in re.findall(r"\$[^$\n]{1,40}\$|\\[a-zA-Z]+\{[^\n]{0,30}|\{\w+\}`[^`]*`|:::\S*", text)]
    assert wrong == []


@pytest.mark.slow
def test_every_plotly_output_is_a_figure_of_its_page(pages: Path, root: Path) -> None:
    drawn = 0
    for path in [*(root / "book").glob("*.ipynb"), *(root / "notebooks").glob("*.ipynb")]:
        page = (pages if path.parent.name == "book" else pages / "notebooks") / f"{path.stem}.html"
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        shown = [cell for cell in cells if not {"remove-output", "remove-cell"} & set(cell["metadata"].get("tags", ()))]
        outputs = [output for cell in shown for output in cell["outputs"] if offline.MIME in output.get("data", {})]
        read = soup(page)
        holders = read.select(f".{offline.HOLDER} > script")
        untold = sum(output.get_text().startswith("Not drawn:") for output in read.select(".cell_output pre"))  # data is not here
        assert len(holders) + untold >= len(outputs), f"{path.name}: a figure is missing in its page"
        assert all(json.loads(holder.string)["data"] for holder in holders)
        drawn += len(holders)
    assert drawn, "the book has no figure"


def test_every_key_of_the_configuration_is_known(root: Path) -> None:
    ours, known = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (root / "_config.yml", PATH_YAML_DEFAULT))
    validate_yaml(ours, raise_on_errors=True)
    assert set(ours) <= set(known) | ADDED_KEYS
    assert set(ours["execute"]) <= set(known["execute"]) | ADDED_EXECUTE_KEYS
    for section in ("parse", "html", "latex", "sphinx", "repository", "launch_buttons"):
        assert set(ours[section] or {}) <= set(known[section]) | (ADDED_LATEX_KEYS if section == "latex" else set()), section


def test_vendored_scripts_are_what_they_were(root: Path) -> None:
    folder = root / "book" / "_vendor"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_a_figure_cannot_end_its_script_element() -> None:
    class Data:
        mime_type = offline.MIME
        content = {"data": [{"name": "</script><!--"}], "layout": {"height": 300}, "config": {"plotlyServerURL": "x"}}

    html = offline.PlotlyRenderer.handle_mime(None, Data, False)[0].astext()
    held = BeautifulSoup(html, "html.parser").select_one(f".{offline.HOLDER} > script").string
    assert json.loads(held) == {key: Data.content[key] for key in ("data", "layout")}
    assert "min-height:300px" in html
    assert offline.PlotlyRenderer.handle_mime(None, Data, True) is None


def test_a_widget_of_a_cell_is_its_holder_in_the_page() -> None:
    class Data:
        mime_type = assembly.MIME
        content = {"widget": "flip_flop", "traits": json.dumps({"elapsed": 2.0, "name": "</script>"})}

    html = in_page.WidgetRenderer.handle_mime(None, Data, False)[0].astext()
    holder = BeautifulSoup(html, "html.parser").select_one(f".{assembly.HOLDER}")
    assert holder["data-widget"] == "flip_flop" and json.loads(holder.script.string) == {"elapsed": 2.0, "name": "</script>"}
    assert in_page.WidgetRenderer.handle_mime(None, Data, True) is None


@pytest.mark.slow
def test_a_page_without_cells_holds_a_widget_and_says_what_is_wrong_with_one(small: Path) -> None:
    (small / "book" / "index.md").write_text('# Start\n\n```{in-page} flip_flop\n{"elapsed": 2.0}\n```\n\n```{in-page} lamp\n```\n\n```{in-page} flip_flop\n{"colour": 1}\n```\n')
    log = build_book(small).stderr
    page = soup(small / "_build" / "html" / "index.html")
    (holder,) = page.select(f".{assembly.HOLDER}")
    traits = json.loads(holder.script.string)
    assert traits["elapsed"] == 2.0 and len(traits["values"]) == 17
    assert any("in_page.js" in script.get("src", "") for script in page.select("script"))
    assert "unknown kind of widget 'lamp': choose one of flip_flop" in log and "unknown trait 'colour': flip_flop has values" in log


def test_notebooks_are_copied_when_they_changed_and_only_then(tmp_path: Path) -> None:
    source, target = tmp_path / "notebooks", tmp_path / "book" / "notebooks"
    source.mkdir()
    target.parent.mkdir()
    (source / "a.ipynb").write_text("1")
    layout.mirror(source, target)
    os.utime(target / "a.ipynb", (1, 1))
    (target / "gone.ipynb").write_text("")
    layout.mirror(source, target)
    assert [path.name for path in target.iterdir()] == ["a.ipynb"]
    assert (target / "a.ipynb").stat().st_mtime == 1
    (source / "a.ipynb").write_text("2")
    layout.mirror(source, target)
    assert (target / "a.ipynb").read_text() == "2"


def test_the_stamp_sees_contents_and_names_and_not_caches(tmp_path: Path) -> None:
    seen = [inputs.digest(tmp_path)]
    for name, text in (("src/a.py", "1"), ("src/a.py", "2"), ("results/r/a.json", "2"), ("results/r/b.json", "2"), ("requirements.txt", "")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        seen.append(inputs.digest(tmp_path))
    assert len(set(seen)) == len(seen)
    for name in ("src/__pycache__/a.pyc", "src/cffbook.egg-info/x", "notebooks/a.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert inputs.digest(tmp_path) == seen[-1]


CELLS = """import json, pathlib, cffbook
print("record", json.loads(pathlib.Path("../results/value.json").read_text()), "source", cffbook.__version__)"""


@pytest.fixture
def small(root: Path, tmp_path: Path) -> Path:
    """A book of one page that shows a record and a name of the package, with the real configuration."""
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    (tmp_path / "book" / "_vendor").mkdir(parents=True)
    shutil.copyfile(root / "_config.yml", tmp_path / "_config.yml")
    for name in ("_toc.yml", "favicon.svg"):
        shutil.copyfile(root / "book" / name, tmp_path / "book" / name)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: one\n")
    (tmp_path / "book" / "index.md").write_text("# Start\n")
    (tmp_path / "book" / "references.bib").write_text("")
    write_cell(tmp_path, CELLS)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "value.json").write_text("111")
    return tmp_path


def write_cell(top: Path, code: str) -> None:
    title = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": ["# One"]}
    cell = {"cell_type": "code", "execution_count": None, "id": "c", "metadata": {}, "outputs": [], "source": code}
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (top / "book" / "one.ipynb").write_text(json.dumps({"cells": [title, cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))


def built(top: Path) -> tuple[bool, str]:
    """Whether a build without flags executed the page, and what the page shows."""
    result = build_book(top)
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-1000:]
    return EXECUTED in result.stdout + result.stderr, soup(top / "_build" / "html" / "one.html").select_one(".output").get_text().strip()


@pytest.mark.slow
def test_a_change_in_a_record_or_in_the_source_executes_again_and_nothing_else_does(small: Path) -> None:
    from cffbook import __version__

    assert built(small) == (True, f"record 111 source {__version__}")
    assert built(small) == (False, f"record 111 source {__version__}")
    (small / "results" / "value.json").write_text("222")
    assert built(small) == (True, f"record 222 source {__version__}")
    package = small / "src" / "cffbook" / "__init__.py"
    package.write_text(package.read_text().replace(f'"{__version__}"', '"9.9.9"'))
    assert built(small) == (True, "record 222 source 9.9.9")
    assert built(small) == (False, "record 222 source 9.9.9")


@pytest.mark.slow
def test_a_failing_chapter_fails_the_build(small: Path) -> None:
    write_cell(small, "assert 1 == 2")
    result = build_book(small)
    assert result.returncode != 0 and "AssertionError" in result.stdout + result.stderr
