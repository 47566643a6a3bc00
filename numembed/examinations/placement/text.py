"""Where a text of one's own falls among the sequences, in sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from numembed.analysis.clusters.attributes import family_title
from numembed.examinations.clusters.compute import sequence_names
from numembed.examinations.placement.compute import Placement, Query, placement, read_query, texts_of
from numembed.examinations.registry import Answer, Implementation, Row
from numembed.studies.study import Study

_REACH, _BEYOND = "within the reach of its own sequences", "farther out than all of its own sequences"


def sentence_of(items: Sequence[tuple[str, bool, Placement]]) -> str:
    """Return in one to three sentences where (name, is_baseline, placement) agree that the text falls."""
    texts = [
        _voted([(name, one) for name, baseline, one in items if baseline is kind], noun)
        for kind, noun in ((False, "model"), (True, "baseline"))
    ]
    return " ".join(filter(None, texts))


def read_sentence(query: Query, study: Study) -> str:
    """Return how the text is read, and what that means for its distances."""
    if not query.numbers:
        return "This is not a list of whole numbers, so the models read it unchanged, unlike the other sequences."
    count = len(query.numbers)
    text = f"Read as {count:,} whole number{'s' * (count != 1)}, in the format of the sequences."
    if query.left_out:
        text += f" {query.left_out:,} more did not fit into the longest text and were left out."
    usual = max((len(item.terms) for item in study.sequences.items), default=0)
    if count != usual:
        text += f" The sequences here have {usual:,}: a part of every distance may be the length."
    return text


def outlying(one: Placement) -> str:
    """Return in a few words how the text lies beside the family's own sequences."""
    if one.note or not one.family:
        return one.note
    if one.farther:
        return f"{one.farther} of its {one.members} lie farther out"
    return f"farther out than all {one.members}"


def _voted(items: Sequence[tuple[str, Placement]], noun: str) -> str:
    """Return where the models, or the baselines, put the text; one that cannot decide counts for nobody."""
    if not items:
        return ""
    votes = Counter(one.family for _, one in items if one.family and not one.tied)
    if not votes:
        return f"No {noun} can tell one family from another here."
    (first, most), *others = votes.most_common()
    if [count for _, count in others if count == most]:
        split = ", ".join(f"{count} with {family_title(name)}" for name, count in votes.most_common(4))
        return f"The {noun}s do not agree: {split}."
    there = [one for _, one in items if one.family == first and not one.tied and not one.note]
    inside = sum(one.inside for one in there)
    if len(items) == 1:
        where = f", {_REACH if there[0].inside else _BEYOND}" if there else ""
        return f"{items[0][0]} puts it with {family_title(first)}{where}."
    text = f"{most} of {len(items)} {noun}s {'puts' if most == 1 else 'put'} it with {family_title(first)}"
    if there and noun == "model":
        text += f", in {inside} of {'these' if most > 1 else 'it'} {_REACH}"
    return text + "."


def rows(answer: Answer[Placement]) -> list[Row]:
    """Return where the text falls in one model's space, as one row."""
    one, study = answer.found, answer.study
    names = sequence_names(study.sequences)
    row = {
        "part": "landing",
        "name": answer.model,
        "text": read_query(study.query, study.text_format).text,
        "family": family_title(one.family) if one.family else "",
        "tied": ", ".join(map(family_title, one.tied)),
        "distance": one.distance,
        "members": one.members,
        "members_farther_out": one.farther,
        "nearest": names[one.nearest[0]] if one.nearest else "",
        "nearest_distance": one.distances[0] if one.distances else math.nan,
        "neighbours": [names[row] for row in one.nearest],
        "distances": list(one.distances),
        "same_text": names[one.same_text] if one.same_text >= 0 else "",
        "note": one.note,
    }
    return [row]


IMPLEMENTATION = Implementation(
    Placement,
    placement,
    lambda answer: sentence_of([(answer.model, answer.result.model.is_baseline, answer.found)]),
    rows,
    texts=texts_of,
)
