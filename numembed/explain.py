"""What do a model's clusters encode? Agreement with attributes, shares of variance, neighbours, and who lies astray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.agreement import Agreement, Share, permanova, ranked_agreement
from numembed.analysis.attributes import ATTRIBUTES, attributes_and_reasons, family_title
from numembed.analysis.clusterers import confusion, name_clusters
from numembed.analysis.estimates import signed
from numembed.analysis.metrics import Distance, Labels, Matrix
from numembed.analysis.neighbours import (
    Alike,
    centroid_tree,
    nearest,
    nearest_alike,
    orders,
    silhouette_samples,
    similarity,
)
from numembed.analysis.significance import holm
from numembed.sequences.sets import SequenceSet

LARGEST = 500  # sequences; beyond, the pictures of this page say nothing any more
NEIGHBOURS = 5
LEVEL = 0.05
_SHUFFLES = 999
_FEW = "there are too few sequences to tell whether that is more than by chance"
_LISTS = {"agreements": Agreement, "shares": Share}


@dataclass(frozen=True)
class Explanation:
    """What was found about one model's vectors (n, d) and its KMeans clusters."""

    agreements: tuple[Agreement, ...]  # best first
    shares: tuple[Share, ...]  # of the variance, the rest last
    cluster_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # (clusters, families) how many sequences
    matched: float  # share of sequences in the cluster that stands for their family
    matched_chance: float  # its mean where families are shuffled
    matched_p: float
    silhouettes: tuple[float, ...]  # (n,)
    nearest: tuple[int, ...]  # (n,) index of the nearest other family, -1 where undefined
    neighbours: tuple[tuple[int, ...], ...]  # (n, up to 5) rows of the nearest sequences, nearest first
    distances: tuple[tuple[float, ...], ...]  # (n, up to 5) to them
    same_family: Alike  # as the nearest sequence
    same_window: Alike
    tree: tuple[tuple[int, int, float], ...]  # two joined and their distance: families, then joined ones from k on
    similarity: tuple[tuple[float, ...], ...]  # (n, n) cosine, rounded
    order: tuple[int, ...]  # rows in the order of a tree
    matched_least_p: float = 0.0  # share of shuffles in which most of all are matched: above 0.05 nothing can be told

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; None for NaN."""
        plain = {name: [asdict(one) for one in getattr(self, name)] for name in _LISTS}
        alike = {name: asdict(getattr(self, name)) for name in ("same_family", "same_window")}
        return {name: without_nan(value) for name, value in (vars(self) | plain | alike).items()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Explanation:
        """Return what :meth:`as_json` described."""
        frozen = {name: with_nan(value) for name, value in plain.items()}
        lists = {name: tuple(kind(**one) for one in frozen[name]) for name, kind in _LISTS.items()}
        return cls(**frozen | lists | {name: Alike(**frozen[name]) for name in ("same_family", "same_window")})


def explain(
    matrix: Matrix,
    sequences: SequenceSet,
    clusters: Labels,
    *,
    distance: Distance = "euclidean",
    token_counts: Sequence[int] | None = None,
    seed: int = 0,
) -> Explanation:
    """Return what the clusters (n,) of ``matrix`` agree with, and what its variance is made of; n up to ``LARGEST``."""
    found, _ = attributes_and_reasons(sequences, token_counts=token_counts)
    labels, windows = sequences.labels, sequences.windows
    counts = np.zeros((int(clusters.max(initial=0)) + 1, len(sequences.families)), dtype=int)
    np.add.at(counts, (clusters, labels), 1)
    matched, chance, p, least = matched_by_chance(clusters, labels, seed=seed)
    samples = silhouette_samples(matrix, labels, distance=distance)
    near = nearest(matrix, NEIGHBOURS, distance=distance)
    tree = centroid_tree(matrix, labels, distance=distance).linkage
    return Explanation(
        agreements=ranked_agreement(clusters, found, seed=seed),
        shares=permanova(matrix, ("family", labels), ("window", windows), seed=seed),
        cluster_names=name_clusters(clusters, sequences),
        counts=_whole(counts),
        matched=matched,
        matched_chance=chance,
        matched_p=p,
        matched_least_p=least,
        silhouettes=tuple(samples.values.tolist()),
        nearest=tuple(samples.nearest.tolist()),
        neighbours=_whole(near.rows),
        distances=tuple(tuple(float(f"{value:.6g}") for value in row) for row in near.distances.tolist()),
        same_family=nearest_alike(matrix, labels, distance=distance, seed=seed),
        same_window=nearest_alike(matrix, windows, distance=distance, seed=seed),
        tree=tuple((int(one), int(other), float(gap)) for one, other, gap, _ in tree.tolist()),
        similarity=tuple(tuple(round(float(value), 3) for value in row) for row in similarity(matrix)),
        order=tuple(orders(matrix, labels)["dendrogram"].tolist()),
    )


def matched_by_chance(
    clusters: Labels, labels: Labels, *, shuffles: int = _SHUFFLES, seed: int = 0
) -> tuple[float, float, float, float]:
    """Return the share of sequences in the cluster that stands for their family, its mean over shuffles, p, least p."""
    observed, drawn = confusion(clusters, labels).matched, np.random.default_rng(seed)
    shuffled = [confusion(clusters, drawn.permutation(labels)).matched for _ in range(shuffles if len(labels) else 0)]
    if not shuffled:
        return observed, observed, 1.0, 1.0
    every = np.array([observed, *shuffled])
    p, least = (float(np.mean(every >= value - 1e-9)) for value in (observed, every.max()))
    return observed, float(np.mean(shuffled)), p, least


def adjusted(found: Explanation) -> dict[str, float]:
    """Return p of the agreement with each attribute, adjusted for their number (Holm 1979); NaN where undefined."""
    ps = holm([one.p for one in found.agreements])
    names = [one.attribute for one in found.agreements]
    return {name: math.nan if p is None else p for name, p in zip(names, ps, strict=True)}


def followed(found: Explanation) -> tuple[Agreement, ...]:
    """Return the agreements beyond chance, all attributes judged together, the best first."""
    ps = adjusted(found)
    return tuple(one for one in found.agreements if ps[one.attribute] <= LEVEL and one.ari > 0)


def sentence_of(name: str, found: Explanation) -> str:
    """Return in one or two sentences what the clusters follow, claiming no more than the shuffles allow."""
    sure, groups = followed(found), f"the groups that KMeans finds in {name}"
    known = [one for one in found.agreements if not math.isnan(one.p)]
    if known and not sure and all(len(known) * one.least_p > LEVEL for one in known):
        return f"There are too few sequences to tell what {groups} follow."
    tail, groups = _family_tail(found, sure), f"T{groups[1:]}"
    if not sure:
        return f"{groups} follow none of these attributes better than chance.{tail}"
    title = ATTRIBUTES[sure[0].attribute].title.lower()
    how = "most" if sure[0] is found.agreements[0] else "better than chance"
    return f"{groups} follow the {title} {how} (ARI {signed(sure[0].ari)}).{tail}"


def _family_tail(found: Explanation, sure: Sequence[Agreement]) -> str:
    """Return how the clusters agree with the families, or "" where that was said or is undefined."""
    family = next((one for one in found.agreements if one.attribute == "family"), None)
    if family is None or math.isnan(family.ari) or (sure and sure[0] is family):
        return ""
    how = "better than chance too" if family in sure else "no better than chance"
    return f" With the families they agree {how} (ARI {signed(family.ari)})."


def shares_sentence(found: Explanation) -> str:
    """Return in two sentences what makes the vectors differ beyond chance, and how much of it is what."""
    shares = {share.name: share for share in found.shares}
    if not {"family", "window", "rest"} <= set(shares) or math.isnan(shares["family"].p):
        return "What differs between the vectors cannot be divided here. It needs several families and windows."
    family, window = (f"{_percent(shares[name].share)}{_by_chance(found, name)}" for name in ("family", "window"))
    return (
        f"{_shares_head(_standing(found))}. Of what differs between the vectors the family makes {family}, the window "
        f"{window}, and {_percent(shares['rest'].share)} is neither."
    )


def _standing(found: Explanation) -> dict[str, str]:
    """Return "more", "no more" or "few" (too few to tell) for family and window, both judged together."""
    ps = _share_ps(found)
    known, sure = [share for share in found.shares if share.name in ps], {name for name in ps if ps[name] <= LEVEL}
    left = len(known) - len(sure)
    few = {share.name for share in known if left * share.least_p > LEVEL}
    return {one.name: "more" if one.name in sure else "few" if one.name in few else "no more" for one in known}


def _share_ps(found: Explanation) -> dict[str, float]:
    """Return p of family and window, adjusted for both, where they are defined."""
    known = [share for share in found.shares if not math.isnan(share.p)]
    ps = holm([share.p for share in known])
    return {share.name: p for share, p in zip(known, ps, strict=True) if p is not None}


def _shares_head(standing: dict[str, str]) -> str:
    """Return what may be said of family and window, or of the family where the window is undefined."""
    than, few = "of the difference than chance", "cannot be told from so few sequences"
    names = sorted(standing, key=lambda name: ("more", "no more", "few").index(standing[name]))
    match [standing[name] for name in names]:
        case ["few"]:
            return f"Whether the family makes more {than} {few}"
        case [how]:
            return f"The family makes {how} {than}"
        case ["few", "few"]:
            return f"Whether family or window makes more {than} {few}"
        case ["more", "more"]:
            return f"Both family and window make more {than}"
        case ["no more", "no more"]:
            return f"Neither the family nor the window makes more {than}"
        case [how, "few"]:
            return f"The {names[0]} makes {how} {than}; whether the {names[1]} does {few}"
    return f"The {names[0]} makes more {than}, the {names[1]} does not"


def _by_chance(found: Explanation, name: str) -> str:
    """Return the share that a factor would hold on average, were it shuffled among what shares the other factor."""
    other = "window" if name == "family" else "family"
    classes = {one.attribute: one.classes for one in found.agreements}
    freedom = len(found.silhouettes) - classes.get(other, 1)
    if name not in classes or freedom < 1:
        return ""
    left = 1 - next(share.share for share in found.shares if share.name == other)
    return f" ({_percent(left * (classes[name] - 1) / freedom)} by chance)"


def matched_sentence(found: Explanation) -> str:
    """Return in one sentence how many sequences lie in the group that stands for their family, beside chance."""
    if found.matched != found.matched or len(found.counts[0]) < 2:
        return "Groups stand for families only where there are at least two of them."
    beside = f"by chance {found.matched_chance:.0%} would"
    if found.matched_p > LEVEL and found.matched_least_p > LEVEL:
        beside = f"{_FEW} ({found.matched_chance:.0%})"
    elif found.matched_p > LEVEL:
        beside = f"no more than by chance ({found.matched_chance:.0%}, {p_told(found.matched_p)})"
    return f"{found.matched:.0%} of the sequences lie in the group that stands for their family; {beside}."


def nearest_sentence(found: Explanation) -> str:
    """Return in one or two sentences how many nearest neighbours share family and window, beside chance."""
    told = []
    for alike, what, short in ((found.same_family, "the same family", "family"), (found.same_window, "", "window")):
        if alike.share != alike.share:
            if what:
                told.append(f"Whether nearest neighbours are of {what} cannot be told here: it {alike.note}.")
            continue
        share = f"{alike.share:.0%} of the nearest neighbours are of {what or f'the same {short}'}"
        beside = f"by chance {alike.chance:.0%} would be"
        if alike.p > LEVEL and alike.least_p > LEVEL:
            beside = f"{_FEW} ({alike.chance:.0%})"
        elif alike.p > LEVEL:
            beside = f"no more than by chance ({alike.chance:.0%}, {p_told(alike.p)})"
        told.append(f"{share}; {beside}.")
    return " ".join(told)


def tree_sentence(found: Explanation, sequences: SequenceSet) -> str:
    """Return in one or two sentences which families lie closest, and whether the families differ at all."""
    titles = [family_title(name) for name in sequences.families]
    if not found.tree:
        return "A tree of families needs at least two of them."
    members = tree_members(found)
    one, other, _ = found.tree[0]
    told = f"The centres of {titles[one]} and {titles[other]} lie closest together"
    if len(titles) == 2:
        told = f"There are two families only: {titles[0]} and {titles[1]}"
    few = min((members[child] for child in found.tree[-1][:2]), key=len)
    if len(titles) > 2 and len(few) == 1:
        told += f"; {titles[few[0]]} joins the others last"
    standing = _standing(found).get("family")
    if standing == "few":
        told += ". There are too few sequences to tell whether the families differ, so the tree may be chance"
    elif standing == "no more":
        p = p_told(_share_ps(found)["family"])
        told += f". The families differ no more than shuffled ones ({p}), so the tree may be chance"
    return told + "."


def tree_members(found: Explanation) -> list[tuple[int, ...]]:
    """Return the families below each node of the tree, in the order in which it is drawn; single families first."""
    members: list[tuple[int, ...]] = [(leaf,) for leaf in range(len(found.tree) + 1)]
    for one, other, _ in found.tree:
        members.append(members[one] + members[other])
    return members


def agreement_rows(found: Explanation) -> list[dict[str, Any]]:
    """Return how well the KMeans clusters agree with each attribute, best first."""
    ps = adjusted(found)
    return [{"part": "agreement", **asdict(one), "p_holm": ps[one.attribute]} for one in found.agreements]


def share_rows(found: Explanation) -> list[dict[str, Any]]:
    """Return what the variance is made of."""
    return [{"part": "share", **asdict(one)} for one in found.shares]


def neighbour_rows(found: Explanation, sequences: SequenceSet) -> list[dict[str, Any]]:
    """Return the nearest other sequences of each, one row a pair."""
    names = sequence_names(sequences)
    return [
        {"part": "neighbour", "sequence": names[row], "rank": rank + 1, "neighbour": names[other], "distance": gap}
        for row, (others, gaps) in enumerate(zip(found.neighbours, found.distances, strict=True))
        for rank, (other, gap) in enumerate(zip(others, gaps, strict=True))
    ]


def alike_rows(found: Explanation) -> list[dict[str, Any]]:
    """Return how often the nearest neighbour, and the group that stands for a family, are of the same kind."""
    matched = {"share": found.matched, "chance": found.matched_chance, "p": found.matched_p, "note": ""}
    matched["least_p"] = found.matched_least_p
    return [
        {"part": "alike", "name": "nearest is of the same family", **asdict(found.same_family)},
        {"part": "alike", "name": "nearest is of the same window", **asdict(found.same_window)},
        {"part": "alike", "name": "lies in the group of its family", **matched},
    ]


def rows_of(found: Explanation, sequences: SequenceSet) -> list[dict[str, Any]]:
    """Return all numbers but the heat map as rows; ``part`` says what each belongs to."""
    return agreement_rows(found) + share_rows(found) + alike_rows(found) + neighbour_rows(found, sequences)


def sequence_names(sequences: SequenceSet) -> tuple[str, ...]:
    """Return a name (n,) for each sequence, such as "Primes, window 2"."""
    return tuple(
        f"{family_title(item.family)}, window {int(window) + 1}"
        for item, window in zip(sequences.items, sequences.windows, strict=True)
    )


def p_told(p: float) -> str:
    """Return p as it stands in a sentence.

    >>> p_told(0.001), p_told(0.2345)
    ('p\xa00.001', 'p\xa00.23')
    """
    return f"p\u00a0{p:.3f}" if p < 0.1 else f"p\u00a0{p:.2f}"


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _whole(table: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in table.tolist())


def without_nan(value: Any) -> Any:
    """Return nested JSON values with None for NaN."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    return (
        [without_nan(item) for item in value] if isinstance(value, tuple | list) else None if value != value else value
    )


def with_nan(value: Any) -> Any:
    """Return nested JSON values with NaN for None, and tuples for lists."""
    if isinstance(value, dict):
        return {name: with_nan(item) for name, item in value.items()}
    if not isinstance(value, list):
        return math.nan if value is None else value
    nested = bool(value) and isinstance(value[0], list | dict)  # long lists of numbers are taken at one go
    return tuple(map(with_nan, value)) if nested else tuple([math.nan if item is None else item for item in value])
