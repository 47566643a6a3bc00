"""A whole experiment as one value, and what earlier runs of it left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from numembed.core.errors import BadChoice, TooLarge
from numembed.core.serialization import canonical_json
from numembed.core.settings import LIMITS
from numembed.core.texts import whole_text
from numembed.models.catalogue.names import model, reference_of
from numembed.models.spec import ModelSpec
from numembed.sequences.families.family import family, in_registry_order
from numembed.sequences.kept import Windows, sequences_of
from numembed.sequences.matching import MATCHINGS, matched
from numembed.sequences.sets import SequenceSet, TextFormat, check_size, redrawn
from numembed.studies.examination import EXAMINATIONS

DISTANCES = ("euclidean", "cosine")
DIMENSIONS = (2, 3)
FLAT_ABOVE = 3_000
USUAL_DESIGNS = 30
QUERY_CHARS = 2_000


@dataclass(frozen=True)
class Study:
    """What one would write under "Methods": sequences, models, distance and seed. Always valid once made."""

    kind: ClassVar[str] = "study"  # of job
    families: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    per_family: int = 4
    length: int = 50
    first_window: int = 0
    text_format: TextFormat = TextFormat()
    distance: str = "euclidean"
    seed: int = 0
    despite_checks: bool = False  # also run models whose check has failed
    designs: int = 0  # how often the windows are redrawn, for the interval of every score
    matched: tuple[str, ...] = ()  # what is made equal between the families: names of MATCHINGS
    examine: tuple[str, ...] = ()  # further questions about each model: names of EXAMINATIONS
    query: str = ""  # a text of one's own, for "landing": where does it fall among the sequences?
    references: tuple[str, ...] = field(init=False, repr=False, compare=False)  # of the models

    def __post_init__(self) -> None:
        known = dict.fromkeys(family(name).reference for name in self.families)
        object.__setattr__(self, "families", tuple(known))
        models = {reference_of(spec): spec for spec in self.models}
        object.__setattr__(self, "models", tuple(models.values()))
        object.__setattr__(self, "references", tuple(models))
        check_size(self.families, per_family=self.per_family, length=self.length, first_window=self.first_window)
        if not self.models:
            raise BadChoice("A study needs at least one model. Choose one, for instance all-MiniLM-L6-v2.")
        if len(self.models) > LIMITS.models:
            raise TooLarge(f"A study has at most {LIMITS.models} models, got {len(self.models):,}.")
        names = [spec.name for spec in self.models]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadChoice(f"Two models are called {twice[:80]!r}. Rename one of the folders.")
        if self.distance not in DISTANCES:
            raise BadChoice(f"The distance is one of {', '.join(DISTANCES)}, got {str(self.distance)[:40]!r}.")
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise BadChoice(f"The seed is a whole number from 0 to 2,147,483,647, got {ascii(self.seed)[:40]}.")
        if type(self.designs) is not int or not 0 <= self.designs <= LIMITS.designs:
            raise BadChoice(f"Windows are redrawn 0 to {LIMITS.designs} times, got {ascii(self.designs)[:40]}.")
        for name in self.matched:
            _ = MATCHINGS[name]
        object.__setattr__(self, "matched", tuple(name for name in MATCHINGS.names if name in self.matched))
        for name in self.examine:
            if name not in EXAMINATIONS:
                raise BadChoice(f"There is no examination {str(name)[:40]!r}. Known: {', '.join(EXAMINATIONS)}.")
        object.__setattr__(self, "examine", tuple(name for name in EXAMINATIONS if name in self.examine))
        if not isinstance(self.query, str) or len(self.query) > QUERY_CHARS:
            raise BadChoice(f"Your own text has at most {QUERY_CHARS:,} characters; shorten it.")
        whole_text("Your own text", self.query)
        if not isinstance(self.despite_checks, bool):
            raise BadChoice(f"despite_checks is true or false, got {str(self.despite_checks)[:40]!r}.")

    @property
    def sequences(self) -> SequenceSet:
        """The sequences as models read them, family by family in the registry's order: made where they are not kept.

        The order of rows decides what KMeans, a map or a seed makes of equal vectors, so it does not follow the order
        in which ``families`` names them.
        """
        return sequences_of(self.windows)

    @property
    def plain_sequences(self) -> SequenceSet:
        """The sequences before anything is made equal between the families."""
        return sequences_of(replace(self.windows, matched=()))

    @cached_property
    def windows(self) -> Windows:
        """What decides the sequences."""
        families = in_registry_order(self.families)
        return Windows(families, self.per_family, self.length, self.first_window, self.text_format, self.matched)

    @property
    def texts(self) -> int:
        """How many sequences it has; none is made for that."""
        return len(self.families) * self.per_family

    @property
    def large(self) -> bool:
        """Whether its sequences are too many to be made for a page before anybody has run them."""
        too_much = self.windows.expected_bytes > LIMITS.bytes_before_run
        return too_much or self.texts * self.length > LIMITS.terms_before_run

    @cached_property
    def key(self) -> str:
        """The sha256 of the study's JSON: equal studies share one run."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the study as JSON values: what a link, a saved file and an export hold."""
        return {
            "families": list(self.families),
            "models": list(self.references),
            "per_family": self.per_family,
            "length": self.length,
            "first_window": self.first_window,
            "separator": self.text_format.separator,
            "max_chars": self.text_format.max_chars,
            "distance": self.distance,
            "seed": self.seed,
            "despite_checks": self.despite_checks,
            "designs": self.designs,
            "matched": list(self.matched),
            "examine": list(self.examine),
            "query": self.query,
        }

    def to_json(self) -> str:
        """Return the study as readable JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Study:
        """Return the study that :meth:`as_dict` described; what is left out takes its default."""
        rest = ("per_family", "length", "first_window", "distance", "seed", "despite_checks", "designs")
        lists = ("matched", "examine")
        known = ("families", "models", "separator", "max_chars", "query", *lists, *rest)
        if unknown := sorted(set(plain) - set(known)):
            raise BadChoice(f"A study has no entry {str(unknown[0])[:40]!r}. Known: {', '.join(known)}.")
        for entry in ("families", "models", *(entry for entry in lists if entry in plain)):
            names = plain.get(entry)
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise BadChoice(f"A study needs {entry}: a list of names.")
        layout = {entry: plain[entry] for entry in ("separator", "max_chars") if entry in plain}
        given: dict[str, Any] = {entry: plain[entry] for entry in ("query", *rest) if entry in plain}
        given |= {entry: tuple(plain[entry][:20]) for entry in lists if entry in plain}
        return cls(
            families=tuple(plain["families"][: LIMITS.families + 1]),
            models=tuple(model(name) for name in plain["models"][: LIMITS.models + 1]),
            text_format=TextFormat(**layout),
            **given,
        )

    @classmethod
    def from_json(cls, text: str) -> Study:
        """Return the study in ``text``; raise BadChoice or TooLarge where it is none."""
        if len(text) > LIMITS.study_chars:
            raise TooLarge(f"A study has at most {LIMITS.study_chars:,} characters, got {len(text):,}.")
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            raise BadChoice("This is no study: it is not JSON. Save one from the Compare page.") from None
        if not isinstance(plain, dict):
            raise BadChoice("This is no study: it is not a JSON object. Save one from the Compare page.")
        return cls.from_dict(plain)


def beginning_of(study: Study) -> Study | None:
    """Return a study with so few windows of each family that they come at once; None where even one is too much."""
    few, light = LIMITS.terms_before_run // 10, LIMITS.bytes_before_run // 10
    while study.per_family > 1 and (study.texts * study.length > few or study.windows.expected_bytes > light):
        study = replace(study, per_family=study.per_family // 2)
    return None if study.large else study


def furthest_start(study: Study) -> int:
    """Return the furthest term at which a redrawn window may begin: 1,000, or more where all windows need the room."""
    return max(1_000, 2 * study.per_family * study.length)


def redrawings(study: Study, count: int) -> Iterator[SequenceSet]:
    """Yield the study's sequences with their windows at ``count`` other random places, matched as the study asks."""
    for design in redrawn(study.plain_sequences, count, seed=study.seed, furthest=furthest_start(study)):
        yield matched(design, study.matched)


def design_of(study: Study) -> str:
    """Return which sequences a study scores, in a few words.

    >>> design_of(Study(("even", "odd"), (model("last_digits"),), length=10))
    'even, odd: 4 windows of 10 terms each, from term 0'
    """
    start = study.first_window * study.length
    sentence = (
        f"{', '.join(study.families)}: {study.per_family} windows of {study.length} terms each, from term {start:,}"
    )
    return f"{sentence}, made equal in {', '.join(study.matched)}" if study.matched else sentence


def dimensions(n: int) -> tuple[int, ...]:
    """Return the dimensions in which n sequences are mapped: with many, flat maps only, as 3-D ones take minutes."""
    return DIMENSIONS if n <= FLAT_ABOVE else DIMENSIONS[:1]
