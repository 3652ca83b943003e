"""Records survive being written and read, and tables never mix what must not be mixed."""

import dataclasses
import json

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from cffbook.results import DASH, Record, load_records, read_record, table
from cffbook.training import Evaluation

LOOK = Evaluation(step=10, epoch=0.5, train_loss=1.0, train_score=0.4, valid_loss=1.1, valid_score=0.3, learning_rate=0.003,
                  seconds=2.5)


def record(seed=0, task="listops", row="memory", test=0.25, variant=None, tier="cpu", score_name="accuracy", **settings):
    return Record(
        name=f"{task}-{row}-{seed}", settings={"task": task, "row": row, "seed": seed, "tier": tier, "steps": 10, "batch": 4,
                                               "minutes": None, "patience": None, "eval_every": 5, **settings},
        seed=seed, tier=tier,
        task={"name": task, "variant": variant or {"maximum": 500}, "data_hash": f"{task}{variant}", "score_name": score_name},
        parameters={"total": 26338, "without_embeddings": 20000, "mixer": 5000}, evaluations=(LOOK,), best=0,
        valid_score=0.3, test_score=test, test_loss=1.2, steps=10, samples=40, stopped="steps", seconds=2.5,
        samples_per_second=16.0, peak_memory=None, device="cpu", processes=1, machine={"cores": 2}, versions={"torch": "2"},
        git=None, sources=("abc",), started="2026-01-01T00:00:00+00:00")


def test_a_record_read_back_is_the_record_written(tmp_path):
    one = record(test=1 / 3)
    one.write(tmp_path / "deep" / "one.json")
    assert read_record(tmp_path / "deep" / "one.json") == one
    assert load_records(tmp_path) == [one] and load_records(tmp_path / "nowhere") == []
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["one.json"]  # no temporary file is left


def test_records_of_a_search_are_read_by_the_name_of_their_folder_alone(tmp_path):
    record().write(tmp_path / "text" / "a.json")
    record(seed=1).write(tmp_path / "search" / "text" / "b.json")
    assert [each.seed for each in load_records(tmp_path)] == [0]
    assert [each.seed for each in load_records(tmp_path / "search")] == [1]


def test_the_outcome_leaves_out_clocks_and_nothing_that_training_decides():
    one = record()
    later = dataclasses.replace(one, seconds=9.0, started="2027", evaluations=(dataclasses.replace(LOOK, seconds=8.0),))
    assert later.outcome() == one.outcome()
    assert dataclasses.replace(one, evaluations=(dataclasses.replace(LOOK, train_loss=0.9),)).outcome() != one.outcome()


@pytest.mark.parametrize("change, error", [
    (lambda values: values.pop("seed"), r"missing \['seed'\]"),
    (lambda values: values.update(speed=1), r"unknown \['speed'\].*known: batch|unknown \['speed'\].*known: best"),
    (lambda values: values.update(schema=99), "schema 1, got 99"),
    (lambda values: values.update(seed="zero"), "seed must be int, got 'zero'"),
    (lambda values: values["evaluations"][0].pop("step"), r"fields of Evaluation, got missing \['step'\]"),
    (lambda values: values.update(best=5), "index of one of 1 evaluations, got 5")])
def test_a_damaged_record_says_what_is_wrong_and_where(tmp_path, change, error):
    values = json.loads(record().to_json())
    change(values)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"damaged.json is no record that can be read: .*({error})"):
        load_records(tmp_path)


def test_a_number_that_is_not_finite_never_reaches_a_record():
    with pytest.raises(TypeError, match="test_score must be float, got nan"):
        record(test=float("nan"))


def test_a_cell_shows_mean_deviation_and_seeds_and_a_missing_one_a_dash():
    records = [record(seed=0, test=0.30), record(seed=1, test=0.40), record(row="attention", test=0.35)]
    made = table(records, column_values=["listops", "image"], row_values=["memory", "attention", "lstm"])
    assert made.header == ("row", "listops", "image")
    # stdev of 30 and 40 is 10 / sqrt(2)
    assert made.rows == (("memory", "35.0 ± 7.1 (2)", DASH), ("attention", "35.0 (1)", DASH), ("lstm", DASH, DASH))
    assert made.to_markdown().splitlines()[2] == "| memory | 35.0 ± 7.1 (2) | — |"
    assert "<td>35.0 ± 7.1 (2)</td>" in made.to_html() == made._repr_html_()
    assert table(records[:2], value="total").rows == (("memory", "26,338"),)
    assert table([record(test=0.0123, score_name="mean squared error")]).rows == (("memory", "0.0123 (1)"),)


@pytest.mark.parametrize("other, error", [
    (record(row="attention", tier="gpu"), "differ in tier: cpu .* and gpu"),
    (record(row="attention", variant={"maximum": 2000}), "the column 'listops' would mix .* differ in variant"),
    (record(row="attention", steps=99), "differ in steps: 10 .* and 99"),
    (record(row="attention", minutes=15), "differ in minutes: None .* and 15"),
    (record(seed=1, d_model=32), "unknown setting 'd_model'"),
    (record(), "holds a seed twice")])
def test_a_table_refuses_to_mix_tiers_variants_protocols_and_settings(other, error):
    with pytest.raises(ValueError, match=error):
        table([record(), other])


def test_settings_that_differ_can_be_the_axis_of_a_table():
    records = [record(flip_flops=8, test=0.2), record(flip_flops=16, test=0.3)]
    assert table(records, rows="flip_flops").rows == (("8", "20.0 (1)"), ("16", "30.0 (1)"))
    with pytest.raises(ValueError, match="differ in flip_flops: 8 .* and 16"):
        table(records)
    with pytest.raises(ValueError, match="unknown setting 'flipflops'; known: .*flip_flops"):
        table(records, rows="flipflops")


def test_a_table_can_show_what_a_test_split_says_of_samples_and_of_sequences():
    def with_tests(seed, right):
        found = {"loss": 0.1, "score": 0.75, "count": 400, "sequences": 4, "faultless": right, "last_right": 4}
        return dataclasses.replace(record(seed=seed), tests={"test": found, "length 1000": found})

    records = [with_tests(0, 1), with_tests(1, 3)]
    assert table(records, value="length 1000 score").rows == (("memory", "75.0 \u00b1 0.0 (2)"),)
    assert table(records, value="length 1000 faultless").rows == (("memory", "50.0 \u00b1 35.4 (2)"),)
    assert table(records, value="test loss").rows == (("memory", "0.1000 \u00b1 0.0000 (2)"),)
    with pytest.raises(ValueError, match="unknown value 'length 9 score' of listops-memory-0; known: test loss, test score, .*length 1000 loss"):
        table(records, value="length 9 score")
    with pytest.raises(ValueError, match="known: none"):
        table([record()], value="sparse score")
