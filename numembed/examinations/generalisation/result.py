"""What is found about how far a model's knowledge of the families reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from numembed.analysis.clusters.attributes import ATTRIBUTES
from numembed.analysis.inference.power import sd_of_band, smallest_share
from numembed.analysis.probes import CLASSIFIERS
from numembed.core.significance import LEVEL, Judged, judged
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
    p_exchange: float = math.nan  # the same, not adjusted
    p_page: float = math.nan  # p adjusted for all tests of the page
    least_page: float = math.nan  # least_p for all tests of the page
    p_families_page: float = math.nan
    smallest_seen: float = math.nan  # true accuracy that its test finds in four cases of five; NaN: not even 1

    @property
    def title(self) -> str:
        """What the classifier or attribute is called."""
        if self.name in _TITLES:
            return _TITLES[self.name]
        return (CLASSIFIERS if self.name in CLASSIFIERS else ATTRIBUTES)[self.name].title

    @property
    def testable(self) -> bool:
        """False where it is undefined, or where even a perfect classifier could not be distinguished from chance."""
        return not math.isnan(self.p) and (self.sure or not _first(self.least_page, self.least_p) > LEVEL)

    @property
    def p_told(self) -> float:
        """The p of the sentences: adjusted for all tests of the page, or of its question where there is no page."""
        return _first(self.p_page, self.p_holm)

    @property
    def sure(self) -> bool:
        """True where it is better than chance, after the adjustment."""
        return self.p_told <= LEVEL

    @property
    def beyond_families(self) -> bool:
        """True where the attribute is predicted by more than the families that have it."""
        return self.sure and _first(self.p_families_page, self.p_families) <= LEVEL


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

    def __post_init__(self) -> None:
        """Judge all tests of the page together; of results that an older version stored, too."""
        questions = (self.near, tuple(probe for one in self.far for probe in one.probes), self.unseen, self.single)
        tests = [(one.p, _alone(one, probes)) for probes in questions for one in probes]
        tests += [(_first(one.p_exchange, one.p_families), 0.0) for one in self.single]
        together = judged(tests)
        found, count = iter(together), sum(one.p == one.p and not one.few for one in together)
        near, far, unseen, single = ([_with(one, next(found), count) for one in probes] for probes in questions)
        single = [replace(one, p_families_page=test.p) for one, test in zip(single, found, strict=True)]
        rest = iter(far)
        fars = tuple(replace(one, probes=tuple(next(rest) for _ in one.probes)) for one in self.far)
        for name, value in (("near", tuple(near)), ("far", fars), ("unseen", tuple(unseen)), ("single", tuple(single))):
            object.__setattr__(self, name, value)


def _with(probe: Probe, test: Judged, count: int) -> Probe:
    seen = smallest_share(probe.chance, sd_of_band(probe.null_low, probe.null_high), comparisons=count)
    known = math.nan if seen is None or test.few else seen
    return replace(probe, p_page=test.p, least_page=test.least_p, smallest_seen=known)


def _alone(probe: Probe, question: tuple[Probe, ...]) -> float:
    """Return the least p of a probe for itself, without the adjustment for the tests of its question."""
    return probe.least_p / max(1, sum(one.p == one.p for one in question))


def _first(value: float, other: float) -> float:
    return other if math.isnan(value) else value


def far_texts(study: Study) -> int:
    """Return how many texts the far windows have at most."""
    return len(FAR_STARTS) * FAR_WINDOWS * len(study.families)
