"""What a model's clusters encode, as plain rows: for the command line and for exports."""

from __future__ import annotations

import math
from dataclasses import asdict

from numembed.analysis.clusters.attributes import family_title
from numembed.analysis.clusters.clusterers import CLUSTERERS
from numembed.examinations.clusters.compute import Explanation, adjusted, sequence_names, tree_members
from numembed.examinations.clusters.grouping import FACTORS, Grouping, grouping
from numembed.examinations.clusters.seen import smallest_seen, smallest_way
from numembed.examinations.clusters.text import sentence
from numembed.examinations.clusters.together import AGREES, HOLDS, MATCHED, NEAREST, found_of, of_way, tests_of
from numembed.examinations.registry import Answer, Implementation, Row
from numembed.sequences.sets import SequenceSet


def rows(answer: Answer[Grouping]) -> list[Row]:
    """Return all numbers as rows: of the clusters, then of the other ways of grouping."""
    clusters = rows_of(answer.explanation, answer.study.sequences) if answer.explanation else []
    return clusters + grouping_rows(answer.found, answer.explanation)


def agreement_rows(explanation: Explanation) -> list[Row]:
    """Return how well the KMeans clusters agree with each attribute, best first."""
    ps, judged = adjusted(explanation), _judged(explanation)
    return [
        {"part": "agreement", **asdict(one), "p_holm": ps[one.attribute]} | judged[AGREES, one.attribute]
        for one in explanation.agreements
    ]


def share_rows(explanation: Explanation) -> list[Row]:
    """Return what the variance is made of."""
    judged, rest = _judged(explanation), {"p_page": math.nan, "smallest_seen": None}
    return [{"part": "share", **asdict(one)} | judged.get((HOLDS, one.name), rest) for one in explanation.shares]


def _judged(explanation: Explanation) -> dict[tuple[str, str], Row]:
    """Return of each test its p among all of the page, and the smallest value that it would have seen."""
    seen = smallest_seen(explanation)
    return {at: {"p_page": one.p, "smallest_seen": seen[at]} for at, one in tests_of(explanation).items()}


def neighbour_rows(explanation: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return the nearest other sequences of each, one row a pair."""
    names = sequence_names(sequences)
    return [
        {"part": "neighbour", "sequence": names[row], "rank": rank + 1, "neighbour": names[other], "distance": gap}
        for row, (others, gaps) in enumerate(zip(explanation.neighbours, explanation.distances, strict=True))
        for rank, (other, gap) in enumerate(zip(others, gaps, strict=True))
    ]


def alike_rows(explanation: Explanation) -> list[Row]:
    """Return how often the nearest neighbour, and the group that stands for a family, are of the same kind."""
    judged = _judged(explanation)
    matched = {
        "share": explanation.matched,
        "chance": explanation.matched_chance,
        "p": explanation.matched_p,
        "note": "",
    }
    matched |= {"least_p": explanation.matched_least_p, "null_sd": explanation.matched_null_sd}
    parts = (
        ("nearest is of the same family", asdict(explanation.same_family), (NEAREST, "family")),
        ("nearest is of the same window", asdict(explanation.same_window), (NEAREST, "window")),
        ("lies in the group of its family", matched, (MATCHED, "family")),
    )
    return [{"part": "alike", "name": name, **numbers} | judged[test] for name, numbers, test in parts]


def confusion_rows(explanation: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return how many sequences of each family each cluster holds, one row a cluster and family."""
    return [
        {"part": "confusion", "cluster": at + 1, "name": name, "family": family_title(family), "sequences": count}
        for at, (name, counts) in enumerate(zip(explanation.cluster_names, explanation.counts, strict=True))
        for family, count in zip(sequences.families, counts, strict=True)
    ]


def sequence_rows(explanation: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return each sequence with its silhouette, the nearest other family, and its cosines to all sequences.

    ``place`` is where it stands in the order of the tree; the cosines stand in the order of these rows.
    """
    places = {row: place + 1 for place, row in enumerate(explanation.order)}
    return [
        {
            "part": "sequence",
            "sequence": name,
            "silhouette": explanation.silhouettes[row],
            "nearest_family": family_title(sequences.families[other]) if other >= 0 else "",
            "place": places.get(row),
            "cosines": list(explanation.similarity[row]),
        }
        for row, (name, other) in enumerate(zip(sequence_names(sequences), explanation.nearest, strict=True))
    ]


def join_rows(explanation: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return which families the tree joins at which distance, in its order."""
    titles = [family_title(name) for name in sequences.families]
    members = [", ".join(titles[leaf] for leaf in below) for below in tree_members(explanation)]
    return [
        {"part": "join", "one": members[one], "other": members[other], "distance": gap}
        for one, other, gap in explanation.tree
    ]


def rows_of(explanation: Explanation, sequences: SequenceSet) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to."""
    about_groups = (
        agreement_rows(explanation)
        + share_rows(explanation)
        + alike_rows(explanation)
        + confusion_rows(explanation, sequences)
    )
    return (
        about_groups
        + sequence_rows(explanation, sequences)
        + join_rows(explanation, sequences)
        + neighbour_rows(explanation, sequences)
    )


def grouping_rows(grouping: Grouping, explanation: Explanation | None = None) -> list[Row]:
    """Return all numbers of the other ways of grouping as rows; ``part`` says what each belongs to."""
    found = None if explanation is None else found_of(explanation)
    ways = [
        {"part": "way", "name": way.name, "groups": way.groups, "left_out": way.left_out}
        | {f"{factor}_{name}": value for factor in FACTORS for name, value in asdict(getattr(way, factor)).items()}
        | {"most": way.attribute, **{f"most_{name}": value for name, value in asdict(way.most).items()}}
        | {f"{factor}_p_page": of_way(getattr(way, factor), factor, found) for factor in FACTORS}
        | {"most_p_page": of_way(way.most, way.attribute, found)}
        | {f"{factor}_smallest_seen": smallest_way(getattr(way, factor), grouping) for factor in FACTORS}
        | {"silhouette": way.silhouette, "note": way.note}
        for way in grouping.ways
    ]
    steps = [{"part": "k", "name": f"KMeans, {step.k} groups", **asdict(step)} for step in grouping.steps]
    best = {
        "part": "best",
        "name": f"{grouping.best} groups" if grouping.best else "",
        "groups": grouping.best,
        "p": grouping.best_p,
        "families": grouping.families,
        "seeds": grouping.seeds,
    }
    return [*ways, *steps, best]


IMPLEMENTATION = Implementation(Grouping, grouping, sentence, rows, lists=("ways", "name", CLUSTERERS))
