"""Figures of a merging experiment, from a made-up result: every path, no NaN in the browser, both themes."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from numembed.figures.merge.common import color_of, measures, spots, symbol_of
from numembed.figures.merge.maps import morph_figure, reach_of, small_map
from numembed.figures.merge.plane import MAIN, comparisons_figure, plane_figure, sweep_figure
from numembed.figures.merge.robustness import robustness_figure
from numembed.figures.merge.weights import (
    MERGEKIT_DEGREES,
    angles_figure,
    degrees_of,
    layers_figure,
    scale_figure,
    shift_figure,
    training_figure,
)
from numembed.figures.style import THEMES
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Retention
from tests.merge_experiment.made import made_experiment, made_result
from tests.merge_experiment.robustness.cases import measured, robustness_from

FOUND = made_result()
READINGS = [reading for one in FOUND.adapters for reading in one.readings]


def _kept(candidate: Candidate) -> float:
    return candidate.retention.spearman


def _silhouette(candidate: Candidate) -> float:
    return candidate.splits["paper"].silhouette


def _all(found: ExperimentResult, theme: str) -> dict[str, Any]:
    readings = [reading for one in found.adapters for reading in one.readings]
    frames = [one for one in found.maps if one.path == "soup" and one.split == "paper"]
    families = found.families["paper"]
    made = {
        "plane": plane_figure(found, "paper", names=tuple(KINDS), each=True, theme=theme),
        "comparisons": comparisons_figure([one for one in found.comparisons if one.split == "paper"], theme=theme),
        "training": training_figure(readings, theme=theme),
        "angles": angles_figure(found.straight, theme=theme),
        "layers": layers_figure(found.dominance, theme=theme),
        "shift": shift_figure(found.dominance, (1, 2, 3, 5, 10), theme=theme),
        "scale": scale_figure(found, titles={}, theme=theme),
    }
    for sweeps, measure in itertools.product(("t", "scale"), measures()):
        made[f"sweep {sweeps} {measure}"] = sweep_figure(found, "paper", measure, sweeps=sweeps, theme=theme)
    if frames:
        made["morph"] = morph_figure(frames, families, sweeps="scale", theme=theme)
        made["small"] = small_map(frames[0], families, reach=reach_of(frames), theme=theme)
    return made


def _odd(value: Any) -> list[float]:
    """Return all numbers in a figure that are none; Plotly itself would turn them into gaps without a word."""
    if isinstance(value, dict):
        return [odd for part in value.values() for odd in _odd(part)]
    if isinstance(value, list | tuple):
        return [odd for part in value for odd in _odd(part)]
    return [value] if isinstance(value, float) and not math.isfinite(value) else []


@pytest.mark.parametrize("theme", THEMES)
def test_every_figure_is_readable_in_both_themes_and_holds_no_nan(theme: str) -> None:
    for name, figure in _all(FOUND, theme).items():
        text = figure.to_json()
        assert _odd(figure.to_plotly_json()) == [], name
        assert not re.search(r"#00000[0-9a-f]", text, re.IGNORECASE), name
        assert figure.layout.font.color == THEMES[theme]["text"], name


@pytest.mark.parametrize("paths", [1, 2, 5])
def test_partial_results_are_drawn_while_the_experiment_runs(paths: int) -> None:
    for name, figure in _all(made_result(complete=False, paths=paths), "light").items():
        assert _odd(figure.to_plotly_json()) == [], name


def test_undefined_scores_leave_gaps_and_no_nan() -> None:
    hole = [
        replace(
            candidate,
            splits={name: replace(one, silhouette=math.nan, low=math.nan) for name, one in candidate.splits.items()},
        )
        if candidate.at == 0.5 or candidate.path == "base"
        else replace(candidate, retention=replace(candidate.retention, cka=math.nan))
        for candidate in FOUND.candidates
    ]
    for name, figure in _all(replace(FOUND, candidates=tuple(hole)), "dark").items():
        assert _odd(figure.to_plotly_json()) == [], name


def test_the_plane_draws_every_requested_path_and_the_base_at_1() -> None:
    figure = plane_figure(FOUND, "paper", names=tuple(KINDS))
    drawn = {trace.name for trace in figure.data if trace.name}
    assert drawn == {KINDS[name].title for name in FOUND.experiment.paths}
    assert {note.text for note in figure.layout.annotations} == drawn - {"Base"}
    (base,) = (trace for trace in figure.data if trace.name == "Base")
    assert list(base.x) == [1.0] and base.marker.symbol == "star"
    names = {trace.name for trace in plane_figure(FOUND, "paper").data if trace.name}
    assert names == {KINDS[name].title for name in MAIN} | {"Base"}


def test_each_seed_has_its_own_line_on_request() -> None:
    plain, each = (plane_figure(FOUND, "paper", names=("lora",), each=one).data for one in (False, True))
    assert len(each) == len(plain) + 3


def test_a_line_is_the_mean_over_seeds_and_its_cross_goes_from_the_lowest_to_the_highest() -> None:
    full = [_silhouette(candidate) for candidates in FOUND.of("lora") for candidate in candidates if candidate.at == 1]
    (spot,) = (one for one in spots(FOUND, "lora", _kept, _silhouette) if one.at == 1)
    assert spot.y == pytest.approx((sum(full) / 3, min(full), max(full))) and spot.count == 3
    figure = plane_figure(FOUND, "paper", names=("soup", "lora"))
    low, high = figure.layout.yaxis.range
    for trace in figure.data:
        if trace.error_y.array:
            top, bottom = trace.y[0] + trace.error_y.array[0], trace.y[0] - trace.error_y.arrayminus[0]
            assert low < bottom <= top < high, "a cross leaves the picture"


def test_a_place_that_one_seed_lacks_is_left_out_of_a_finished_mean() -> None:
    fewer = replace(
        FOUND,
        candidates=tuple(
            candidate for candidate in FOUND.candidates if (candidate.path, candidate.at) != ("lora-1", 0.5)
        ),
    )
    assert 0.5 not in {spot.at for spot in spots(fewer, "lora", _kept, _silhouette)}
    assert 0.5 in {spot.at for spot in spots(FOUND, "lora", _kept, _silhouette)}


def test_names_at_the_ends_do_not_lie_upon_each_other() -> None:
    figure = plane_figure(FOUND, "paper", names=tuple(KINDS))
    low, high = figure.layout.yaxis.range
    scale = (figure.layout.height - 80) / (high - low)
    places = sorted((high - note.y) * scale + note.ay for note in figure.layout.annotations)
    assert all(below - above >= 16 for above, below in itertools.pairwise(places))


def test_a_sweep_has_the_base_as_a_level_and_only_paths_that_sweep_it() -> None:
    for sweeps in ("t", "scale"):
        figure = sweep_figure(FOUND, "paper", "silhouette", sweeps=sweeps)
        drawn = {trace.name for trace in figure.data if trace.name}
        assert drawn == {KINDS[name].title for name in FOUND.experiment.paths if KINDS[name].sweeps == sweeps}
        assert figure.layout.annotations[0].text == "the base"


def test_a_comparison_is_filled_only_where_a_difference_is_seen_and_left_out_where_undefined() -> None:
    listed = [one for one in FOUND.comparisons if one.split == "paper"]
    seen = [replace(listed[0], p_holm=0.001, low=-0.1, high=-0.02, difference=-0.06), *listed[1:]]
    (marks,) = comparisons_figure(seen).data
    assert len(marks.x) == len(listed) - 1, "one comparison is undefined"
    assert list(marks.marker.symbol).count("circle") == 1 and marks.marker.symbol[-1] == "circle"
    assert comparisons_figure([]).data[0].x == ()


def test_every_tensor_with_an_angle_is_counted_once_and_mergekits_line_is_drawn() -> None:
    figure = angles_figure(FOUND.straight)
    assert sum(sum(trace.y) for trace in figure.data) == sum(len(degrees_of(one)) for one in FOUND.straight)
    assert {shape.x0 for shape in figure.layout.shapes} == {MERGEKIT_DEGREES} and len(figure.layout.shapes) == 2
    assert math.cos(math.radians(MERGEKIT_DEGREES)) == pytest.approx(0.9995)
    assert len(angles_figure([one for one in FOUND.straight if one.space == "weights"]).layout.shapes) == 1


def test_the_slider_has_every_place_in_its_order_and_moves_only_points() -> None:
    frames = [one for one in FOUND.maps if one.path == "lora-0" and one.split == "paper"]
    families = FOUND.families["paper"]
    figure = morph_figure(frames[::-1], families, sweeps="scale")
    (slider,) = figure.layout.sliders
    assert [float(step.args[0][0]) for step in slider.steps] == [one.at for one in frames]
    assert [frame.name for frame in figure.frames] == [step.args[0][0] for step in slider.steps]
    assert not figure.layout.updatemenus, "nothing plays by itself"
    last = figure.frames[-1].data
    points = sorted((x, y) for trace in last for x, y in zip(trace.x, trace.y, strict=True))
    assert points == sorted((round(x, 4), round(y, 4)) for x, y in frames[-1].points)
    reach = figure.layout.xaxis.range[1]
    assert all(abs(value) <= reach for frame in figure.frames for trace in frame.data for value in (*trace.x, *trace.y))
    assert len(json.dumps(figure.to_plotly_json(), default=list)) < 60_000


def test_rows_of_one_colour_differ_in_their_symbol() -> None:
    looks = [(color_of(name), symbol_of(name)) for name in KINDS if color_of(name) != "#7F7F7F"]
    assert len(looks) == len(set(looks))


def test_training_has_a_line_of_losses_and_one_of_validation_for_each_seed() -> None:
    figure = training_figure(READINGS)
    assert len(figure.data) == 2 * 3
    assert {trace.name for trace in figure.data} == {"seed 0", "seed 1", "seed 2"}
    assert 0 in figure.data[1].x and 0 not in figure.data[0].x, "the base has a silhouette and no loss"
    assert training_figure([]).data == ()


def test_one_seed_without_stages_is_drawn_too() -> None:
    alone = made_result(made_experiment(seeds=(0,)))
    for name, figure in _all(alone, "light").items():
        assert _odd(figure.to_plotly_json()) == [], name
    assert spots(alone, "lora", _kept, _silhouette)[0].count == 1


def test_the_plane_shows_how_sure_both_numbers_are_behind_each_main_path() -> None:
    calm = plane_figure(FOUND, "paper", names=tuple(KINDS))
    assert not [one for one in calm.data if (one.error_x.thickness or 0) > 5], "only where it is asked for"
    figure = plane_figure(FOUND, "paper", names=tuple(KINDS), sure=True)
    bars = [trace for trace in figure.data if trace.error_x.thickness and trace.error_x.thickness > 5]
    assert len(bars) == sum(name in MAIN for name in FOUND.experiment.paths)
    assert all(bar.error_x.array[0] > 0 and bar.error_x.arrayminus[0] > 0 for bar in bars), "sure the retention"
    assert all(bar.error_y.array[0] > 0 and bar.error_y.arrayminus[0] > 0 for bar in bars), "and the silhouette"
    without = replace(
        FOUND,
        candidates=tuple(replace(candidate, retention=Retention(0.9, 0.9, 0.1)) for candidate in FOUND.candidates),
    )
    plain = plane_figure(without, "paper", sure=True)
    assert not [trace for trace in plain.data if trace.error_x.thickness and trace.error_x.thickness > 5]


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
def test_robustness_is_a_row_for_each_kind_of_change_and_a_colour_for_each_kind_of_model(theme: str) -> None:
    found = robustness_from(measured({("lora", "digits"): 0.3}))
    drawn = robustness_figure(found, theme=theme)
    assert [trace.name for trace in drawn.data] == ["Base", "LoRA", "Soup", "SLERP to the base", "Straight line"]
    assert len({trace.marker.color for trace in drawn.data}) == 5
    assert len(drawn.layout.yaxis.ticktext) == len(found.groups) == 6 and drawn.layout.yaxis.ticktext[-1] == "Notation"
    lora = drawn.data[1]
    change = next(one for one in found.changes if (one.row, one.group) == ("lora", "digits"))
    (place,) = (number for number, text in enumerate(lora.customdata) if "digits" in text)
    assert lora.x[place] == change.mean and lora.x[place] + lora.error_x.array[place] == pytest.approx(change.high)
    assert round(lora.y[place]) == list(drawn.layout.yaxis.ticktext).index("Digits")
    assert "NaN" not in drawn.to_json()
    alone = replace(found, changes=tuple(replace(one, low=math.nan, high=math.nan) for one in found.changes))
    assert "NaN" not in robustness_figure(alone, theme=theme).to_json()
