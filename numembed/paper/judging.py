"""What all judges of claims share: the verdict, its words, and how far it depends on the redrawing of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from numembed.analysis.inference.estimates import Estimate
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import p_text, signed, span
from numembed.paper.comparison import REDRAWN_SD, facts_of_line
from numembed.paper.published import PublishedScore

HOLDS, FAILS = "holds", "does not hold"
OPEN, FEW = "cannot be determined from these numbers", "not enough runs here yet"
WORDS = (HOLDS, FAILS, OPEN, FEW)
LANGUAGE_MODELS = ("llm", "lora", "souping", "slerp")
LEAST_MODELS = 5  # for a rank correlation
METRICS = ("silhouette", "davies_bouldin")
_NAMES = {"silhouette": "silhouette", "davies_bouldin": "Davies–Bouldin index"}

Table = Sequence[PublishedScore]


@dataclass(frozen=True)
class OfMetric:
    """What one of the two metrics says of a claim, turned so that more is better; p adjusted for both (Holm)."""

    metric: str
    word: str
    value: float
    low: float | None  # 95% interval; None where there is none
    high: float | None
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class Verdict:
    """What a table says of a claim: one of WORDS, a sentence made from the numbers, and those numbers."""

    word: str
    sentence: str
    value: float | None = None
    low: float | None = None  # 95% interval; None where there is none
    high: float | None = None
    p: float | None = None
    detail: str = ""
    metrics: tuple[OfMetric, ...] = ()  # where the claim speaks of metrics: both of them
    flips_at: float | None = None  # standard deviation of redrawing at which the word changes; None where at none
    spread: str = ""  # the same in a sentence
    as_printed: bool | None = None  # whether the printed sentence is true of the numbers as they are; None: not asked


@dataclass(frozen=True)
class Both:
    """The estimates of both metrics, turned so that more is better."""

    of: tuple[OfMetric, OfMetric]

    @property
    def signs(self) -> tuple[int, int]:
        """For either metric 1 where it bears the claim out, −1 where it says the opposite, else 0."""
        first, second = (sign_of(one.word) for one in self.of)
        return first, second

    @property
    def sign(self) -> int:
        """What holds of "the metrics": 1 where both say so, −1 where either says the opposite, else 0."""
        return -1 if -1 in self.signs else int(self.signs == (1, 1))

    @property
    def words(self) -> str:
        """Both numbers with their intervals and adjusted p in words."""
        return "; ".join(_numbers(one) for one in self.of) + "; p adjusted for both metrics"


def both(silhouette: Estimate, davies_bouldin: Estimate, *, claimed: int = 1) -> Both:
    """Return both estimates with p adjusted for their number; ``davies_bouldin`` is turned so that more is better.

    ``claimed`` is the sign that the claim states.
    """
    estimates = (silhouette, davies_bouldin)
    adjusted = [one or 0.0 for one in holm([one.p for one in estimates])]
    first, second = (
        OfMetric(metric, word_of(claimed * sign), one.value, finite(one.low), finite(one.high), one.p, p)
        for metric, one, p in zip(METRICS, estimates, adjusted, strict=True)
        for sign in [one.sign if p <= LEVEL else 0]
    )
    return Both((first, second))


def told_of_both(found: Both, higher: str, lower: str, nothing: str) -> str:
    """Return what both metrics say, without an end; where they differ, what each says.

    The phrases go on after "by the silhouette "; ``nothing`` is that of an open question about both.
    """
    if found.signs[0] == found.signs[1]:
        return {1: f"{higher} in both metrics", -1: f"{lower} in both metrics", 0: nothing}[found.signs[0]]
    phrases = {1: higher, -1: lower, 0: "no difference can be shown"}
    each = "; ".join(
        f"by the {_NAMES[one.metric]}: {phrases[sign_of(one.word)][0].lower()}{phrases[sign_of(one.word)][1:]}"
        for one in found.of
    )
    rest = "" if found.sign else "; so of both metrics it cannot be determined"
    return each[0].upper() + each[1:] + rest


def spread_text(word: str, flips_at: float | None) -> str:
    """Return at which spread of redrawn windows a verdict would be another; "" where it does not depend on it."""
    if flips_at is None:
        return ""
    if word == OPEN:
        return (
            f"It could be determined only under a spread of redrawn windows (SD) below {_small(flips_at)}; assumed is "
            f"{REDRAWN_SD:g} where none was measured."
        )
    kept = "It holds" if word == HOLDS else "It fails"
    return (
        f"{kept} under any spread of redrawn windows (SD) below {_small(flips_at)}; above, it could not be determined. "
        f"Assumed is {REDRAWN_SD:g} where none was measured."
    )


def flip(*thresholds: float) -> float | None:
    """Return the largest spread below which a question is decided, from those of its answers; None where every spread
    gives the same."""
    largest = max(thresholds, default=0.0)
    return largest if 0 < largest < math.inf else None


def of_both(found: Both, first: Estimate, phrases: tuple[str, str], nothing: str, of: str, detail: str) -> Verdict:
    """Return the verdict on "the metrics"; its plain numbers are those of the silhouette as printed before."""
    sentence = f"{told_of_both(found, *phrases, nothing)} ({of}: {found.words})."
    return replace(estimated(first, word_of(found.sign), sentence, detail), metrics=found.of)


def with_spread(found: Verdict, *thresholds: float) -> Verdict:
    """Return a verdict with the spread at which it would flip, from those below which its answers are decided."""
    at = flip(*thresholds)
    return replace(found, flips_at=at, spread=spread_text(found.word, at))


def pick(estimate: Estimate, higher: str, lower: str, neither: str) -> str:
    """Return the text for the sign of an estimate."""
    return {1: higher, -1: lower, 0: neither}[estimate.sign]


def estimated(estimate: Estimate, word: str, sentence: str, detail: str) -> Verdict:
    """Return a verdict with the numbers of an estimate."""
    return Verdict(word, sentence, estimate.value, finite(estimate.low), finite(estimate.high), estimate.p, detail)


def few(needed: str) -> Verdict:
    """Return the verdict on too few lines."""
    return Verdict(FEW, f"{needed}.")


def word_of(sign: int) -> str:
    """Return the word of a sign: the claim is of 1."""
    return {1: HOLDS, -1: FAILS, 0: OPEN}[sign]


def sign_of(word: str) -> int:
    """Return the sign of a word."""
    return {HOLDS: 1, FAILS: -1}.get(word, 0)


def finite(end: float) -> float | None:
    """Return an end of an interval; None where there is none."""
    return None if math.isinf(end) else end


def silhouettes(lines: Table) -> list[float]:
    """Return the silhouettes by family."""
    return [line.silhouette_families for line in lines]


def closeness(lines: Table) -> list[float]:
    """Return the Davies–Bouldin indices by family, turned so that more is better."""
    return [-line.davies_bouldin_families for line in lines]


def of_kind(table: Table, kinds: Sequence[str]) -> list[PublishedScore]:
    """Return the lines of these kinds of models."""
    return [line for line in table if (facts := facts_of_line(line)) is not None and facts.family in kinds]


def _numbers(one: OfMetric) -> str:
    turned = "" if one.metric == "silhouette" else ", turned so that more is better,"
    if one.low is None or one.high is None:
        return f"{_NAMES[one.metric]}{turned} {signed(one.value)}; groups this small have no interval"
    interval = f"95% interval {span(one.low, one.high, sign=True)}"
    return f"{_NAMES[one.metric]}{turned} {signed(one.value)}, {interval}, {p_text(one.p_adjusted)}"


def _small(value: float) -> str:
    return f"{value:.2g}" if value < 0.01 else f"{value:.3f}"
