"""Every variant of every registered perturbation of some sequences, as a stress test carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numembed.core.errors import BadChoice, TooLarge
from numembed.sequences.perturbations.terms import PERTURBATIONS, Change, change_of, perturb, variants
from numembed.sequences.sets import SequenceSet

_VARIANTS = {
    "start": "at term {:,}",
    "value": "from {:,} on",
    "terms": "{:,} terms",
    "share": "{:.0%}",
    "kmeans_seed": "seed {}",
    "prompt": "“{}”",
}


@dataclass(frozen=True)
class Trial:
    """A variant of a perturbation as it is carried out; ``note`` says why it cannot be."""

    name: str
    options: dict[str, Any]
    sequences: SequenceSet
    change: Change | None = None  # of the model or the scoring, instead of the sequences
    note: str = ""


def variant_words(options: Mapping[str, Any]) -> str:
    """Return the options of a variant in a few words, "" where there are none.

    >>> variant_words({"start": 2000}), variant_words({"to": 2})
    ('at term 2,000', 'base 2')
    """
    for name, value in options.items():
        return _VARIANTS.get(name, "base {}" if isinstance(value, int) else "{}").format(value)
    return ""


def encoded_sets() -> int:
    """Return how many sets of texts the variants of all perturbations need at most, without the plain one."""
    changes = (change_of(entry.name, **options) for entry in PERTURBATIONS for options in variants(entry.name))
    return sum(change is None or change.field == "prompt" for change in changes)


def trials(sequences: SequenceSet, *, seed: int = 0) -> tuple[Trial, ...]:
    """Return every variant of every perturbation of ``sequences``; one that a family refuses keeps its sentence."""
    return tuple(
        _trial(sequences, entry.name, options, seed) for entry in PERTURBATIONS for options in variants(entry.name)
    )


def _trial(sequences: SequenceSet, name: str, options: dict[str, Any], seed: int) -> Trial:
    try:
        changed = perturb(sequences, name, seed=seed, **options)
        _ = changed.texts  # a first term may be too long for a text
    except (BadChoice, TooLarge) as error:
        return Trial(name, options, sequences, note=str(error))
    return Trial(name, options, changed, change_of(name, **options))
