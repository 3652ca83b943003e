"""What is drawn stands out from the page, white or black, and from what it crosses."""

import pytest

pytest.importorskip("plotly")

from cffbook.figures import evaluation, flipflop, gradients, latch, memory, speed, tracking, transformer, trials

GROUNDS = {"light": "#ffffff", "dark": "#121212"}  # of the theme
PALETTES = {
    "evaluation": [colour for colour, _ in evaluation.STYLES.values()],
    "flipflop": [flipflop.A, flipflop.B, flipflop.NEUTRAL, flipflop.EXCITATORY, flipflop.INHIBITORY],
    "gradients": gradients.COLOURS,
    "latch": [latch.A, latch.B, latch.NEUTRAL, latch.GREEN],
    "memory": memory.LINES,
    "speed": [colour for _, colour, _, _ in speed.STYLES.values()],
    "tracking": tracking.COLOURS,
    "transformer": transformer.LINES,
    "trials": list(trials.COLOURS.values()),
}


def channels(colour: str) -> list[float]:
    return [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def luminance(parts: list[float]) -> float:
    """Of sRGB channels, as WCAG 2 has it."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: list[float], other: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", PALETTES)
def test_every_curve_can_be_seen_on_white_and_on_black(name: str) -> None:
    lost = [(colour, theme) for colour in PALETTES[name] for theme, least in (("light", 2.0), ("dark", 3.0))
            if contrast(channels(colour), channels(GROUNDS[theme])) < least]  # fmt: skip
    assert PALETTES[name] and lost == []


@pytest.mark.parametrize("theme", GROUNDS)
def test_nullclines_stand_out_from_the_basins_that_they_cross(theme: str) -> None:
    for basin in (flipflop.A, flipflop.B):
        shaded = [flipflop.SHADE * top + (1 - flipflop.SHADE) * under for top, under in zip(channels(basin), channels(GROUNDS[theme]), strict=True)]
        assert min(contrast(channels(curve), shaded) for curve in (flipflop.A, flipflop.B)) > 3
