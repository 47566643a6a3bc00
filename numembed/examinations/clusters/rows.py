"""What a model's clusters encode, as plain rows: for the command line and for exports."""

from __future__ import annotations

from dataclasses import asdict

from numembed.analysis.clusters.attributes import family_title
from numembed.examinations.clusters.compute import Explanation, adjusted, sequence_names, tree_members
from numembed.examinations.clusters.grouping import FACTORS, Grouping
from numembed.examinations.registry import Answer, Row
from numembed.sequences.sets import SequenceSet


def rows(answer: Answer[Grouping]) -> list[Row]:
    """Return all numbers as rows: of the clusters, then of the other ways of grouping."""
    clusters = rows_of(answer.explanation, answer.study.sequences) if answer.explanation else []
    return clusters + grouping_rows(answer.found)


def agreement_rows(found: Explanation) -> list[Row]:
    """Return how well the KMeans clusters agree with each attribute, best first."""
    ps = adjusted(found)
    return [{"part": "agreement", **asdict(one), "p_holm": ps[one.attribute]} for one in found.agreements]


def share_rows(found: Explanation) -> list[Row]:
    """Return what the variance is made of."""
    return [{"part": "share", **asdict(one)} for one in found.shares]


def neighbour_rows(found: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return the nearest other sequences of each, one row a pair."""
    names = sequence_names(sequences)
    return [
        {"part": "neighbour", "sequence": names[row], "rank": rank + 1, "neighbour": names[other], "distance": gap}
        for row, (others, gaps) in enumerate(zip(found.neighbours, found.distances, strict=True))
        for rank, (other, gap) in enumerate(zip(others, gaps, strict=True))
    ]


def alike_rows(found: Explanation) -> list[Row]:
    """Return how often the nearest neighbour, and the group that stands for a family, are of the same kind."""
    matched = {"share": found.matched, "chance": found.matched_chance, "p": found.matched_p, "note": ""}
    matched["least_p"] = found.matched_least_p
    return [
        {"part": "alike", "name": "nearest is of the same family", **asdict(found.same_family)},
        {"part": "alike", "name": "nearest is of the same window", **asdict(found.same_window)},
        {"part": "alike", "name": "lies in the group of its family", **matched},
    ]


def confusion_rows(found: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return how many sequences of each family each cluster holds, one row a cluster and family."""
    return [
        {"part": "confusion", "cluster": at + 1, "name": name, "family": family_title(family), "sequences": count}
        for at, (name, counts) in enumerate(zip(found.cluster_names, found.counts, strict=True))
        for family, count in zip(sequences.families, counts, strict=True)
    ]


def sequence_rows(found: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return each sequence with its silhouette, the nearest other family, and its cosines to all sequences.

    ``place`` is where it stands in the order of the tree; the cosines stand in the order of these rows.
    """
    places = {row: place + 1 for place, row in enumerate(found.order)}
    return [
        {
            "part": "sequence", "sequence": name, "silhouette": found.silhouettes[row],
            "nearest_family": family_title(sequences.families[other]) if other >= 0 else "",
            "place": places.get(row), "cosines": list(found.similarity[row]),
        }
        for row, (name, other) in enumerate(zip(sequence_names(sequences), found.nearest, strict=True))
    ]  # fmt: skip


def join_rows(found: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return which families the tree joins at which distance, in its order."""
    titles = [family_title(name) for name in sequences.families]
    members = [", ".join(titles[leaf] for leaf in below) for below in tree_members(found)]
    return [
        {"part": "join", "one": members[one], "other": members[other], "distance": gap}
        for one, other, gap in found.tree
    ]


def rows_of(found: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to."""
    about_groups = agreement_rows(found) + share_rows(found) + alike_rows(found) + confusion_rows(found, sequences)
    return (
        about_groups + sequence_rows(found, sequences) + join_rows(found, sequences) + neighbour_rows(found, sequences)
    )


def grouping_rows(found: Grouping) -> list[Row]:
    """Return all numbers of the other ways of grouping as rows; ``part`` says what each belongs to."""
    ways = [
        {"part": "way", "name": way.name, "groups": way.groups, "left_out": way.left_out}
        | {f"{factor}_{name}": value for factor in FACTORS for name, value in asdict(getattr(way, factor)).items()}
        | {"most": way.attribute, **{f"most_{name}": value for name, value in asdict(way.most).items()}}
        | {"silhouette": way.silhouette, "note": way.note}
        for way in found.ways
    ]
    steps = [{"part": "k", "name": f"KMeans, {step.k} groups", **asdict(step)} for step in found.steps]
    best = {"part": "best", "name": f"{found.best} groups" if found.best else "", "groups": found.best,
            "p": found.best_p, "families": found.families, "seeds": found.seeds}  # fmt: skip
    return [*ways, *steps, best]
