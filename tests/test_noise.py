"""Bit errors under noise and faults: none without, half of the bits with very much, the same numbers from the same seed."""

import pytest
import torch

from cffbook import FlipFlop, SemiImplicitEuler, analysis, noise, unroll
from cffbook.noise import PIECE, bit_errors, faulty


def cell(pairs, polarity=-1):
    return FlipFlop(pairs, self_polarity=polarity, solver=SemiImplicitEuler(2))


def test_without_noise_a_latch_loses_nothing_and_with_very_much_it_guesses():
    assert not bit_errors(cell(4), 0.0, [1, 10, 300]).any()
    wrong = bit_errors(cell(600), 5.0, [200], bits=torch.arange(600) % 2)
    assert abs(wrong.double().mean() - 0.5) < 4 * 0.5 / 600**0.5


def test_more_noise_and_longer_holds_lose_more():
    levels = torch.tensor([0.1, 0.25]).repeat_interleave(200)
    wrong = bit_errors(cell(400), levels, [2, 200]).unflatten(1, (2, 200)).double().mean(-1)
    assert wrong[1, 1] > wrong[1, 0] and wrong[1, 1] > wrong[0, 1]


def test_noise_is_cut_into_pieces_and_follows_its_seed():
    hold = PIECE + 3
    one = bit_errors(cell(3), 0.35, [hold], seed=1)
    assert torch.equal(one, bit_errors(cell(3), 0.35, [hold], seed=1)) and one.shape == (1, 3)
    with pytest.raises(ValueError, match="rising hold times"):
        bit_errors(cell(3), 0.1, [10, 5])
    with pytest.raises(ValueError, match="set and reset lines, got .* 'shared'"):
        bit_errors(FlipFlop(2, scheme="shared"), 0.1, [10])


@pytest.mark.parametrize("unfolds", [1, 2])
def test_without_noise_what_repeats_itself_is_right_to_the_sample(unfolds):
    """With one unfold a sample pairs swing in lock-step, and in some the bit with them."""
    swinging = faulty(FlipFlop(300, solver=SemiImplicitEuler(unfolds)), 0.2)
    bits, holds = torch.arange(300) % 2, [PIECE - 1, PIECE, PIECE + 1, 6 * PIECE + 6, 6 * PIECE + 7, 6 * PIECE + 8]
    path, _ = unroll(swinging, torch.zeros(1, holds[-1], 300, 2), swinging.held(bits)[None])
    wrong = swinging.read(path)[0, torch.tensor(holds) - 1] != bits.bool()
    assert torch.equal(bit_errors(swinging, 0.0, holds, bits), wrong)
    assert (unfolds == 2 or not torch.equal(wrong[-1], wrong[-2])) and wrong[-1].any() and not wrong[-1].all()


def test_a_million_samples_without_noise_are_not_all_run(monkeypatch):
    run = []
    monkeypatch.setattr(noise, "unroll", lambda cell, lines, start: run.append(lines.shape[1]) or unroll(cell, lines, start))
    bit_errors(cell(20), 0.0, [10, 1_000_000])
    assert sum(run) < 10_000


@pytest.mark.parametrize("polarity", [-1, 0, 1])
def test_a_fault_changes_every_parameter_by_its_share_at_most_and_keeps_signs(polarity):
    right, wrong = cell(50, polarity), faulty(cell(50, polarity), 0.2)
    for name in right.parameter_names():
        ratio = wrong.value(name) / right.value(name)
        assert 0.8 - 1e-5 <= ratio.min() < 0.85 and 1.15 < ratio.max() <= 1.2 + 1e-5
    assert torch.allclose(faulty(cell(2), 0.0).value("capacitance"), right.value("capacitance")[:2])
    assert analysis.latch(analysis.frozen(faulty(cell(5), 0.0))).margin.min() > 0
    with pytest.raises(ValueError, match="share in"):
        faulty(cell(1), 1.0)
