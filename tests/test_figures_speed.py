"""The figures of speed show what the records say, keep apart what must not be compared, and draw nothing that was not measured."""

import json

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from speed_records import LIMITS, all_of_them, case_named, comparison

from cffbook import figures, speed
from cffbook.figures.speed import shares
from cffbook.speed.bars import HALF, PROPOSAL

SHORT, LONG = "time-d128-b8-t1024-train-2", "time-d128-b8-t4096-train-2"


def lines(figure):
    return {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}


def test_each_layer_is_a_line_over_the_length_in_milliseconds_a_sequence_with_its_ratio_beside_it():
    drawn = [comparison(LONG, {"memory": 0.4, "attention": 16.0}), comparison(SHORT, {"memory": 0.1, "attention": 1.0})]
    figure = figures.over_time([*drawn, comparison("transformer-d64-b8-t512-train-2")])
    assert lines(figure)["memory layer"] == ([1024, 4096], [12.5, 50.0])  # of eight sequences, the shorter first
    (attention,) = (trace for trace in figure.data if trace.name == "attention")
    assert list(attention.customdata) == ["10 times the time of memory layer", "40 times the time of memory layer"]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log" and list(figure.layout.xaxis.tickvals) == [1024, 4096]


def test_memory_is_in_mebibytes_a_sequence_and_a_layer_that_ran_out_of_it_has_no_point():
    measured = comparison(LONG, memory={"memory": 8 << 20, "lstm": 32 << 20, "attention": None, "gru": 0})
    figure = figures.over_time([measured], "memory")
    assert lines(figure)["memory layer"] == ([4096], [1.0]) and lines(figure)["LSTM"] == ([4096], [4.0])
    assert lines(figure)["attention"] == lines(figure)["GRU"] == ([], [])
    assert next(trace for trace in figure.data if trace.name == "LSTM").customdata[0] == "4 times the memory of memory layer"


def test_a_layer_that_only_one_length_has_is_a_single_point():
    figure = figures.over_time([comparison("time-d128-b8-t256-train-2"), comparison(SHORT)])
    assert lines(figure)["LTC of ncps"][0] == [256] and lines(figure)["LSTM"][0] == [256, 1024]


def test_whole_transformers_are_drawn_when_their_group_is_asked_for():
    drawn = [comparison(f"transformer-d64-{size}-train-2") for size in ("b2-t16384", "b8-t512")]
    found = lines(figures.over_time([*drawn, comparison(SHORT)], group="transformer"))
    assert found == {"transformer with memory": ([512, 16384], [125.0, 500.0]), "transformer with attention": ([512, 16384], [125.0, 500.0])}


def test_cases_of_one_length_are_told_apart_by_their_batch():
    drawn = [comparison(f"gpu-d128-b{batch}-t{time}-train-2", {"memory": batch / 8}) for batch in (8, 64) for time in (1024, 4096)]
    for batch in (8, 64):
        assert lines(figures.over_time(drawn, group="gpu", batch=batch))["memory layer"] == ([1024, 4096], [125.0, 125.0])
    assert "attention in bfloat16" in lines(figures.over_time(drawn, group="gpu", batch=8))
    with pytest.raises(ValueError, match="mix comparisons of one length, got several in 'gpu': choose a batch"):
        figures.over_time(drawn, group="gpu")


def test_comparisons_that_must_not_stand_in_one_figure_and_unknown_quantities_are_refused():
    one = comparison(SHORT)
    other = comparison(LONG)
    other.case["threads"] = 1
    with pytest.raises(ValueError, match="differ in threads"):
        figures.over_time([one, other])
    with pytest.raises(ValueError, match="unknown quantity 'watts': choose one of seconds, memory"):
        figures.over_time([one], "watts")


def test_no_record_gives_a_figure_that_says_so():
    for figure in (figures.over_time([]), figures.bars_met([]), figures.shares_of_limits([])):
        assert "no record yet" in [annotation.text for annotation in figure.layout.annotations]
        assert json.loads(figure.to_json())["data"]  # or a page takes it for one that was lost


def test_a_bar_ends_where_measured_over_asked_is_and_its_colour_says_whether_it_is_met():
    measured = comparison(LONG, {"attention": 20.0, PROPOSAL: 4.0, HALF: 0.5}, {"memory": 4 * 8 * 4096 * 128 * 6})
    figure = figures.bars_met([measured])
    drawn, diamonds, half = figure.data
    found = dict(zip(drawn.y, zip(drawn.x, drawn.customdata, drawn.marker.color, strict=True), strict=True))
    assert found["causal attention, T = 4,096"] == (2.0, "20.0 times, asked 10: met", figures.speed.GOOD)
    assert found["memory in output-sized arrays, T = 4,096"] == (0.5, "6.00 arrays, asked 3: missed", figures.speed.OURS)
    assert list(drawn.y) == [bar.name for bar in speed.bars()] and found["one core, against two"][0] is None
    assert dict(zip(diamonds.y, diamonds.x, strict=True))["causal attention, T = 4,096"] == 0.5
    assert dict(zip(half.y, half.x, strict=True))["causal attention, T = 4,096"] == 4.0
    assert drawn.text[list(drawn.y).index("causal attention, T = 4,096")] == "20.0 times" and set(drawn.text) >= {""}
    assert "causal attention, T = 4,096 (10)" in figure.layout.yaxis.ticktext
    (line,) = (shape for shape in figure.layout.shapes if shape.type == "line")
    assert line.x0 == line.x1 == 1 and figure.layout.xaxis.type == "log"


def test_whiskers_span_the_rounds():
    measured = comparison(LONG)
    rounds = measured.seconds["attention"]
    rounds[:] = [8.0, *[10.0] * (len(rounds) - 2), 15.0]
    drawn = figures.bars_met([measured]).data[0]
    place = list(drawn.y).index("causal attention, T = 4,096")
    assert (drawn.error_x.arrayminus[place], drawn.error_x.array[place]) == (pytest.approx(0.2), pytest.approx(0.5))
    assert drawn.error_x.array[list(drawn.y).index("one core, against two")] == 0


def test_shares_are_the_time_at_the_limits_of_the_time_on_one_thread_and_the_rest_fills_up():
    one = comparison("threads-d128-b32-t4096-train-1", {"memory": 8.0})
    drawn = [one, comparison("threads-d128-b32-t4096-train-2"), comparison("forward-d128-b32-t4096-run-1")]
    found = shares(drawn)
    assert len(found) == 4  # two layers, on one thread alone: forward, and with the way back
    share = found["memory layer<br>forward and backward"]
    least = speed.work(case_named(one.name), "memory").seconds(LIMITS)
    assert share["gates"] == pytest.approx(least["gates"] / 8) and share["products"] == pytest.approx(least["products"] / 8)
    assert share["products"] + share["gates"] + share["rest"] == pytest.approx(1)
    bars = {trace.name: trace for trace in figures.shares_of_limits(drawn).data}
    assert bars["gates"].x[list(bars["gates"].y).index("memory layer<br>forward and backward")] == round(100 * share["gates"], 1)
    one.limits.pop("operations_per_second")
    assert shares([one]) == {}


def test_a_pass_faster_than_the_limits_is_drawn_to_its_end_and_nothing_is_left_of_it():
    quick = comparison("threads-d128-b32-t4096-train-1")
    for seconds in quick.seconds.values():
        seconds[:] = [1e-6 * each for each in seconds]
    figure = figures.shares_of_limits([quick])
    bars = {trace.name: trace.x for trace in figure.data}
    ends = [sum(parts) for parts in zip(*bars.values(), strict=True)]
    assert min(ends) > 100 and figure.layout.xaxis.range[1] >= max(ends) and set(bars["rest"]) == {0}


def test_figures_are_small_and_leave_width_background_and_ink_to_the_page():
    every = all_of_them()
    for figure in (figures.over_time(every), figures.over_time(every, "memory"), figures.bars_met(every), figures.shares_of_limits(every)):
        layout = json.loads(figure.to_json())["layout"]
        assert not {"width", "paper_bgcolor", "plot_bgcolor"} & layout.keys() and "color" not in layout.get("font", {})
        assert len(json.dumps(json.loads(figure.to_json())["data"])) < 60_000
