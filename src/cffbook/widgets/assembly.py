"""The front ends as text: one ES module for a notebook, one classic script and a holder for a page without a kernel.

The files of static/ are ES modules that import each other. A page opened as a file may not import modules, and a notebook takes one
module as a string, so they are put one after another, each after those that it imports, without their import and export words.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

STATIC = Path(__file__).parent / "static"
HOLDER = "cffbook-widget"
MIME = "application/vnd.cffbook.widget+json"  # of an output that holds {"widget": kind, "traits": their JSON}
VIEWS = {"flip_flop": ("flipflop.js", "renderFlipFlop"), "memory": ("memory.js", "renderMemory"), "training": ("training.js", "renderTraining")}  # the file of each kind, and the function that draws it
PURE = ("makeCircuit", "run", "makePlane", "latchMargin", "rateGrid", "fixedPoints", "layerCircuit", "layerLines", "answersAt")  # what the page's own scripts may call, as `cffbook.run`

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|function|class)", re.MULTILINE)


def module(kind: str) -> str:
    """The front end of one kind as an ES module for anywidget.

    Raises:
        ValueError: an unknown kind.
    """
    name, render = VIEWS[check_kind(kind)]
    return f"{_joined([name])}\nexport default {{ render: {render} }};\n"


def script() -> str:
    """All front ends as one classic script, which fills the holders of the page that loads it."""
    views = ", ".join(f"{kind}: {render}" for kind, (_, render) in VIEWS.items())
    files = [name for name, _ in VIEWS.values()] + ["page.js"]
    return f'(() => {{\n"use strict";\n{_joined(files)}\nwindow.cffbook = {{ {", ".join(PURE)} }};\nwhenRead(() => fillPage({{ {views} }}));\n}})();\n'


def style() -> str:
    """The style sheet of all front ends."""
    return (STATIC / "widgets.css").read_text(encoding="utf-8")


def holder(kind: str, traits: Mapping[str, object]) -> str:
    """HTML that `script` fills: one widget with these traits.

    Raises:
        ValueError: an unknown kind.
    """
    # "</" would end the script element, "<!--" would hide its end
    text = json.dumps(traits, separators=(",", ":")).replace("<", "\\u003c")
    return f'<div class="{HOLDER}" data-widget="{check_kind(kind)}"><script type="application/json">{text}</script></div>'


def with_page(bundle: object, kind: str, traits: Mapping[str, object]) -> tuple[dict, dict]:
    """An output's MIME bundle, and beside its view the widget for a page without a kernel."""
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
    # as text: a notebook would give every number of a list a line of its own
    return {**data, MIME: {"widget": check_kind(kind), "traits": json.dumps(traits, separators=(",", ":"))}}, metadata


def check_kind(kind: str) -> str:
    """The kind, if there is a front end for it."""
    if kind not in VIEWS:
        raise ValueError(f"unknown kind of widget {kind!r}: choose one of {', '.join(VIEWS)}")
    return kind


def _joined(names: list[str]) -> str:
    bodies: dict[str, str] = {}

    def add(name: str) -> None:
        if name in bodies:
            return
        text = (STATIC / name).read_text(encoding="utf-8")
        for imported in _IMPORT.findall(text):
            add(imported)
        bodies[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    for name in names:
        add(name)
    return "\n".join(bodies.values())
