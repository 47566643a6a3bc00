"""What is found about how far a model's knowledge of the families reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numembed.analysis.clusters.attributes import ATTRIBUTES
from numembed.analysis.probes import CLASSIFIERS
from numembed.core.significance import LEVEL
from numembed.studies.study import Study

FAR_STARTS = (1_000, 10_000)  # index of the first term of the far windows
FAR_WINDOWS = 4  # of each family, one behind the other
_TITLES = {"parity": "Odd, even or mixed", "prime": "Prime or not"}


@dataclass(frozen=True)
class Probe:
    """How well one classifier named the families, or the linear probe one attribute; NaN with a note: undefined."""

    name: str  # of the classifier, or of the attribute
    classes: int
    value: float  # balanced accuracy
    right: int
    total: int
    low: float  # 95% interval of the value, by families
    high: float
    chance: float
    null_low: float  # 95% of the shuffles
    null_high: float
    p: float
    p_holm: float  # adjusted for all tests of its question
    least_p: float  # adjusted too, of a classifier that is always right: above 0.05 nothing can be concluded
    baseline: str  # the best one, "" where there is none
    baseline_value: float
    left_out: int  # sequences whose class no other window or family has
    note: str
    p_families: float = math.nan  # of a single attribute, where whole families exchange it; adjusted

    @property
    def title(self) -> str:
        """What the classifier or attribute is called."""
        if self.name in _TITLES:
            return _TITLES[self.name]
        return (CLASSIFIERS if self.name in CLASSIFIERS else ATTRIBUTES)[self.name].title

    @property
    def testable(self) -> bool:
        """False where it is undefined, or where even a perfect classifier could not be distinguished from chance."""
        return not math.isnan(self.p) and self.least_p <= LEVEL

    @property
    def sure(self) -> bool:
        """True where it is better than chance, after the adjustment."""
        return self.p_holm <= LEVEL


@dataclass(frozen=True)
class Far:
    """The classifiers learnt from the study's windows and asked about windows far away."""

    start: int  # index of the first term
    families: int
    left_out: tuple[tuple[str, str], ...]  # title of a family, and why
    probes: tuple[Probe, ...]
    note: str = ""


@dataclass(frozen=True)
class Generalisation:
    """Everything that was found about one model."""

    families: int
    windows: int
    near: tuple[Probe, ...]  # one a classifier: each window held out once
    far: tuple[Far, ...]
    unseen: tuple[Probe, ...]  # one an attribute: each family held out once
    single: tuple[Probe, ...]  # one an attribute: each window held out once


def far_texts(study: Study) -> int:
    """Return how many texts the far windows have at most."""
    return len(FAR_STARTS) * FAR_WINDOWS * len(study.families)
