"""The numbers of robustness across merges as flat rows, for tables, the command line and files."""

from __future__ import annotations

import math
from typing import Any

from numembed.merge_experiment.robustness.results import Robustness
from numembed.merge_experiment.robustness.text import group_title, row_title
from numembed.sequences.perturbations.terms import PERTURBATIONS
from numembed.sequences.perturbations.trials import variant_words

Row = dict[str, Any]  # column to value; None for NaN


def change_rows(found: Robustness) -> list[Row]:
    """Return a row for each row of models and kind of change: how far it moves their score on average."""
    rows = []
    for one in found.changes:
        own = found.of(one.row)
        before = sum(model.before for model in own) / len(own)
        kept = sum(model.retention for model in own) / len(own)
        facts = {"model": row_title(one.row), "models": len(own), "change_of": group_title(one.group)}
        numbers = {"before": before, "change": one.mean, "low": one.low, "high": one.high, "retention": kept}
        rows.append(facts | _known(numbers))
    return rows


def difference_rows(found: Robustness) -> list[Row]:
    """Return a row for each pair of rows and kind of change."""
    fields = ("difference", "low", "high", "p", "p_holm")
    spread = ("sd", "sequences", "seed_sd", "seeds")
    return [
        {"first": row_title(one.a), "second": row_title(one.b), "change_of": group_title(one.group)}
        | _known({name: getattr(one, name) for name in fields})
        | {"distinguishable": one.distinguishable, "over": one.over, "smallest_seen": found.smallest_seen(one)}
        | _known({name: getattr(one, name) for name in spread})
        for one in found.differences
    ]


def variant_rows(found: Robustness) -> list[Row]:
    """Return a row for each named model and variant of a change, those left out with why."""
    rows = []
    for model in found.models:
        after = iter(model.after)
        for one in found.variants:
            value = math.nan if one.note else next(after)
            place = {"model": row_title(model.row), "title": model.title, "path": model.path, "at": model.at}
            what = {"perturbation": one.perturbation, "variant": variant_words(one.options)}
            kind = {"change_of": group_title(one.group), "split": found.split}
            numbers = {"retention": model.retention, "before": model.before, "after": value}
            rows.append(place | kind | what | _known(numbers | {"change": value - model.before}) | {"note": one.note})
    return rows


def left_out(found: Robustness) -> list[str]:
    """Return a sentence for each reason why variants are left out."""
    notes: dict[str, list[str]] = {}
    for one in found.variants:
        if one.note:
            words = variant_words(one.options)
            title = PERTURBATIONS[one.perturbation].title.lower() + (f" ({words})" if words else "")
            notes.setdefault(one.note, []).append(title)
    return [f"Left out: {', '.join(titles)}. {note}" for note, titles in notes.items()]


def _known(numbers: Row) -> Row:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in numbers.items()}
