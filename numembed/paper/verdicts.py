"""What a table of scores says about each of the paper's claims: one small function for each claim.

A verdict is made from a table alone, so that the same functions judge Table 2, a visitor's own runs and shuffled
numbers. A table has two lines or more. No sentence goes beyond its interval.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from numembed.analysis.inference.estimates import Estimate, difference, rank_correlation
from numembed.core.wording import decimal, span
from numembed.paper.comparison import (
    Pair,
    against_others,
    counted,
    decided_below,
    excess,
    redrawing_margin,
    size_of,
    source_of_variation,
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
    closeness,
    few,
    of_both,
    of_kind,
    pick,
    silhouettes,
    with_spread,
    word_of,
)
from numembed.paper.published import PublishedScore

_BEST, _BEST_NAME = "Qwen3 Embedding(8B)", "Qwen3-Embedding-8B"
_UNKNOWN = "How much redrawing moves the Davies–Bouldin index was not measured: its pairs are counted, not tested."
_REVERSIBLE = "by gaps so small that redrawing the windows may reverse them: it cannot be determined."


def size_trend(table: Table) -> Verdict:
    """Do larger models score higher?"""
    lines = [line for line in table if size_of(line)]
    if len(lines) < LEAST_MODELS:
        return few(f"At least {LEAST_MODELS} models are needed")
    trend, built, detail = _with_size(lines), of_kind(lines, LANGUAGE_MODELS), ""
    if LEAST_MODELS <= len(built) < len(lines):
        among_built = _with_size(built)
        detail = f"Among only the {len(built)} models built on a language model, " + pick(
            among_built,
            f"larger ones score higher too ({among_built.words}).",
            f"larger ones score lower ({among_built.words}).",
            f"no link can be shown ({among_built.words}). Size and kind go together here, so their effects cannot be "
            "separated (confounded).",
        )
    return of_both(
        both(trend, rank_correlation([size_of(line) for line in lines], closeness(lines))),
        trend,
        ("Larger models score higher", "Larger models score lower"),
        "Whether larger models score higher cannot be determined",
        "rank correlation with size",
        detail,
    )


def monotonic(table: Table) -> Verdict:
    """Does every larger model score higher than every smaller one?"""
    lines = sorted((line for line in table if size_of(line)), key=size_of)
    pairs = [(a, b) for a, b in itertools.combinations(lines, 2) if size_of(a) < size_of(b)]
    if not pairs:
        return few("Two models of different size are needed")
    small, large = max(pairs, key=excess)
    count, closer = counted(pairs), _closer(pairs)
    share = count.against / len(pairs)
    text = f"In {count.against} of {len(pairs)} pairs the smaller model scores higher in the silhouette"
    tail = f"In the Davies–Bouldin index the smaller one is better in {closer}."
    if count.clear:
        ends = ", ".join(f"{line.model} with {decimal(line.silhouette_families)}" for line in (small, large))
        found = Verdict(FAILS, f"{text}, in {count.clear} {count.beyond}. {tail}", share)
        return with_spread(replace(found, detail=f"The widest gap: {ends}. {_UNKNOWN}"), *_pairs_decided(pairs, closer))
    if not count.ahead or closer:
        return with_spread(Verdict(OPEN, f"{text}, {_REVERSIBLE} {tail}", share), *_pairs_decided(pairs, closer))
    return with_spread(Verdict(HOLDS, f"{text}. {tail}", share, detail=_UNKNOWN), *_pairs_decided(pairs, closer))


def backbone(table: Table) -> Verdict:
    """Do models built on a language model score higher than encoders?"""
    built, encoders = of_kind(table, LANGUAGE_MODELS), of_kind(table, ("encoder",))
    if len(built) < 2 or len(encoders) < 2:
        return few("Two models of each kind are needed")
    gap = difference(silhouettes(built), silhouettes(encoders))
    largest = max(map(size_of, encoders))
    alike = sum(size_of(line) <= 1.1 * largest for line in built)
    detail = (
        f"No encoder here has more than {decimal(largest / 1000, 1)} billion parameters, and {alike} of the "
        f"{len(built)} others are as small: kind and size go together, so their effects cannot be separated "
        "(confounded)."
    )
    return of_both(
        both(gap, difference(closeness(built), closeness(encoders))),
        gap,
        ("Models built on a language model score higher on average", "Encoders score higher on average"),
        "Whether either kind scores higher cannot be determined",
        "difference of the means",
        detail,
    )


def qwen(table: Table) -> Verdict:
    """Do the Qwen-based models win against all the others?"""
    pairs, third = against_others(table, "qwen"), against_others(table, "qwen3")
    if not pairs:
        return few("A Qwen-based model and another one are needed")
    count = counted(pairs)
    against, clear = count.against, count.clear
    second = _closer(pairs)
    ahead = count.ahead and not second
    text = f"{against} of {len(pairs)} pairs contradict it in the silhouette, and {second} in the Davies–Bouldin index"
    only = f"With only the Qwen3 models, {counted(third).against} of {len(third)} pairs contradict it."
    detail = only if third else ""
    if clear:
        tail = f"; {clear} of the former {count.beyond}."
        found = Verdict(FAILS, text + tail, against / len(pairs), detail=detail)
    else:
        tail = "." if ahead else f", {_REVERSIBLE}"
        found = Verdict(HOLDS if ahead else OPEN, text + tail, against / len(pairs), detail=detail)
    return with_spread(found, *_pairs_decided(pairs, second))


def best_model(table: Table) -> Verdict:
    """Does Qwen3-Embedding-8B lead clearly?"""
    best, rivals = [line for line in table if line.model == _BEST], [line for line in table if line.model != _BEST]
    if not best or not rivals:
        return few("Qwen3-Embedding-8B and another model are needed")
    rival = max(rivals, key=lambda line: line.silhouette_families)
    lead, margin = -excess((rival, best[0])), redrawing_margin(rival, best[0], comparisons=len(rivals))
    word = word_of(int(lead > margin) - int(lead < -margin))
    firsts = _firsts(best[0], rivals)
    printed = f"As printed it is true of this table: {_BEST_NAME} is first in all four columns."
    if firsts < 4:
        printed = f"As printed it is not true of this table: {_BEST_NAME} is first in {firsts} of four columns."
    end = (
        "Redrawing the windows alone may reverse such a gap, so which is better cannot be determined."
        if word == OPEN
        else "Redrawing the windows does not explain it."
    )
    sentence = (
        f"{printed} Its silhouette is {decimal(abs(lead), 3)} {'above' if lead > 0 else 'below'} that of "
        f"{rival.model}, 95% interval {span(lead - margin, lead + margin, sign=True)}. {end}"
    )
    detail = source_of_variation((rival, best[0]))
    found = Verdict(word, sentence, lead, lead - margin, lead + margin, detail=detail, as_printed=firsts == 4)
    return with_spread(found, decided_below(abs(lead), rival, best[0], comparisons=len(rivals)))


def _firsts(line: PublishedScore, rivals: Table) -> int:
    """Return in how many of the four columns no rival is as good as ``line``."""
    columns = (
        (line.silhouette_families, [one.silhouette_families for one in rivals]),
        (-line.davies_bouldin_families, [-one.davies_bouldin_families for one in rivals]),
        (line.silhouette_kmeans, [one.silhouette_kmeans for one in rivals]),
        (-line.davies_bouldin_kmeans, [-one.davies_bouldin_kmeans for one in rivals]),
    )
    return sum(own > max(others) for own, others in columns)


def _closer(pairs: list[Pair]) -> int:
    """Return in how many pairs the first, which should be worse, has the better Davies–Bouldin index."""
    return sum(one.davies_bouldin_families < other.davies_bouldin_families for one, other in pairs)


def _pairs_decided(pairs: list[Pair], against: int) -> tuple[float, float]:
    """Return below which spread some pair contradicts a claim clearly, and below which all bear it out."""
    decided = [
        [decided_below(side * excess(pair), *pair, comparisons=len(pairs)) for pair in pairs] for side in (1, -1)
    ]
    return max(decided[0]), 0.0 if against else min(decided[1])


def _with_size(lines: Table) -> Estimate:
    return rank_correlation([size_of(line) for line in lines], silhouettes(lines))
