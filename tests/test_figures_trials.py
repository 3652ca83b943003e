"""The search's figures: a step is one setting and nothing else, its sign is that of the larger value, and nothing is compared across data."""

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from dataclasses import replace

from cffbook.figures import trials
from cffbook.results import Record
from cffbook.training import Evaluation


def trial(loss=1.0, row="memory", mixer="memory", seed=0, drawn=1, steps=1000, valid=1_000, **options) -> Record:
    """A run on ListOps that ends with this validation loss."""
    settings = {"task": "listops", "row": row, "mixer": mixer, "seed": seed, "tier": "cpu", "pooling": "first",
                "recipe": {"steps": steps, "learning_rate": options.pop("learning_rate", 3e-3)}, "body": {"d_model": 64, "standardise": options.pop("standardise", False)},
                "task_options": {"seed": drawn, "valid": valid}, "mixer_options": {"slowest": 100.0, "tile": 0, "sensory": "plain", **options}}  # fmt: skip
    look = Evaluation(step=steps, epoch=1.0, train_loss=loss, train_score=0.4, valid_loss=loss, valid_score=0.5, learning_rate=0.0, seconds=1.0)
    task = {"name": "listops", "variant": {"minimum": 500, "maximum": 2000, "seed": drawn}, "data_hash": f"{drawn} {valid}", "sizes": {"valid": valid}}
    return Record(name="trial", settings=settings, seed=seed, tier="cpu", task=task, parameters={"total": 1, "without_embeddings": 1, "mixer": 1},
                  evaluations=(look,), best=0, valid_score=0.5, test_score=0.5, test_loss=loss, steps=steps, samples=1, stopped="steps", seconds=1.0,
                  samples_per_second=1.0, peak_memory=None, device="cpu", processes=1, machine={}, versions={}, git=None, sources=("a",),
                  started="2026-01-01T00:00:00+00:00")  # fmt: skip


def told(found):
    return [(step.setting, step.before, step.after, round(step.difference, 6)) for step in found]


def test_a_step_is_one_setting_from_its_smaller_value_to_its_larger_one_whatever_the_order_of_the_runs():
    slow, fast = trial(1.0, slowest=1000.0), trial(1.2)
    assert told(trials.steps([slow, fast])) == told(trials.steps([fast, slow])) == [("slowest", 100.0, 1000.0, -0.2)]
    assert told(trials.steps([trial(1.0, standardise=True), trial(1.5)])) == [("standardise", False, True, -0.5)]
    assert told(trials.steps([trial(1.0, sensory="steered"), trial(1.5)])) == [("sensory", "plain", "steered", -0.5)]
    assert told(trials.steps([trial(1.0, length=7), trial(1.5, length=None)])) == [("length", None, 7, -0.5)]


def test_runs_that_differ_in_two_settings_or_in_their_data_or_mixer_make_no_step():
    assert trials.steps([trial(), trial(slowest=10.0, tile=8)]) == []
    assert trials.steps([trial(), trial(drawn=2)]) == [] == trials.steps([trial(), trial(valid=500)])
    assert trials.steps([trial(), trial(row="lstm", mixer="lstm")]) == []


def test_the_name_of_a_row_is_no_setting_and_a_seed_is_told_apart():
    assert told(trials.steps([trial(1.0), trial(0.9, row="memory_both", tile=8)])) == [("tile", 0, 8, -0.1)]
    assert told(trials.steps([trial(1.0, seed=1), trial(0.9)])) == [(trials.SEED, 0, 1, 0.1)]


def test_records_are_chosen_by_their_settings_and_the_seed_of_the_data_is_not_that_of_the_run():
    records = [trial(seed=0, drawn=1), trial(seed=1, drawn=1), trial(seed=1, drawn=2, tile=8)]
    assert trials.where(records, seed=1) == records[1:] and trials.where(records, data_seed=1) == records[:2]
    assert trials.where(records, tile=[0, 8], data_seed=2) == records[2:] and trials.where(records, tile=16) == []
    assert trials.where([replace(records[0], settings=records[0].settings | {"task_options": {}})], data_seed=0)
    assert trials.loss([trial(1.0), trial(2.0)]) == 1.5 and trials.loss([]) != trials.loss([])


def test_a_series_holds_runs_alike_in_all_but_one_setting_in_the_order_of_its_values():
    records = [trial(0.8, slowest=1000.0), trial(1.0), trial(0.9, slowest=300.0), trial(0.5, slowest=10.0, tile=8)]
    (found,) = trials.series(records, "slowest")
    assert list(found) == [100.0, 300.0, 1000.0] and list(found.values()) == [records[1], records[2], records[0]]
    (line,) = (trace for trace in trials.loss_over_setting(records, "slowest", "samples").data if trace.x[0] is not None)
    assert list(line.x) == [100.0, 300.0, 1000.0] and list(line.y) == [0.0, -0.1, -0.2]


def test_the_figure_of_effects_has_chance_at_the_top_and_leaves_lonely_settings_out():
    records = [trial(1.0), trial(0.7, seed=1), trial(0.9, slowest=300.0), trial(0.8, slowest=1000.0), trial(0.95, tile=8)]
    figure = trials.effects(records, least=1)
    assert list(figure.layout.yaxis.categoryarray) == ["tile", "slowest", trials.SEED]
    assert [list(trace.x) for trace in figure.data if trace.y == ("slowest",)] == [[-0.1], [-0.2], [-0.1]]
    assert list(trials.effects(records).layout.yaxis.categoryarray) == ["slowest"]
    assert "no pair of runs yet" in [note.text for note in trials.effects([]).layout.annotations]


def test_tables_say_what_differs_from_their_first_line_which_is_the_tabled_run_where_there_is_one():
    tried = [trial(0.9, slowest=300.0), trial(0.8, slowest=300.0, tile=8), trial(0.7, steps=500)]
    found = trials.tables(tried, [trial(1.0), trial(1.0, drawn=2)])
    longer, shorter = found.values()
    assert [line[0] for line in longer.rows] == ["as in the tables", "slowest 300.0", "slowest 300.0, tile 8"]
    assert [line[3] for line in longer.rows] == ["—", "-0.100", "-0.200"]
    assert [line[0] for line in shorter.rows] == ["first of its kind"]
    assert list(found) == ["ListOps, 500 to 2000 tokens, drawn from seed 1: `memory` of width 64, 1,000 updates",
                           "ListOps, 500 to 2000 tokens, drawn from seed 1: `memory` of width 64, 500 updates"]  # fmt: skip


def test_pairs_have_both_losses_and_stand_by_their_setting():
    first, second = trials.pairs(trials.steps([trial(1.0), trial(0.9, tile=8), trial(0.8, slowest=300.0)])).rows
    assert first[3] == "`slowest` 100.0 to 300.0"
    assert second == ("ListOps", "`memory`", "1,000", "`tile` 0 to 8", "1.000", "0.900", "-0.100")
