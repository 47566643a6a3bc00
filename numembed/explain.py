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
from numembed.sequences.sets import SequenceSet

LARGEST = 500  # sequences; beyond, the pictures of this page say nothing any more
NEIGHBOURS = 5
LEVEL = 0.05
_SHUFFLES = 999
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
    matched, chance, p = matched_by_chance(clusters, labels, seed=seed)
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
) -> tuple[float, float, float]:
    """Return the share of sequences in the cluster that stands for their family, its mean over shuffles, and p."""
    observed, drawn = confusion(clusters, labels).matched, np.random.default_rng(seed)
    shuffled = [confusion(clusters, drawn.permutation(labels)).matched for _ in range(shuffles if len(labels) else 0)]
    if not shuffled:
        return observed, observed, 1.0
    p = (1 + sum(value >= observed - 1e-9 for value in shuffled)) / (1 + len(shuffled))
    return observed, float(np.mean(shuffled)), float(p)


def sentence_of(name: str, found: Explanation) -> str:
    """Return in one or two sentences what the clusters follow, claiming no more than the shuffles allow."""
    sure = [one for one in found.agreements if one.p <= LEVEL and one.ari > 0]
    family = next((one for one in found.agreements if one.attribute == "family"), None)
    tail = ""
    if family is not None and (not sure or sure[0].attribute != "family"):
        how = "better than chance too" if family in sure else "no better than chance"
        tail = f" With the families they agree {how} (ARI {signed(family.ari)})."
    if not sure:
        return f"The groups that KMeans finds in {name} follow none of these attributes better than chance.{tail}"
    title = ATTRIBUTES[sure[0].attribute].title.lower()
    return f"The groups that KMeans finds in {name} follow the {title} most (ARI {signed(sure[0].ari)}).{tail}"


def shares_sentence(found: Explanation) -> str:
    """Return in two sentences what makes the vectors differ beyond chance, and how much of it is what."""
    shares = {share.name: share for share in found.shares}
    if not {"family", "window", "rest"} <= set(shares) or math.isnan(shares["family"].p):
        return "What differs between the vectors cannot be divided here. It needs several families and windows."
    sure = [name for name in ("family", "window") if shares[name].p <= LEVEL]
    head = "Neither the family nor the window makes more of the difference than chance"
    if math.isnan(shares["window"].p):
        head = f"The family makes {'more' if sure else 'no more'} of the difference than chance"
    elif len(sure) == 2:
        head = "Both family and window make more of the difference than chance"
    elif sure:
        other = "window" if sure[0] == "family" else "family"
        head = f"The {sure[0]} makes more of the difference than chance, the {other} does not"
    family, window = (f"{_percent(shares[name].share)}{_by_chance(found, name)}" for name in ("family", "window"))
    return (
        f"{head}. Of what differs between the vectors the family makes {family}, the window {window}, and "
        f"{_percent(shares['rest'].share)} is neither."
    )


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
    if found.matched_p > LEVEL:
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
        if alike.p > LEVEL:
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
    family = next((share for share in found.shares if share.name == "family"), None)
    if family is not None and family.p > LEVEL:
        told += f". The families differ no more than shuffled ones ({p_told(family.p)}), so the tree may be chance"
    return told + "."


def tree_members(found: Explanation) -> list[tuple[int, ...]]:
    """Return the families below each node of the tree, in the order in which it is drawn; single families first."""
    members: list[tuple[int, ...]] = [(leaf,) for leaf in range(len(found.tree) + 1)]
    for one, other, _ in found.tree:
        members.append(members[one] + members[other])
    return members


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
