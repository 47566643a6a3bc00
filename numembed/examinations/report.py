"""What was found, in a sentence and in plain rows: for the command line and for exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numembed.core.serialization import without_nan
from numembed.examinations import grouping
from numembed.examinations import placement as landing
from numembed.examinations.clusters import rows as explanation
from numembed.examinations.clusters import text as explain_words
from numembed.examinations.clusters.compute import Explanation
from numembed.examinations.clusters.stored import stored_explanation
from numembed.examinations.generalisation import findings as generalisation
from numembed.examinations.maps import compute as maps
from numembed.examinations.maps import text as maps_told
from numembed.examinations.stress import compute as stress
from numembed.examinations.stress import text as stress_words
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study

Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Finding:
    """What an examination found about one model, as JSON values, beside what every run finds about its clusters."""

    name: str
    study: Study
    result: ModelResult
    found: dict[str, Any]
    explanation: Explanation | None


def findings(study: Study, answered: Sequence[ModelResult], name: str, store: ResultStore) -> list[Finding]:
    """Return what is stored of an examination, one finding a model that has one."""
    kept = [(result, stored_examination(study, result.model, name, store)) for result in answered]
    return [
        Finding(name, study, result, found, stored_explanation(study, result.model, store))
        for result, found in kept
        if found is not None
    ]


def told(finding: Finding) -> tuple[str, Rows]:
    """Return what was found in one or a few sentences, and all its numbers as plain rows; None for NaN."""
    sentence, rows = _told(finding)
    return sentence, [without_nan(row) for row in rows]


def _told(finding: Finding) -> tuple[str, Rows]:
    name, found = finding.result.model.name, finding.found
    match finding.name:
        case "grouping":
            return _grouping(finding, name)
        case "probes":
            seen = generalisation.Generalisation.from_json(found)
            return generalisation.verdict(name, seen), _probe_rows(seen)
        case "stress":
            changes = stress.Stress.from_json(found)
            return stress_words.sentence_of(changes), [stress.plain_row(found), *stress.rows_of(found)]
        case "maps":
            looked = maps.Maps.from_json(found)
            return maps_told.answer(name, looked), maps.rows_of(looked)
        case _:
            landed = landing.Landed.from_json(found)
            said = landing.sentence_of([(name, finding.result.model.is_baseline, landed)])
            return said, landing.rows_of(name, landed, finding.study)


def _grouping(finding: Finding, name: str) -> tuple[str, Rows]:
    found = grouping.Grouping.from_json(finding.found)
    sentence, rows = grouping.sentence_of(found), grouping.rows_of(found)
    if finding.explanation is None:
        return sentence, rows
    first = explain_words.sentence_of(name, finding.explanation)
    more = explain_words.shares_sentence(finding.explanation)
    return f"{first} {more} {sentence}", explanation.rows_of(finding.explanation, finding.study.sequences) + rows


def _probe_rows(found: generalisation.Generalisation) -> Rows:
    parts = [("near windows", found.near), *((f"from term {far.start:,}", far.probes) for far in found.far)]
    parts += [("unseen families", found.unseen), ("one attribute", found.single)]
    rows: Rows = [{"part": "sequences", "families": found.families, "windows": found.windows}]
    rows += [
        {
            "part": f"from term {far.start:,}", "start": far.start, "families": far.families,
            "left_out": "; ".join(f"{title} ({reason})" for title, reason in far.left_out), "note": far.note,
        }
        for far in found.far
    ]  # fmt: skip
    return rows + [{"part": part} | asdict(probe) for part, probes in parts for probe in probes]
