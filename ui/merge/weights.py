"""What happened to the weights: whether SLERP left the straight line, and whether an adapter dominates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from numembed.core.wording import decimal, percent, small
from numembed.figures.merge.weights import (
    MERGEKIT_DEGREES,
    SPACES,
    angles_figure,
    degrees_of,
    layers_figure,
    scale_figure,
    shift_figure,
    silhouettes_by_scale,
)
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.measures import DIRECTIONS
from numembed.merge_experiment.results import Straight
from ui.merge.charts import chart
from ui.shared.figure import how_computed
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_STRAIGHT = (
    Column("Between"),
    Column("Space", "Whether between the models’ weights, or between their updates of the base.", "line"),
    Column("Angle", "Of all changed tensors together, in degrees.", "number"),
    Column("Fell back", "Share of the parameters in tensors where mergekit’s SLERP is the straight line.", "number"),
    Column("Largest weight", "Largest difference of one weight, at the midpoint.", "number"),
    Column("Of the distance", "How far the arc is from the line, as a share of the way between both.", "number"),
    Column("Largest vector", "Largest distance between the two vectors of one text; vectors have length 1.", "number"),
)


def straight(result: ExperimentResult) -> None:
    """Draw the angle of every tensor, and how far SLERP was from the straight line."""
    st.subheader("Was it really SLERP?", anchor=False)
    texts = [_text(result.straight, space) for space in SPACES]
    chart(result, "angles", lambda look: angles_figure(result.straight, theme=look), " ".join(filter(None, texts)))
    for sentence in filter(None, texts):
        st.markdown(md_text(sentence))
    with how_computed("straight", numbers=True):
        table(_STRAIGHT, [_row(one) for one in result.straight], key="table straight", label="How straight each arc is")
        st.markdown(
            "Angles are of whole tensors, of those that training changes. Where the cosine of two tensors is above "
            f"0.9995 ({decimal(MERGEKIT_DEGREES, 1)}°), mergekit’s SLERP takes the straight line instead; the paths "
            "drawn here keep to the arc always, so that what it does is seen. Differences are half-way (t = 0.5), "
            "between the arc and the straight line of the same two models; the vectors’ are over all number texts. "
            "Tensors that are zero in one model have no angle and count as fallen back."
        )


def _text(listed: Sequence[Straight], space: str) -> str:
    """Return what the angles of one space say."""
    own = [one for one in listed if one.space == space]
    if not own:
        return ""
    angles = sorted(angle for one in own for angle in degrees_of(one))
    share = [one.parallel for one in own]
    vectors = [one.largest_vector for one in own if math.isfinite(one.largest_vector)]
    what = "models" if space == "weights" else "updates"
    middle = (
        f"The angle between two {what} is {decimal(angles[len(angles) // 2], 1)}° in the median tensor. "
        if angles
        else ""
    )
    low, high = percent(min(share)), percent(max(share))
    fell = low if low == high else f"{low} to {high}"
    apart = f", and of one text’s vectors at most {small(max(vectors))}" if vectors else ""
    return (
        f"{middle}In {fell} of the parameters mergekit’s SLERP would be the straight line. Half-way, one weight "
        f"differs by at most {small(max(one.largest_weight for one in own))} between the arc and the line{apart}."
    )


def _row(one: Straight) -> list[Cell]:
    angle = math.degrees(math.acos(max(-1.0, min(1.0, one.cosine)))) if math.isfinite(one.cosine) else math.nan
    return [
        Cell(one.between),
        Cell(SPACES.get(one.space, one.space)),
        number(angle, 1),
        Cell(percent(one.parallel), one.parallel),
        _small(one.largest_weight),
        Cell(percent(one.of_step, 2), one.of_step),
        _small(one.largest_vector),
    ]


def _small(value: float) -> Cell:
    return Cell(small(value), value) if math.isfinite(value) else Cell("–")


def dominance(result: ExperimentResult, titles: Mapping[str, str]) -> None:
    """Draw how much of each layer changed, into how few directions vectors move, and what more of an adapter does."""
    st.subheader("Does the adapter take over?", anchor=False)
    if result.dominance:
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown("**How much of each layer did training change?**")
            most = max(
                (
                    (layer.relative, layer.name)
                    for one in result.dominance
                    for layer in one.layers
                    if math.isfinite(layer.relative)
                ),
                default=None,
            )
            text = f"Most in {most[1]}: {percent(most[0], 1)} of its weights’ length." if most else ""
            chart(
                result, "layers", lambda look: layers_figure(result.dominance, theme=look), f"Update by layer. {text}"
            )
            st.caption(text)
        with right:
            st.markdown("**In how few directions do vectors move?**")
            text = _directions_text(result)
            chart(
                result,
                "shift",
                lambda look: shift_figure(result.dominance, DIRECTIONS, theme=look),
                f"Shares of the shift. {text}",
            )
            st.caption(text)
    st.markdown("**What happens as the adapter is scaled up?**")
    chart(
        result,
        "scale",
        lambda look: scale_figure(result, titles=dict(titles), theme=look),
        f"Silhouette as the scale grows. {_best_text(result, titles)}",
    )
    st.caption(
        "Where families are separated best. "
        + _best_text(result, titles)
        + " Bands go from the lowest to the highest seed."
    )
    with how_computed("dominance"):
        st.markdown(
            "A layer’s update is the length of the difference of all its adapted weights, as a share of their length "
            "before. The shift of the vectors is what an adapter adds to each number text’s vector; its share in the "
            "first directions is that of its squared length in its first singular vectors, not centred, so that a "
            "common push of all vectors counts as one direction. Scale 1 is the adapter as it was trained."
        )


def _directions_text(result: ExperimentResult) -> str:
    first = [shift.shares[0] for one in result.dominance for shift in one.shifts if shift.scale == 1 and shift.shares]
    known = [share for share in first if math.isfinite(share)]
    return f"At scale 1, {percent(sum(known) / len(known))} of the shift lies in one direction." if known else ""


def _best_text(result: ExperimentResult, titles: Mapping[str, str]) -> str:
    """Return at which scale the mean over seeds is highest, for each split."""
    texts = []
    for split in result.experiment.splits:
        if line := silhouettes_by_scale(result, split):
            best = max(line, key=lambda spot: spot.y[0])
            texts.append(f"{titles.get(split, split)}: highest at {best.at:g} ({decimal(best.y[0])})")
    return "; ".join(texts) + "." if texts else ""
