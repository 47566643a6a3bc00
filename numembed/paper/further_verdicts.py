"""What a table says about the paper's claims on sizes of one series, small models, maps, stability and patterns.

Where a table of scores cannot say anything, the verdict says so and which page would.
"""

from __future__ import annotations

import itertools

from numembed.analysis.inference.estimates import difference, rank_correlation
from numembed.core.wording import decimal, listed, signed
from numembed.paper.comparison import Pair, counted, decided_below, excess, redrawing_margin, size_of
from numembed.paper.judging import (
    FAILS,
    HOLDS,
    LEAST_MODELS,
    OPEN,
    Table,
    Verdict,
    estimated,
    few,
    silhouettes,
    with_spread,
    word_of,
)
from numembed.paper.published import PublishedScore

_LARGE = 4_000  # million parameters from which section 7 calls a model large
_SMALL = 650  # million parameters: the range of 0.3B to 0.6B
_SERIES = "qwen3"
_COLUMNS = 4


def qwen_large(table: Table) -> Verdict:
    """Do the large Qwen3 models win against all others, in all four columns?"""
    large = [line for line in _series(table) if size_of(line) >= _LARGE]
    others = [line for line in table if line not in _series(table)]
    if not large or not others:
        return few("A Qwen3 model of at least 4 billion parameters and a model that is no Qwen3 are needed")
    pairs: list[Pair] = list(itertools.product(others, large))
    lost = [pair for pair in pairs if _columns_won(*pair)]
    cells = sum(_columns_won(*pair) for pair in pairs)
    printed = "As printed it is true of this table: they are ahead in all four columns"
    if lost:
        behind = {one.model: [other.model for other, each in lost if each is one] for one in large}
        names = "; ".join(f"{listed(others)} against {model}" for model, others in behind.items() if others)
        printed = (
            f"As printed it is not true of this table: in {cells} of {_COLUMNS * len(pairs)} comparisons another model "
            f"is as good or better ({names})"
        )
    count = counted(pairs)
    word = FAILS if count.clear else HOLDS if count.ahead and not lost else OPEN
    end = {
        FAILS: f"In {count.clear} of {len(pairs)} pairs its silhouette is higher {count.beyond}.",
        HOLDS: "Redrawing the windows does not explain the silhouettes.",
        OPEN: "Redrawing the windows may reverse some of the silhouettes, so whether they are better than all others "
        "cannot be determined.",
    }[word]
    decided = [
        [decided_below(side * excess(pair), *pair, comparisons=len(pairs)) for pair in pairs] for side in (1, -1)
    ]
    found = Verdict(word, f"{printed}. {end}", cells / (_COLUMNS * len(pairs)), as_printed=not lost)
    return with_spread(found, max(decided[0]), 0.0 if lost else min(decided[1]))


def qwen_small(table: Table) -> Verdict:
    """Do some Qwen3 models score higher than larger models that were not merged by SLERP?"""
    pairs = [
        (other, one)
        for other, one in itertools.product(table, _series(table))
        if other not in _series(table) and size_of(one) < size_of(other) and size_of(other) >= _LARGE
    ]
    if not pairs:
        return few("A Qwen3 model and a larger model of another kind are needed")
    ahead = sum(excess(pair) < 0 for pair in pairs)
    clear = [-excess(pair) > redrawing_margin(*pair, comparisons=len(pairs)) for pair in pairs]
    none = all(excess(pair) > redrawing_margin(*pair, comparisons=len(pairs)) for pair in pairs)
    word = HOLDS if any(clear) else FAILS if none else OPEN
    text = f"In {ahead} of {len(pairs)} pairs the smaller Qwen3 model has the higher silhouette"
    end = {
        HOLDS: f"{text}, in {sum(clear)} by more than redrawing the windows explains.",
        FAILS: f"{text}: in all pairs the larger model is ahead by more than redrawing the windows explains.",
        OPEN: f"{text}. Redrawing the windows may reverse each, so it cannot be determined.",
    }[word]
    detail = (
        "All Qwen3 models are merged by SLERP and no other model is, so the merge cannot be separated from the series."
    )
    some = max(decided_below(-excess(pair), *pair, comparisons=len(pairs)) for pair in pairs)
    every = min(decided_below(excess(pair), *pair, comparisons=len(pairs)) for pair in pairs)
    found = Verdict(word, end, ahead / len(pairs), detail=detail, as_printed=ahead > 0)
    return with_spread(found, some, every)


def small_models(table: Table) -> Verdict:
    """Do small models score lower than larger ones, and higher by KMeans than by family?"""
    lines = [line for line in table if size_of(line)]
    small, larger = [one for one in lines if size_of(one) <= _SMALL], [one for one in lines if size_of(one) > _SMALL]
    if len(small) < 2 or len(larger) < 2:
        return few("Two models of at most 0.65 billion parameters and two larger ones are needed")
    gap = difference(silhouettes(larger), silhouettes(small))
    negative = sum(line.silhouette_families < 0 for line in small)
    improved = [_improved(line) for line in small]
    word = word_of(gap.sign) if all(improved) or gap.sign < 0 else FAILS if not any(improved) else OPEN
    lead = {
        1: "Small models score lower on average",
        -1: "Small models score higher on average",
        0: "That small models score lower on average is not shown",
    }[gap.sign]
    text = (
        f"{lead} (larger minus small {gap.words}), and {negative} of {len(small)} are negative. By KMeans "
        f"{sum(improved)} of {len(small)} score better than by family, in both metrics"
    )
    sentence = f"{text}." if word != OPEN else f"{text}. Whether all of it holds cannot be determined."
    best = max(small, key=lambda line: line.silhouette_families)
    detail = (
        f"The highest of the small models is {best.model} with {decimal(best.silhouette_families)}. KMeans looks for "
        "compact groups, so it scores higher for any vectors: that is no sign of regularities that a model learned."
    )
    return estimated(gap, word, sentence, detail)


def scaling(table: Table) -> Verdict:
    """Do the scores of the Qwen3 series rise with size?"""
    lines = sorted((line for line in _series(table) if size_of(line)), key=size_of)
    if len(lines) < 2:
        return few("Two Qwen3 models are needed")
    steps = list(itertools.pairwise(lines))
    rises = sum(excess(step) < 0 for step in steps)
    values = ", ".join(f"{line.model} {decimal(line.silhouette_families)}" for line in lines)
    text = f"In {rises} of {len(steps)} steps to the next size the silhouette rises ({values})"
    if len(lines) < LEAST_MODELS:
        sentence = (
            f"{text}, but {len(lines)} sizes are too few for a test of the order. Whether larger models would go on "
            "rising cannot be determined."
        )
        gains = [signed(-excess(step), 3) for step in steps]
        margin = redrawing_margin(*steps[-1], comparisons=len(steps))
        detail = f"Gains of the steps: {', '.join(gains)}; redrawing the windows explains up to {decimal(margin, 3)}."
        return Verdict(OPEN, sentence, rises / len(steps), detail=detail)
    trend = rank_correlation([size_of(line) for line in lines], silhouettes(lines))
    end = {
        HOLDS: "larger ones of the series score higher",
        FAILS: "larger ones of the series score lower",
        OPEN: "whether larger ones of the series score higher cannot be determined",
    }[word_of(trend.sign)]
    return estimated(trend, word_of(trend.sign), f"{text}; {end} ({trend.words}).", "")


def stable(table: Table) -> Verdict:
    """Do the scores of larger models change less with the choice of windows?"""
    known = [line for line in table if line.redrawn_sd is not None and size_of(line)]
    if len(known) < LEAST_MODELS:
        sentence = (
            "Not tested here: each score is of one choice of windows, so how stable it is cannot be determined. "
            "Redrawing the windows on Compare shows how much a model's score varies."
        )
        return Verdict(
            OPEN, sentence, detail=f"From {LEAST_MODELS} models redrawn here on, this is tested on the runs."
        )
    trend = rank_correlation([size_of(line) for line in known], [line.redrawn_sd or 0.0 for line in known])
    what = {
        HOLDS: "Scores of larger models vary less over redrawn windows",
        FAILS: "Scores of larger models vary more over redrawn windows",
        OPEN: "Whether scores of larger models vary less over redrawn windows cannot be determined",
    }[word_of(-trend.sign)]
    return estimated(trend, word_of(-trend.sign), f"{what} (rank correlation of size and spread {trend.words}).", "")


def tsne_distinct(table: Table) -> Verdict:
    """Are the t-SNE maps of language models clearer?"""
    return Verdict(
        OPEN,
        "Not tested here: the table holds scores and no maps, so the shape of clusters on a map cannot be determined. "
        "Once models were run, Maps shows each one's t-SNE map with other seeds and beside noise, and what it keeps.",
        detail="A map of t-SNE changes with its seed; how far groups lie apart on it has no meaning.",
    )


def tsne_elongated(table: Table) -> Verdict:
    """Are elongated shapes on a map a sign of poor structure?"""
    return Verdict(
        OPEN,
        "Not tested here: the table holds no maps, and whether a shape on a map is one of the vectors cannot be "
        "determined from scores. Maps compares a model's t-SNE map with PCA, with other seeds and with noise.",
        detail="The shape of a group on a t-SNE map also depends on the perplexity and the seed.",
    )


def higher_order(table: Table) -> Verdict:
    """Do language models encode patterns of a higher order?"""
    return Verdict(
        OPEN,
        "Not tested here: one score of six families together does not say which property of the numbers separates "
        "them, so the order of a pattern cannot be determined. Generalise tests single properties on families that "
        "were never seen, and Robustness which changes of the numbers move a score.",
        detail="That language models score higher on average is tested by another claim.",
    )


def _series(table: Table) -> list[PublishedScore]:
    return [line for line in table if _SERIES in line.model.casefold()]


def _columns_won(one: PublishedScore, other: PublishedScore) -> int:
    """Return in how many of the four columns the first line is at least as good as the second."""
    return sum(
        (
            one.silhouette_families >= other.silhouette_families,
            one.davies_bouldin_families <= other.davies_bouldin_families,
            one.silhouette_kmeans >= other.silhouette_kmeans,
            one.davies_bouldin_kmeans <= other.davies_bouldin_kmeans,
        )
    )


def _improved(line: PublishedScore) -> bool:
    return (
        line.silhouette_kmeans > line.silhouette_families and line.davies_bouldin_kmeans < line.davies_bouldin_families
    )
