"""The evaluation's figures show what the records say, keep apart what must not be compared, and never claim more than the error allows."""

import json
import math
from dataclasses import replace

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from cffbook import experiment
from cffbook.figures import evaluation
from cffbook.results import Record
from cffbook.training import Evaluation

FLOORS = {"majority": 0.15, "root_operator": 0.32, "depth_1": 0.46, "depth_2": 0.71}


def look(step, score):
    return Evaluation(step=step, epoch=0.5, train_loss=1.0, train_score=score, valid_loss=1.1, valid_score=score, learning_rate=0.003, seconds=2.5)


def record(row="memory", score=0.40, total=50_000, seed=0, maximum=500, steps=1000, task="listops"):
    variant = {"minimum": 100, "maximum": maximum} if task == "listops" else {"protocol": "lra", "side": 32}
    return Record(
        name=f"{row}-{seed}", settings={"task": task, "row": row, "seed": seed, "tier": "cpu", "steps": steps, "batch": 32,
                                        "minutes": None, "patience": None, "eval_every": 100},
        seed=seed, tier="cpu", task={"name": task, "variant": variant, "data_hash": f"{task}{maximum}", "score_name": "accuracy",
                                     "floors": FLOORS if task == "listops" else {"majority": 0.1}, "sizes": {"test": 2000}},
        parameters={"total": total, "without_embeddings": total, "mixer": 5000}, evaluations=(look(100, score - 0.1), look(200, score)),
        best=1, valid_score=score, test_score=score, test_loss=1.2, steps=steps, samples=40, stopped="steps", seconds=2.5,
        samples_per_second=16.0, peak_memory=None, device="cpu", processes=1, machine={"cores": 2}, versions={"torch": "2"},
        git=None, sources=("abc",), started="2026-01-01T00:00:00+00:00")  # fmt: skip


def lines(figure):
    """Heights of the horizontal lines, with what is written beside them."""
    texts = {round(a.y, 6): a.text for a in figure.layout.annotations if a.text}
    return {texts.get(round(s.y0, 6)): s.y0 for s in figure.layout.shapes if s.type == "line"}


def test_records_of_other_data_or_budget_never_share_a_group():
    records = [record(), record("attention"), record(maximum=2000), record(steps=300), record(task="image")]
    groups = evaluation.comparable(records)
    assert [len(group) for group in groups.values()] == [2, 1, 1, 1]
    assert list(groups) == ["ListOps, 100 to 500 tokens, tier cpu, 1,000 updates of 32",
                            "ListOps, 100 to 500 tokens, tier cpu, 300 updates of 32",
                            "ListOps, 100 to 2000 tokens", "Image, 1,024 pixels"]  # fmt: skip
    assert evaluation.comparable([]) == {}


def test_two_tiers_of_the_same_data_are_named_by_their_tiers_alone():
    large = replace(record(), tier="gpu", settings=record().settings | {"tier": "gpu", "steps": 7})
    groups = evaluation.comparable([record(), large])
    assert list(groups) == ["ListOps, 100 to 500 tokens, tier cpu", "ListOps, 100 to 500 tokens, tier gpu"]
    titles = [note.text for note in evaluation.scores(groups).layout.annotations[:2]]
    assert titles == ["ListOps, tier cpu<br>100 to 500 tokens", "ListOps, tier gpu<br>100 to 500 tokens"]


@pytest.mark.parametrize(
    ("task", "variant", "name"),
    [
        ("listops", {"minimum": 100, "maximum": 500}, "ListOps, 100 to 500 tokens"),
        ("listops", {"maximum": 2000, "source": {}}, "ListOps, up to 2000 tokens"),
        ("listops", {"minimum": 500, "maximum": 2000, "protocol": "s4"}, "ListOps, 500 to 2000 tokens (s4)"),
        ("text", {"protocol": "lra", "length": 1024}, "Text, up to 1,024 bytes"),
        ("text", {"protocol": "lra", "length": 4000}, "Text, up to 4,000 bytes"),
        ("text", {"protocol": "s4", "length": 4096}, "Text, up to 4,096 characters (s4)"),
        ("retrieval", {"data": "AAN", "protocol": "lra", "length": 4000}, "AAN, up to 4,000 bytes each"),
        ("AAN-rebuilt", {"data": "AAN-rebuilt", "protocol": "lra", "length": 1024}, "AAN-rebuilt, up to 1,024 bytes each"),
        ("image", {"protocol": "lra", "side": 32}, "Image, 1,024 pixels"),
        ("image", {"protocol": "s4", "side": 16}, "Image, 256 pixels (s4)"),
        ("pathfinder", {"generator": 2, "resolution": 32, "difficulty": "easy", "protocol": "lra"}, "Pathfinder-32 easy, 1,024 pixels"),
        ("pathfinder", {"source": "x", "resolution": 32, "difficulty": "hard", "protocol": "lra"},
         "Pathfinder-32 hard, 1,024 pixels, LRA's own images"),
        ("pathx", {"generator": 2, "resolution": 128, "difficulty": "hard", "protocol": "s4"}, "Path-X, 16,384 pixels (s4)"),
        ("adding", {"length": 100}, "adding"),
    ],
)  # fmt: skip
def test_the_name_of_data_says_length_difficulty_and_protocol(task, variant, name):
    assert evaluation.data_name({"name": task, "variant": variant}) == name


def test_texts_of_other_lengths_and_images_of_other_difficulty_never_share_a_group():
    def of(task, **variant):
        made = record(task=task)
        return replace(made, task={**made.task, "variant": {"protocol": "lra", **variant}})

    records = [of("pathfinder", resolution=32, difficulty=name, generator=2) for name in ("hard", "easy")]
    records += [of("text", length=length) for length in (4000, 1024, 1024)] + [record()]
    groups = evaluation.comparable(records)
    assert {name: len(group) for name, group in groups.items()} == {
        "ListOps, 100 to 500 tokens": 1, "Text, up to 1,024 bytes": 2, "Text, up to 4,000 bytes": 1,
        "Pathfinder-32 easy, 1,024 pixels": 1, "Pathfinder-32 hard, 1,024 pixels": 1}  # fmt: skip
    assert list(groups)[:3] == ["ListOps, 100 to 500 tokens", "Text, up to 1,024 bytes", "Text, up to 4,000 bytes"]


def test_the_standard_error_is_the_binomial_one():
    assert evaluation.standard_error(record(score=0.5)) == pytest.approx(math.sqrt(0.25 / 2000))


def test_a_difference_counts_only_beyond_two_standard_errors():
    # at 40 % of 2,000 examples, two standard errors of a difference are 200 sqrt(2 * 0.24 / 2000) = 3.1 points
    verdict = {gain: evaluation.compare([record(score=0.4 + gain / 100)], [record("attention")]).verdict for gain in (-4, -2, 2, 4)}
    assert verdict == {-4: "less accurate", -2: "not told apart", 2: "not told apart", 4: "more accurate"}
    found = evaluation.compare([record(total=25_000)], [record("attention")])
    assert found.ratio == 0.5 and found.points == 0 and found.error == pytest.approx(200 * math.sqrt(2 * 0.24 / 2000))


def test_seeds_that_differ_widen_the_error_and_more_seeds_do_not_beat_the_test_split():
    same, apart = [record(seed=s) for s in range(3)], [record(seed=s, score=0.4 + d) for s, d in enumerate((-0.05, 0.0, 0.05))]
    one, three, wide = (evaluation.compare(ours, [record("attention")]).error for ours in (same[:1], same, apart))
    assert one == pytest.approx(three) and wide > 2 * 100 * 0.05 / math.sqrt(3)


@pytest.mark.parametrize("ours, theirs", [([], [record()]), ([record()], []), ([record()], [record(maximum=2000)])])
def test_what_cannot_be_compared_is_refused(ours, theirs):
    with pytest.raises(ValueError, match="on the same data and budget"):
        evaluation.compare(ours, theirs)


def test_scores_stand_over_their_parameters_beside_the_floors_up_to_the_next_one():
    figure = evaluation.scores(evaluation.comparable([record(), record("attention", 0.35, 100_000)]))
    assert {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data if trace.mode == "markers"} == {
        "memory": (50_000, 40.0), "attention": (100_000, 35.0)}
    assert next(trace for trace in figure.data if trace.name == "memory").error_y.array[0] == pytest.approx(2 * 100 * math.sqrt(0.24 / 2000), abs=0.01)
    assert lines(figure) == {"majority": 15.0, "root operator": 32.0, "depth 1": 46.0}
    low, high = figure.layout.yaxis.range
    assert 0 < low < 15 and 46 < high < 71


def test_the_front_holds_the_rows_to_which_no_smaller_one_is_as_accurate():
    rows = {"memory_small": (0.38, 20_000), "memory": (0.38, 50_000), "lstm": (0.41, 60_000), "attention": (0.35, 90_000), "linear": (0.42, 95_000)}
    group = [record(row, score, total) for row, (score, total) in rows.items()] + [record("lstm", 0.43, 60_000, seed=1)]
    assert evaluation.front(group) == {"memory_small": (20_000, 0.38), "lstm": (60_000, pytest.approx(0.42))}
    line = next(trace for trace in evaluation.scores(evaluation.comparable(group)).data if trace.name == "Pareto front")
    assert list(line.x) == [20_000, 60_000] and list(line.y) == [38.0, 42.0]


def test_every_row_but_the_memorys_belongs_to_one_family_and_the_best_of_it_is_that_of_the_best_mean():
    members = [row for family in evaluation.FAMILIES.values() for row in family]
    assert sorted(members) == sorted(row for row in experiment.rows() if not row.startswith(("memory", "alone")))
    group = [record("attention", 0.35), record("local", 0.40), record("local", 0.32, seed=1), record("linear", 0.37), record("memory", 0.5)]
    assert evaluation.best_of("attention", group) == [group[3]]
    assert evaluation.best_of("recurrent", group) == []


def test_a_row_of_millions_of_parameters_is_in_the_picture():
    right = evaluation.scores(evaluation.comparable([record("synthesizer_random", total=8_000_000)])).layout.xaxis.range[1]
    assert math.log10(8_000_000) + 0.5 < right < 8


def test_no_record_gives_a_figure_that_says_so():
    for draw in (evaluation.scores, evaluation.curves):
        assert draw({}).layout.annotations[0].text == "no record yet"
    assert "no record to compare yet" in [a.text for a in evaluation.aim({}).layout.annotations]
    only = evaluation.comparable([record()])
    assert "no record to compare yet" in [a.text for a in evaluation.aim(only).layout.annotations]


def test_curves_are_the_validation_scores_of_every_record_with_one_legend_entry_a_row():
    groups = evaluation.comparable([record(), record(maximum=2000, score=0.3), record("lstm")])
    figure = evaluation.curves(groups)
    assert [(list(t.x), list(t.y)) for t in figure.data if t.name == "memory"] == [([100, 200], [30.0, 40.0]), ([100, 200], [20.0, 30.0])]
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == ["lstm", "memory"]


@pytest.mark.parametrize("draw", [evaluation.scores, evaluation.curves])
def test_the_memorys_rows_lie_on_top_of_the_others_and_lead_the_legend(draw):
    figure = draw(evaluation.comparable([record("memory_small"), record("memory"), record("attention"), record("lstm")]))
    drawn = [trace for trace in figure.data if "markers" in trace.mode]
    assert [trace.name for trace in drawn] == ["attention", "lstm", "memory_small", "memory"]
    assert [trace.legendrank for trace in drawn] == [2, 2, 1, 1]


def test_curves_over_time_spread_a_records_processor_seconds_over_its_updates_and_leave_out_records_without():
    timed = replace(record(), processor_seconds=50.0)
    figure = evaluation.curves(evaluation.comparable([timed, record("lstm")]), over="processor seconds")
    assert [(t.name, list(t.x)) for t in figure.data if t.y[0] == 30.0] == [("memory", [5.0, 10.0])]
    with pytest.raises(ValueError, match="unknown axis 'hours'"):
        evaluation.curves({}, over="hours")


def test_the_aim_compares_with_the_reference_row_alone_and_leaves_its_family_out():
    groups = evaluation.comparable([record(score=0.45), record("attention", 0.40, 100_000), record("local", 0.41, 100_000), record(maximum=2000)])
    figure = evaluation.aim(groups)
    (point,) = (trace for trace in figure.data if trace.x[0] is not None)
    assert (point.x[0], point.y[0], point.name) == (0.5, 5.0, "memory")
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["memory", *groups]  # colours, then symbols
    quarter = next(shape for shape in evaluation.aim(groups).layout.shapes if shape.type == "rect")
    assert quarter.x1 == 1 and quarter.y0 == 0


def test_each_kind_of_data_has_a_symbol_of_its_own_and_too_many_are_refused():
    groups = evaluation.comparable([record(row, maximum=500 + m) for m in range(len(evaluation.SYMBOLS)) for row in ("memory", "attention")])
    key = [trace.marker.symbol for trace in evaluation.aim(groups).data if trace.name in groups]
    assert len(key) == len(set(key)) == len(groups) > 10
    with pytest.raises(ValueError, match="at most 14 groups, a symbol for each, got 15"):
        evaluation.aim(groups | {"one more": next(iter(groups.values()))})


def test_published_numbers_have_sources_and_keep_their_marks():
    known = evaluation.published()
    for group in known["groups"]:
        assert group["source"] and group["protocol"] and group["parameters"]
        for name, listops, image, mark in group["rows"]:
            assert name and 10 < listops < 100 and 10 < image < 100 and mark in known["marks"]
    figure = evaluation.published_scores(known["groups"], "listops", FLOORS)
    assert sum(len(trace.x) for trace in figure.data) == sum(len(group["rows"]) for group in known["groups"])
    assert any("[M]" in text for trace in figure.data for text in trace.text)
    assert [shape.x0 for shape in figure.layout.shapes] == [100 * floor for floor in FLOORS.values()]
    with pytest.raises(ValueError, match="listops, image; got 'text'"):
        evaluation.published_scores(known["groups"], "text", {})


def test_the_published_table_is_complete_and_in_its_columns():
    rows = {row[0]: row for row in evaluation.published()["groups"][0]["rows"]}
    assert len(rows) == 11 and rows["Transformer"][1:3] == [36.37, 42.44] and rows["BigBird"][1:3] == [36.05, 40.83]


def test_figures_are_small_and_leave_the_background_to_the_page():
    groups = evaluation.comparable([record(row, maximum=m) for row in evaluation.STYLES for m in (500, 1000, 2000)])
    known = evaluation.published()["groups"]
    for figure in (evaluation.scores(groups), evaluation.curves(groups), evaluation.aim(groups), evaluation.published_scores(known, "image", {})):
        layout = json.loads(figure.to_json())["layout"]
        assert "paper_bgcolor" not in layout and "width" not in layout
        assert len(json.dumps(json.loads(figure.to_json())["data"])) < 60_000
