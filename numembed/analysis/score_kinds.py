"""The table of scores: each registered metric with each registered labelling that it is computed for."""

from __future__ import annotations

from typing import Any, NamedTuple

from numembed.analysis.labels import LABELLINGS
from numembed.analysis.metrics import METRICS, note_of
from numembed.core.arrays import Labels, Matrix
from numembed.core.registry import Entry

_UNTESTED = {
    "separation": "these groups were made from the vectors, so shuffled groups are no chance level for them",
    "agreement": "no shuffles are made of groups that are compared with the families",
}


class ScoreKind(NamedTuple):
    """One score: a metric with a labelling. Written as text it is "metric labels", the name of stored values."""

    metric: str
    labels: str

    @classmethod
    def read(cls, text: str) -> ScoreKind:
        """Return the kind that ``str`` wrote."""
        return cls(*text.split(" "))

    def __str__(self) -> str:
        return f"{self.metric} {self.labels}"

    @property
    def entry(self) -> Entry[Any]:
        """The registered metric."""
        return METRICS[self.metric]

    @property
    def labelling(self) -> Entry[Any]:
        """The registered labelling."""
        return LABELLINGS[self.labels]

    @property
    def where(self) -> str:
        """The labelling in words, as it follows the name of a score."""
        return f"with {self.labelling.facts.get('phrase', self.labelling.title)}"

    @property
    def sign(self) -> int:
        """1 where higher is better, else −1."""
        return 1 if self.entry.facts["higher_is_better"] else -1

    @property
    def title(self) -> str:
        """The metric and the labelling in words."""
        return f"{self.entry.title} {self.where}"

    @property
    def column(self) -> str:
        """The title of its column in a table."""
        short: str = self.entry.facts.get("short", self.entry.title)
        return short

    @property
    def group(self) -> str:
        """The heading above its column, which it shares with others."""
        return self.where if self.entry.facts["kind"] == "separation" else "both compared"

    @property
    def in_table(self) -> bool:
        """Whether it has a column of the table of scores; all have a place with the evidence."""
        shown: bool = self.entry.facts.get("in_table", True)
        return shown

    @property
    def help(self) -> str:
        """What the score says, and what it is by chance."""
        return f"{self.entry.summary} By chance: {self.entry.facts['chance']}."

    @property
    def untested(self) -> str:
        """Why no shuffles stand beside it, or "" where they do."""
        kind = self.entry.facts["kind"]
        general: str = _UNTESTED[kind] if kind == "agreement" else self.labelling.facts.get("untested", _UNTESTED[kind])
        return self.entry.facts.get("untested") or general

    def arguments(self, matrix: Matrix, families: Labels, groups: Labels) -> tuple[Any, Labels]:
        """Return what the metric takes, of vectors and their groups by this labelling."""
        return (matrix if self.entry.facts["kind"] == "separation" else families), groups

    def note(self, matrix: Matrix, families: Labels, groups: Labels, **choices: Any) -> str:
        """Return why the score is undefined here, or what flatters it, or ""."""
        entry = self.entry
        return note_of(entry, *self.arguments(matrix, families, groups), **entry.options_from(**choices))


SILHOUETTE = ScoreKind("silhouette", "families")  # the score that models are ranked by


def score_kinds() -> tuple[ScoreKind, ...]:
    """Return every score that is computed: labelling by labelling, first how far its groups lie apart."""
    return tuple(
        ScoreKind(metric.name, labelling.name)
        for labelling in LABELLINGS
        for kind in ("separation", "agreement")
        for metric in METRICS
        if metric.facts["kind"] == kind and _applies(metric, labelling)
    )


def _applies(metric: Entry[Any], labelling: Entry[Any]) -> bool:
    if metric.facts["kind"] == "agreement" and labelling.facts.get("truth"):
        return False
    return labelling.name in metric.facts.get("labellings", LABELLINGS)
