"""Where a text of one's own falls among the sequences, as plain rows."""

from __future__ import annotations

import math

from numembed.analysis.clusters.attributes import family_title
from numembed.examinations.clusters.compute import sequence_names
from numembed.examinations.placement.compute import Placement, read_query
from numembed.examinations.registry import Answer, Row


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
        "same_text": names[one.twin] if one.twin >= 0 else "",
        "note": one.note,
    }
    return [row]
