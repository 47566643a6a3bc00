"""What a table of scores says about the paper's reasons and readings: merging, KMeans, chance and surface patterns."""

from __future__ import annotations

from numembed.analysis.inference.estimates import difference, rank_correlation
from numembed.core.wording import decimal, span
from numembed.paper.comparison import (
    CHANCE,
    DIGITS_KMEANS,
    baseline_levels,
    decided_below,
    redrawing_margin,
    size_of,
)
from numembed.paper.judging import (
    FAILS,
    HOLDS,
    LANGUAGE_MODELS,
    LEAST_MODELS,
    OPEN,
    Table,
    Verdict,
    both,
    estimated,
    few,
    of_both,
    of_kind,
    pick,
    silhouettes,
    with_spread,
    word_of,
)
from numembed.paper.published import PublishedScore

_SAME = 5e-5  # what four printed digits do not tell apart


def _against_other_llms(table: Table, kind: str, name: str, claimed: str, cause: str, detail: str) -> Verdict:
    """Compare one kind of language model with the others; the ``cause`` stays open whatever they score."""
    chosen = of_kind(table, (kind,))
    others = of_kind(table, tuple(other for other in LANGUAGE_MODELS if other != kind))
    if not chosen or not others:
        return few(f"A {name} model and another one built on a language model are needed")
    gap, than = difference(silhouettes(chosen), silhouettes(others)), "than the other language models"
    models = f"{name[0].upper()}{name[1:]} models"
    what = pick(
        gap,
        f"{models} score higher {than}",
        f"{models} score lower {than}",
        f"Whether {name} models score {claimed} {than} cannot be determined",
    )
    return estimated(gap, OPEN, f"{what} ({gap.words}). {cause}", detail)


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
    if len(lines) < LEAST_MODELS:
        return few(f"At least {LEAST_MODELS} models are needed")
    gaps = [_gap(line) for line in lines]
    trend = rank_correlation([size_of(line) for line in lines], gaps)
    by_silhouette = rank_correlation(silhouettes(lines), gaps)
    detail = "The gap is also wider where the silhouette by family is lower, so this may repeat the trend with size."
    second = [line.davies_bouldin_families - line.davies_bouldin_kmeans for line in lines]
    return of_both(
        both(trend, rank_correlation([size_of(line) for line in lines], second), claimed=-1),
        trend,
        ("The gap is wider in smaller models", "The gap is wider in larger models"),
        "Whether the gap changes with size cannot be determined",
        "rank correlation of the gap with size",
        detail if by_silhouette.sign < 0 else "",
    )


def above_half(table: Table) -> Verdict:
    """Does every model stay below a silhouette of 0.5?"""
    best, baseline = max(table, key=lambda line: line.silhouette_families), baseline_levels()[0]
    margins = [redrawing_margin(line, comparisons=len(table)) for line in table]
    top, margin = best.silhouette_families, margins[list(table).index(best)]
    below = all(line.silhouette_families + own < 0.5 for line, own in zip(table, margins, strict=True))
    word = word_of(int(below) - int(top - margin > 0.5))
    ends = {HOLDS: "It stays below 0.5.", FAILS: "It is above 0.5.", OPEN: "On which side of 0.5 cannot be determined."}
    interval = f"95% interval {span(top - margin, top + margin, sign=True)}"
    detail = f"Higher scores are possible: {baseline.name.lower()}, ten counts, score {decimal(baseline.silhouette)}."
    sentence = f"The highest is {best.model} with {decimal(top)}, {interval}. {ends[word]}"
    found = Verdict(word, sentence, top, top - margin, top + margin, detail=detail, as_printed=top <= 0.5)
    stays = min(decided_below(0.5 - line.silhouette_families, line, comparisons=len(table)) for line in table)
    return with_spread(found, stays, decided_below(top - 0.5, best, comparisons=len(table)))


def negative(table: Table) -> Verdict:
    """Are the negative scores worse than chance?"""
    below = [line for line in table if line.silhouette_families < 0]
    own = [line for line in below if line.chance_low is not None]
    inside = sum(low <= line.silhouette_families <= high for line in below for low, high in [_chance_band(line)])
    count = "None" if not below else f"{len(below)} of {len(table)}"
    among = {0: "none", len(below): "all"}.get(inside, str(inside))
    text = (
        f"{count} of the scores is negative"
        if not below
        else f"{count} scores are negative, {among} of them in the range of shuffled families"
    )
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
    above = (
        f"all {len(table)}" if reached == len(table) else f"{reached} of the {len(table)}" if reached else "none of the"
    )
    sentence = (
        f"{baseline.name}, ten counts of surface features only, score {decimal(baseline.silhouette)}, higher than "
        f"{above} models. Whether models encode more than the surface cannot be determined from scores that "
        "surface features alone can reach"
    ) + ("." if reached == len(table) else ", nor from exceeding one such count.")
    return Verdict(OPEN, sentence, baseline.silhouette)


def _gap(line: PublishedScore) -> float:
    return line.silhouette_kmeans - line.silhouette_families
