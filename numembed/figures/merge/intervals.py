"""How sure the places of the trade-off are: bars over other sentences, other sequences, and redrawn windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from numembed.figures.merge.common import Spot, color_of, pale, placed, spots
from numembed.figures.style import CLEAR
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate


def sure_bars(result: ExperimentResult, name: str, spot: Spot, split: str, measure: str) -> list[dict[str, Any]]:
    """Return the pale bars behind a cross: the intervals over the sentences and over the sequences, means over seeds.

    The second one is there for the silhouette, whose interval every candidate has.
    """
    kept = _bar(
        result,
        name,
        spot,
        spot.x[0],
        (lambda candidate: candidate.retention.low, lambda candidate: candidate.retention.high),
    )
    apart = (
        _bar(
            result,
            name,
            spot,
            spot.y[0],
            (lambda candidate: candidate.splits[split].low, lambda candidate: candidate.splits[split].high),
        )
        if measure == "silhouette"
        else {}
    )
    if not kept and not apart:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "legendgroup": name,
            "showlegend": False,
            "x": [spot.x[0]],
            "y": [spot.y[0]],
            "error_x": kept,
            "error_y": apart,
            "marker": {"size": 9, "color": CLEAR},
            "hoverinfo": "skip",
        }
    ]


def redrawn_bar(result: ExperimentResult, name: str, line: Sequence[Spot], split: str) -> list[dict[str, Any]]:
    """Return the bar of a row's named place over redrawn windows: their mean, and where 95% of further ones score."""
    known = next((one for one in result.redrawn if (one.name, one.split) == (name, split)), None)
    spot = next((one for one in line if known and one.at == known.at), None)
    if known is None or spot is None or not math.isfinite(known.low):
        return []
    text = f"{KINDS[name].title}{placed(name, known.at)}<br>{known.designs} redrawn choices of windows"
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "legendgroup": name,
            "showlegend": False,
            "x": [spot.x[0]],
            "y": [known.mean],
            "marker": {"size": 9, "symbol": "diamond-open", "color": color_of(name)},
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [known.high - known.mean],
                "arrayminus": [known.mean - known.low],
                "color": color_of(name),
                "thickness": 1,
                "width": 7,
            },
            "hovertemplate": f"{text}: %{{y:.2f}} ({known.low:.2f} to {known.high:.2f})<extra></extra>",
        }
    ]


def _bar(
    result: ExperimentResult, name: str, spot: Spot, middle: float, ends: Sequence[Callable[[Candidate], float]]
) -> dict[str, Any]:
    """Return an error bar from the one end to the other, the means over seeds; nothing where an end is not known."""
    low, high = (
        next((one.x[0] for one in spots(result, name, end, lambda candidate: 0.0) if one.at == spot.at), math.nan)
        for end in ends
    )
    if not (math.isfinite(low) and math.isfinite(high)):
        return {}
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - middle)],
        "arrayminus": [max(0.0, middle - low)],
        "color": pale(color_of(name), 0.25),
        "thickness": 9,
        "width": 0,
    }
