"""What the figures of merges share: the numbers of a candidate, means over seeds, colours and traces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numembed.analysis.scores import ScoreKind, score_kinds
from numembed.figures.style import PALETTE, SYMBOLS
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Separation, field_of

_COLORS = {  # of a row's kind: what is done, not between which models
    "lora": PALETTE[0],
    "soup": PALETTE[1],
    "slerp": PALETTE[3],
    "norm_matched": PALETTE[2],
    "karcher": PALETTE[6],
    "multi_stage": PALETTE[5],
    "task_arithmetic": PALETTE[4],
}

Value = Callable[[Candidate], float]


@dataclass(frozen=True)
class Measure:
    """One number of a candidate: its title, its value, and which direction is better."""

    title: str
    value: Callable[[Candidate, str], float]  # of a candidate on a split
    better: str  # "high", "low" or "" where neither is
    split: bool = True  # whether it is of one split


def _of_split(value: Callable[[Separation], float]) -> Callable[[Candidate, str], float]:
    return lambda candidate, split: value(candidate.splits[split]) if split in candidate.splits else math.nan


def _of_score(kind: ScoreKind) -> Measure:
    better = "high" if kind.sign > 0 else "low"
    return Measure(kind.title, _of_split(lambda result: result.value(kind)), better)


def _kept(field: str) -> Callable[[Candidate, str], float]:
    def value(candidate: Candidate, split: str) -> float:
        kept = getattr(candidate.retention, field)
        return math.nan if kept is None else float(kept)

    return value


_ACCURACY = Measure("Nearest-centroid accuracy", _of_split(lambda result: result.accuracy), "high")
_OTHERS: Mapping[str, Measure] = {
    "spearman": Measure("Retention (rank correlation of similarities)", _kept("spearman"), "high", False),
    "cka": Measure("Retention (CKA with the base)", _kept("cka"), "high", False),
    "margin": Measure("Paraphrase margin", _kept("margin"), "high", False),
    "graded": Measure("Graded pairs (rank correlation with their grades)", _kept("graded"), "high", False),
    "lm_loss": Measure("Language-model loss (nats per token)", _kept("lm_loss"), "low", False),
    "update": Measure(
        "Norm of the update, relative to the base", lambda candidate, split: candidate.update_relative, "", False
    ),
}


def measures() -> dict[str, Measure]:
    """Return every measure of a candidate that is drawn, by its name in a row: scores first, then the others."""
    first, *rest = ((field_of(kind), _of_score(kind)) for kind in score_kinds())
    return dict((first, ("accuracy", _ACCURACY), *rest, *_OTHERS.items()))


@dataclass(frozen=True)
class Spot:
    """One point of a row of KINDS: the mean over its seeds, and the lowest and highest of them."""

    at: float
    x: tuple[float, float, float]  # mean, lowest, highest
    y: tuple[float, float, float]
    count: int


def spots(result: ExperimentResult, name: str, x: Value, y: Value) -> list[Spot]:
    """Return the points of a row where all of its seeds, or pairs of seeds, were scored; NaN is left out."""
    drawn = result.of(name)
    planned = sum(path.name == name for path in result.experiment.drawn)
    by: dict[float, list[tuple[float, float]]] = {}
    for candidates in drawn:
        for candidate in candidates:
            by.setdefault(candidate.at, []).append((x(candidate), y(candidate)))
    whole = {at: both for at, both in sorted(by.items()) if len(both) == (planned if result.complete else len(drawn))}
    made = [
        Spot(at, _spread(one for one, _ in both), _spread(two for _, two in both), len(both))
        for at, both in whole.items()
    ]
    return [spot for spot in made if math.isfinite(spot.x[0]) and math.isfinite(spot.y[0])]


def color_of(name: str) -> str:
    """Return the colour of a row of KINDS, by its kind."""
    return _COLORS.get(KINDS[name].kind, PALETTE[7])


def symbol_of(name: str) -> str:
    """Return the symbol of a row of KINDS: rows of one colour differ in it."""
    alike = [row.name for row in KINDS.values() if row.kind == KINDS[name].kind]
    return SYMBOLS[alike.index(name) % len(SYMBOLS)]


def pale(color: str, opacity: float = 0.15) -> str:
    """Return a transparent version of a colour of the palette."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def scatter(x: Sequence[Any], y: Sequence[Any], mode: str, **more: Any) -> dict[str, Any]:
    """Return a trace of points or lines as Plotly takes it."""
    return {"type": "scatter", "mode": mode, "x": x, "y": y} | more


def error_bars(
    above: Sequence[float], below: Sequence[float], color: str, *, thickness: float, width: float = 0
) -> dict[str, Any]:
    """Return the error bars of points, each as far above and below it as given."""
    ends = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return ends | {"color": color, "thickness": thickness, "width": width}


def range_of(places: Sequence[tuple[float, float, float]], color: str, **more: Any) -> dict[str, Any]:
    """Return the pale band from the lowest to the highest value at each of ``places`` (x, lowest, highest)."""
    there, back = [(x, high) for x, _, high in places], [(x, low) for x, low, _ in places][::-1]
    xs, ys = [x for x, _ in there + back], [y for _, y in there + back]
    look = {"fill": "toself", "fillcolor": pale(color), "line": {"width": 0}}
    return scatter(xs, ys, "lines", showlegend=False, hoverinfo="skip", **look, **more)


def placed(name: str, at: float) -> str:
    """Return the point on a row of KINDS in words, to follow its title."""
    return f", {KINDS[name].sweeps} {at:g}" if KINDS[name].sweeps else ""


def or_none(value: float) -> float | None:
    """Return a number for Plotly: None for NaN."""
    return value if math.isfinite(value) else None


def _spread(values: Iterable[float]) -> tuple[float, float, float]:
    listed = [value for value in values if math.isfinite(value)]
    return (sum(listed) / len(listed), min(listed), max(listed)) if listed else (math.nan,) * 3
