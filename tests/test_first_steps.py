"""What a newcomer is told to type, in the readme and on the first page, runs as it stands and prints what stands beside it."""

import contextlib
import io
import re
import textwrap
from pathlib import Path

import pytest
import torch

from cffbook import FlipFlop, unroll

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "book/index.md"])
def test_the_code_of_a_first_page_runs_and_prints_what_stands_beside_it(name):
    blocks = [textwrap.dedent(code) for _, code in BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in blocks:
            exec(compile(code, name, "exec"), {"__name__": "first_steps"})
    promised = [line for code in blocks for line in PRINTED.findall(code)]
    assert len(blocks) >= 2 and promised == printed.getvalue().splitlines() == ["tensor([True])"]


def test_the_three_lines_hold_the_other_bit_too():
    lines = torch.zeros(1, 1000, 1, 2)
    lines[0, :2, 0, 1] = 1
    assert not FlipFlop.read(unroll(FlipFlop(1), lines)[0])[0, 2:].any()
