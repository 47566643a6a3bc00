"""What do a model's clusters encode? Agreement with attributes, shares of variance, and who lies astray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numembed.analysis.agreement import Agreement, Share, permanova, ranked_agreement
from numembed.analysis.attributes import ATTRIBUTES, attributes_and_reasons
from numembed.analysis.clusterers import confusion, name_clusters
from numembed.analysis.metrics import Distance, Labels, Matrix
from numembed.analysis.neighbours import orders, silhouette_samples, similarity
from numembed.sequences.sets import SequenceSet

LARGEST = 500  # sequences; beyond, the pictures of this page say nothing any more
_LEVEL = 0.05


@dataclass(frozen=True)
class Explanation:
    """What was found about one model's vectors (n, d) and its KMeans clusters."""

    agreements: tuple[Agreement, ...]  # best first
    shares: tuple[Share, ...]  # of the variance, the rest last
    cluster_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # (clusters, families) how many sequences
    matched: float  # share of sequences in the cluster that stands for their family
    silhouettes: tuple[float, ...]  # (n,)
    nearest: tuple[int, ...]  # (n,) index of the nearest other family, -1 where undefined
    similarity: tuple[tuple[float, ...], ...]  # (n, n) cosine, rounded
    order: tuple[int, ...]  # rows in the order of a tree

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Explanation:
        """Return what :meth:`as_json` described."""
        frozen = {name: _frozen(value) for name, value in plain.items()}
        agreements = tuple(Agreement(**one) for one in plain["agreements"])
        return cls(**frozen | {"agreements": agreements, "shares": tuple(Share(**one) for one in plain["shares"])})


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
    table = confusion(clusters, labels)
    counts = np.zeros((int(clusters.max(initial=0)) + 1, len(sequences.families)), dtype=int)
    np.add.at(counts, (clusters, labels), 1)
    samples = silhouette_samples(matrix, labels, distance=distance)
    return Explanation(
        ranked_agreement(clusters, found, seed=seed),
        permanova(matrix, ("family", labels), ("window", windows), seed=seed),
        name_clusters(clusters, sequences),
        tuple(tuple(map(int, row)) for row in counts),
        float(table.matched),
        tuple(map(float, samples.values)),
        tuple(map(int, samples.nearest)),
        tuple(tuple(round(float(value), 3) for value in row) for row in similarity(matrix)),
        tuple(map(int, orders(matrix, labels)["dendrogram"])),
    )


def sentence_of(name: str, found: Explanation) -> str:
    """Return in one or two sentences what the clusters follow, claiming no more than the shuffles allow."""
    sure = [one for one in found.agreements if one.p <= _LEVEL and one.ari > 0]
    family = next((one for one in found.agreements if one.attribute == "family"), None)
    tail = ""
    if family is not None and (not sure or sure[0].attribute != "family"):
        how = "better than chance too" if family in sure else "no better than chance"
        tail = f" With the families they agree {how} (ARI {_signed(family.ari)})."
    if not sure:
        return f"The groups that KMeans finds in {name} follow none of these attributes better than chance.{tail}"
    title = ATTRIBUTES[sure[0].attribute].title.lower()
    return f"The groups that KMeans finds in {name} follow the {title} most (ARI {_signed(sure[0].ari)}).{tail}"


def shares_sentence(found: Explanation) -> str:
    """Return in one sentence what the variance is made of."""
    shares = {share.name: share for share in found.shares}
    family, window, rest = (shares.get(name) for name in ("family", "window", "rest"))
    if family is None or window is None or rest is None or family.share != family.share:
        return "The variance cannot be divided here: it needs several families and windows."
    more = "less" if family.share < window.share else "more"
    return (
        f"The family makes {family.share:.0%} of what differs between the vectors, the window {window.share:.0%}, and "
        f"{rest.share:.0%} is neither: the family counts {more} than where in it the sequence begins."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
