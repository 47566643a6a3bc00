"""What a table of scores says about each of the paper's claims: one small function for each claim.

A verdict is made from a table alone, so that the same functions judge Table 2, a visitor's own runs and shuffled
numbers. A table has two lines or more. No sentence goes beyond its interval.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from numembed.analysis.inference.estimates import Estimate, difference, rank_correlation
from numembed.core.wording import decimal, span
from numembed.paper.comparison import (
    CHANCE,
    DIGITS_KMEANS,
    against_others,
    baseline_levels,
    counted,
    excess,
    facts_of_line,
    redrawing_margin,
    size_of,
    source_of_variation,
)
from numembed.paper.published import PublishedScore

HOLDS, FAILS = "holds", "does not hold"
OPEN, FEW = "cannot be determined from these numbers", "not enough runs here yet"
WORDS = (HOLDS, FAILS, OPEN, FEW)

_LEAST_MODELS = 5  # for a rank correlation
_SAME = 5e-5  # what four printed digits do not tell apart
_LANGUAGE_MODELS = ("llm", "lora", "souping", "slerp")
_BEST = "Qwen3 Embedding(8B)"
_REVERSIBLE = "by gaps so small that redrawing the windows may reverse them: it cannot be determined."

Table = Sequence[PublishedScore]


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


def size_trend(table: Table) -> Verdict:
    """Do larger models score higher?"""
    lines = [line for line in table if size_of(line)]
    if len(lines) < _LEAST_MODELS:
        return _few(f"At least {_LEAST_MODELS} models are needed")
    trend, built, detail = _with_size(lines), _of_kind(lines, _LANGUAGE_MODELS), ""
    if _LEAST_MODELS <= len(built) < len(lines):
        among_built = _with_size(built)
        detail = f"Among only the {len(built)} models built on a language model, " + _pick(
            among_built,
            f"larger ones score higher too ({among_built.words}).",
            f"larger ones score lower ({among_built.words}).",
            f"no link can be shown ({among_built.words}). Size and kind go together here, so their effects cannot be "
            "separated (confounded).",
        )
    sentence = _pick(
        trend,
        f"Larger models score higher: rank correlation {trend.words}. The strength of the relation remains unknown.",
        f"Larger models score lower: rank correlation {trend.words}.",
        f"Whether larger models score higher cannot be determined: rank correlation {trend.words}.",
    )
    return _estimated(trend, _word(trend.sign), sentence, detail)


def monotonic(table: Table) -> Verdict:
    """Does every larger model score higher than every smaller one?"""
    lines = sorted((line for line in table if size_of(line)), key=size_of)
    pairs = [(a, b) for a, b in itertools.combinations(lines, 2) if size_of(a) < size_of(b)]
    if not pairs:
        return _few("Two models of different size are needed")
    small, large = max(pairs, key=excess)
    count = counted(pairs)
    share = count.against / len(pairs)
    text = f"In {count.against} of {len(pairs)} pairs the smaller model scores higher"
    if count.clear:
        ends = ", ".join(f"{line.model} with {decimal(line.silhouette_families)}" for line in (small, large))
        sentence = f"{text}, in {count.clear} {count.beyond}."
        return Verdict(FAILS, sentence, share, detail=f"The widest gap: {ends}.")
    if not count.ahead:
        return Verdict(OPEN, f"{text}, {_REVERSIBLE}", share)
    return Verdict(HOLDS, f"{text}.", share)


def backbone(table: Table) -> Verdict:
    """Do models built on a language model score higher than encoders?"""
    built, encoders = _of_kind(table, _LANGUAGE_MODELS), _of_kind(table, ("encoder",))
    if len(built) < 2 or len(encoders) < 2:
        return _few("Two models of each kind are needed")
    gap = difference(_silhouettes(built), _silhouettes(encoders))
    sentence = _pick(
        gap,
        f"Models built on a language model score higher on average ({gap.words}).",
        f"Encoders score higher on average ({gap.words}).",
        f"Whether either kind scores higher cannot be determined ({gap.words}).",
    )
    largest = max(map(size_of, encoders))
    alike = sum(size_of(line) <= 1.1 * largest for line in built)
    detail = (
        f"No encoder here has more than {decimal(largest / 1000, 1)} billion parameters, and {alike} of the "
        f"{len(built)} others are as small: kind and size go together, so their effects cannot be separated "
        "(confounded)."
    )
    return _estimated(gap, _word(gap.sign), sentence, detail)


def qwen(table: Table) -> Verdict:
    """Do the Qwen-based models win against all the others?"""
    pairs, third = against_others(table, "qwen"), against_others(table, "qwen3")
    if not pairs:
        return _few("A Qwen-based model and another one are needed")
    count = counted(pairs)
    against, clear = count.against, count.clear
    second = sum(rival.davies_bouldin_families < one.davies_bouldin_families for rival, one in pairs)
    ahead = count.ahead and not second
    text = f"{against} of {len(pairs)} pairs contradict it in the silhouette, and {second} in the Davies–Bouldin index"
    only = f"With only the Qwen3 models, {counted(third).against} of {len(third)} pairs contradict it."
    detail = only if third else ""
    if clear:
        tail = f"; {clear} of the former {count.beyond}."
        return Verdict(FAILS, text + tail, against / len(pairs), detail=detail)
    tail = "." if ahead else f", {_REVERSIBLE}"
    return Verdict(HOLDS if ahead else OPEN, text + tail, against / len(pairs), detail=detail)


def best_model(table: Table) -> Verdict:
    """Does Qwen3-Embedding-8B lead clearly?"""
    best, rivals = [line for line in table if line.model == _BEST], [line for line in table if line.model != _BEST]
    if not best or not rivals:
        return _few("Qwen3-Embedding-8B and another model are needed")
    rival = max(rivals, key=lambda line: line.silhouette_families)
    lead, margin = -excess((rival, best[0])), redrawing_margin(rival, best[0], comparisons=len(rivals))
    word = _word(int(lead > margin) - int(lead < -margin))
    end = (
        "Redrawing the windows alone may reverse such a gap, so which is better cannot be determined."
        if word == OPEN
        else "Redrawing the windows does not explain it."
    )
    sentence = (
        f"Its silhouette is {decimal(abs(lead), 3)} {'above' if lead > 0 else 'below'} that of {rival.model}, "
        f"95% interval {span(lead - margin, lead + margin, sign=True)}. {end}"
    )
    return Verdict(word, sentence, lead, lead - margin, lead + margin, detail=source_of_variation((rival, best[0])))


def _against_other_llms(table: Table, kind: str, name: str, claimed: str, cause: str, detail: str) -> Verdict:
    """Compare one kind of language model with the others; the ``cause`` stays open whatever they score."""
    chosen = _of_kind(table, (kind,))
    others = _of_kind(table, tuple(other for other in _LANGUAGE_MODELS if other != kind))
    if not chosen or not others:
        return _few(f"A {name} model and another one built on a language model are needed")
    gap, than = difference(_silhouettes(chosen), _silhouettes(others)), "than the other language models"
    models = f"{name[0].upper()}{name[1:]} models"
    what = _pick(
        gap,
        f"{models} score higher {than}",
        f"{models} score lower {than}",
        f"Whether {name} models score {claimed} {than} cannot be determined",
    )
    return _estimated(gap, OPEN, f"{what} ({gap.words}). {cause}", detail)


def slerp(table: Table) -> Verdict:
    """Do SLERP models score higher, and can SLERP be the reason?"""
    return _against_other_llms(
        table,
        "slerp",
        "SLERP",
        "higher",
        "The effect of SLERP itself cannot be determined: all of them are Qwen3 models, and no other model is.",
        "The table lists no model both with and without its merge, or together with its base.",
    )


def souping(table: Table) -> Verdict:
    """Do souped models score lower, and can LoRA be the reason?"""
    return _against_other_llms(
        table,
        "souping",
        "souped",
        "lower",
        "The effect of souping cannot be determined: the table has no model both with and without it.",
        "As far as any source shows, EmbeddingGemma and Llama-Embed-Nemotron were trained without LoRA, so LoRA "
        "could not dominate.",
    )


def lora(table: Table) -> Verdict:
    """Is a LoRA model listed together with its base?"""
    among = f"None of the {len(table)} models is listed together with its base"
    return Verdict(OPEN, f"{among}, so the effect of LoRA cannot be determined.")


def kmeans_other(table: Table) -> Verdict:
    """Does KMeans also score higher where nothing was learned?"""
    gaps = [_gap(line) for line in table]
    higher, equal = sum(gap > _SAME for gap in gaps), sum(abs(gap) <= _SAME for gap in gaps)
    digits = next(level for level in baseline_levels() if level.name == "Digits")
    sentence = (
        f"KMeans scores higher in {higher} of {len(table)} models, but also for counts of the ten digits, where "
        f"nothing was learned ({decimal(digits.silhouette)} by family, {decimal(DIGITS_KMEANS)} by KMeans). Whether "
        "the geometry was learned cannot be determined."
    )
    text = f"In {equal} models both scores are equal: KMeans most likely found the families there."
    return Verdict(OPEN, sentence, higher / len(table), detail=text if equal else "")


def kmeans_small(table: Table) -> Verdict:
    """Is the gap between KMeans and families wider in smaller models?"""
    lines = [line for line in table if size_of(line)]
    if len(lines) < _LEAST_MODELS:
        return _few(f"At least {_LEAST_MODELS} models are needed")
    gaps = [_gap(line) for line in lines]
    trend = rank_correlation([size_of(line) for line in lines], gaps)
    by_silhouette = rank_correlation(_silhouettes(lines), gaps)
    sentence = _pick(
        trend,
        f"The gap is wider in larger models: rank correlation with size {trend.words}.",
        f"The gap is wider in smaller models: rank correlation with size {trend.words}.",
        f"Whether the gap changes with size cannot be determined: rank correlation {trend.words}.",
    )
    detail = "The gap is also wider where the silhouette by family is lower, so this may repeat the trend with size."
    return _estimated(trend, _word(-trend.sign), sentence, detail if by_silhouette.sign < 0 else "")


def above_half(table: Table) -> Verdict:
    """Does every model stay below a silhouette of 0.5?"""
    best, baseline = max(table, key=lambda line: line.silhouette_families), baseline_levels()[0]
    margins = [redrawing_margin(line, comparisons=len(table)) for line in table]
    top, margin = best.silhouette_families, margins[list(table).index(best)]
    below = all(line.silhouette_families + own < 0.5 for line, own in zip(table, margins, strict=True))
    word = _word(int(below) - int(top - margin > 0.5))
    ends = {HOLDS: "It stays below 0.5.", FAILS: "It is above 0.5.", OPEN: "On which side of 0.5 cannot be determined."}
    interval = f"95% interval {span(top - margin, top + margin, sign=True)}"
    detail = f"Higher scores are possible: {baseline.name.lower()}, ten counts, score {decimal(baseline.silhouette)}."
    sentence = f"The highest is {best.model} with {decimal(top)}, {interval}. {ends[word]}"
    return Verdict(word, sentence, top, top - margin, top + margin, detail=detail)


def negative(table: Table) -> Verdict:
    """Are the negative scores worse than chance?"""
    below = [line for line in table if line.silhouette_families < 0]
    own = [line for line in below if line.chance_low is not None]
    inside = sum(low <= line.silhouette_families <= high for line in below for low, high in [_chance_band(line)])
    text = f"{len(below)} of {len(table)} scores are negative, {inside} of them in the range of shuffled families"
    open_ = "The chance level is not 0, so what the models encode cannot be determined."
    low, high = CHANCE.silhouette_band
    if below and len(own) == len(below):
        detail = "Each is compared with the chance level of its own vectors (families shuffled)."
        return Verdict(OPEN, f"{text}. {open_}", inside / len(below), detail=detail)
    detail = "Every model has its own chance level, which is known once the model has been run here."
    if own:
        detail = f"Those without their own chance level are compared with that of {CHANCE.name}."
    sentence = f"{text}: {decimal(low)} to {decimal(high)} for {CHANCE.name}. {open_}"
    return Verdict(OPEN, sentence, CHANCE.silhouette, low, high, detail=detail)


def _chance_band(line: PublishedScore) -> tuple[float, float]:
    if line.chance_low is None or line.chance_high is None:
        return CHANCE.silhouette_band
    return line.chance_low, line.chance_high


def surface(table: Table) -> Verdict:
    """Does any model score higher than counts of last digits?"""
    baseline = baseline_levels()[0]
    reached = sum(line.silhouette_families < baseline.silhouette for line in table)
    sentence = (
        f"{baseline.name}, ten counts of surface features only, score {decimal(baseline.silhouette)}, above {reached} "
        f"of {len(table)} models. Whether models encode more than the surface cannot be determined from scores that "
        "surface features alone can reach"
    ) + ("." if reached == len(table) else ", nor from exceeding one such count.")
    return Verdict(OPEN, sentence, baseline.silhouette)


def _few(needed: str) -> Verdict:
    return Verdict(FEW, f"{needed}.")


def _word(sign: int) -> str:
    return {1: HOLDS, -1: FAILS, 0: OPEN}[sign]


def _pick(estimate: Estimate, higher: str, lower: str, neither: str) -> str:
    return {1: higher, -1: lower, 0: neither}[estimate.sign]


def _estimated(estimate: Estimate, word: str, sentence: str, detail: str) -> Verdict:
    low, high = (None if math.isinf(end) else end for end in (estimate.low, estimate.high))
    return Verdict(word, sentence, estimate.value, low, high, estimate.p, detail)


def _with_size(lines: Table) -> Estimate:
    return rank_correlation([size_of(line) for line in lines], _silhouettes(lines))


def _silhouettes(lines: Table) -> list[float]:
    return [line.silhouette_families for line in lines]


def _gap(line: PublishedScore) -> float:
    return line.silhouette_kmeans - line.silhouette_families


def _of_kind(table: Table, kinds: Sequence[str]) -> list[PublishedScore]:
    return [line for line in table if (facts := facts_of_line(line)) is not None and facts.family in kinds]
