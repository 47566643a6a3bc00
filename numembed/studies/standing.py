"""What may be said of a model's silhouette: one table from conditions to a word and a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from numembed.analysis.inference.intervals import Difference, jackknife_difference, paired_difference
from numembed.analysis.inference.permutation_test import needed_per_family
from numembed.analysis.inference.power import sd_above, smallest_beyond
from numembed.analysis.scores import SILHOUETTE, Score
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import decimal, listed, p_text, p_value, would_have_seen
from numembed.sequences.families.family import family
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import FamilySilhouette, ModelResult

UNDEFINED, TOO_FEW, AS_CHANCE = "undefined", "too few", "as chance"
DIFFER, PARTLY, APART = "differ", "partly", "apart"
WORDS = (UNDEFINED, TOO_FEW, AS_CHANCE, DIFFER, PARTLY, APART)  # from the least that can be said to the most
LESS, EQUAL, MORE = "less", "about as well", "more"
_MOST_NAMED = 6  # families


@dataclass(frozen=True)
class Standing:
    """A model's silhouette with the p value that counts: Holm's over the models that are judged together."""

    result: ModelResult
    score: Score
    p: float | None  # adjusted
    models: int  # that p is adjusted for
    families: int = 0  # of the study; 0 where that is not asked for

    @property
    def name(self) -> str:
        """The model's name."""
        return self.result.model.name

    @property
    def within(self) -> bool:
        """Whether the test that counts shuffles inside windows: where every family has the same windows."""
        return self.score.p_within is not None

    @property
    def least_p(self) -> float:
        """The smallest p that so few sequences can have, adjusted."""
        least = self.score.least_p_within if self.within else self.score.least_p
        return min(1.0, self.models * (least or 0))

    @cached_property
    def apart(self) -> tuple[FamilySilhouette, ...]:
        """The families that stand out: above 0, and above shuffled families (Holm over the families)."""
        families = self.tested
        if self.families_untestable:
            return tuple(one for one in families if one.value > 0)
        adjusted = holm([one.p for one in families])
        return tuple(
            one for one, p in zip(families, adjusted, strict=True) if one.value > 0 and p is not None and p <= LEVEL
        )

    @property
    def not_apart(self) -> tuple[FamilySilhouette, ...]:
        """The other families."""
        return tuple(one for one in self.tested if one not in self.apart)

    @property
    def families_untestable(self) -> bool:
        """Whether there are too few sequences to test each family by itself."""
        return any(one.least_p * len(self.tested) > LEVEL for one in self.tested)

    @property
    def rule(self) -> Rule:
        """The first rule whose condition holds."""
        return next(rule for rule in RULES if rule.holds(self))

    @property
    def word(self) -> str:
        """The word for it."""
        return self.rule.word

    @property
    def sentence(self) -> str:
        """The sentence for it."""
        return f"With {self.name}, {self.rule.says(self)}."

    @property
    def numbers(self) -> str:
        """The silhouette with p; both tests where they disagree."""
        among = f" among {self.models} models" if self.models > 1 else ""
        text = f"silhouette {decimal(self.score.value)}, {p_text(self.p)}{among}"
        if not self.within or self.score.p is None or self.p is None or self.p == self.score.p:
            return text
        if (self.score.p <= LEVEL) == (self.p <= LEVEL):
            return text
        return f"{text} within windows; {p_text(self.score.p)} over all windows"

    @property
    def smallest_seen(self) -> float | None:
        """The smallest true silhouette that the test that counts would have found in four cases of five.

        From the band that holds 95% of the shuffles. Of several models each has its part of the level. None where
        nothing was shuffled, or where so few sequences cannot be significant.
        """
        score, within = self.score, self.within
        mean, high = (score.within_mean, score.within_high) if within else (score.chance_mean, score.chance_high)
        sd = sd_above(mean, high)
        if mean is None or math.isnan(sd) or self.least_p > LEVEL:
            return None
        return smallest_beyond(mean, sd, comparisons=self.models)

    @property
    def seen(self) -> str:
        """Which silhouette would have been seen, where no more than chance was; else ""."""
        least = self.smallest_seen if self.word == AS_CHANCE else None
        return "" if least is None else would_have_seen(f"a silhouette of about {decimal(least)}")

    @property
    def tested(self) -> tuple[FamilySilhouette, ...]:
        """Every family with its test; () where the silhouette is not above 0 or no more than chance, or not known."""
        return self.result.detail.families if self.result.detail else ()


@dataclass(frozen=True)
class Rule:
    """A condition with its word, and the rest of its sentence behind "With NAME,"."""

    word: str
    holds: Callable[[Standing], bool]
    says: Callable[[Standing], str]


def standings(results: Sequence[ModelResult], *, families: int = 0) -> tuple[Standing, ...]:
    """Return the standing of each model, in their order; p is adjusted over all models but the baselines."""
    pairs = [(result, result.score(*SILHOUETTE)) for result in results]
    judged = [not result.model.is_baseline and not math.isnan(score.value) for result, score in pairs]
    adjusted = holm([_counted_p(score) if of else None for (_, score), of in zip(pairs, judged, strict=True)])
    return tuple(
        Standing(result, score, p if of else _counted_p(score), sum(judged) if of else 1, families)
        for (result, score), p, of in zip(pairs, adjusted, judged, strict=True)
    )


def beside_baseline(one: Standing, references: ReferenceScores, baseline: float) -> tuple[str, Difference | None]:
    """Return how the silhouette compares with the best baseline's, LESS, EQUAL, MORE or "" where no interval is known.

    The difference is that over the same redrawn windows, else the paired jackknife.
    """
    if (difference := _difference(one, references, baseline)) is None:
        return "", None
    seen = difference.distinguishable and difference.mean * (one.score.value - baseline) > 0
    return (EQUAL if not seen else MORE if difference.mean > 0 else LESS), difference


def _difference(one: Standing, references: ReferenceScores, baseline: float) -> Difference | None:
    redrawn, detail = one.result.designs.get(SILHOUETTE, ()), one.result.detail
    if len(redrawn) == len(references.best_redrawn) > 0:
        difference = paired_difference(redrawn, references.best_redrawn)
    elif detail and len(detail.without) == len(references.best_without) > 0:
        difference = jackknife_difference(one.score.value, baseline, detail.without, references.best_without)
    else:
        return None
    return None if difference.note else difference


def _counted_p(score: Score) -> float | None:
    return score.p if score.p_within is None else score.p_within


def _more_than_chance(one: Standing) -> bool:
    return one.p is not None and one.p <= LEVEL


def _too_few(one: Standing) -> str:
    text = "there are too few sequences to tell whether the families lie apart"
    value = f"silhouette {decimal(one.score.value)}"
    if one.p is None:
        return f"{text} ({value})"
    enough = needed_per_family(one.families, level=LEVEL / one.models, shared_windows=one.within)
    more = f"; {enough:,} of each family would be enough" if enough else ""
    return f"{text} ({value}; p cannot be below {p_value(one.least_p)} here{more})"


def _partly(one: Standing) -> str:
    alone = "; too few sequences to test each family alone" if one.families_untestable else ""
    rest = f"this was not seen for {_named(one.not_apart)}"
    return f"some families lie apart: {_named(one.apart)}; {rest} ({one.numbers}{alone})"


def _apart(one: Standing) -> str:
    alone = "; too few sequences to test each family alone" if one.families_untestable else ""
    return f"the families lie apart ({one.numbers}{alone})"


def _differ(one: Standing) -> str:
    if one.score.value > 0 and not one.tested:
        return f"the families differ; which of them lie apart was not computed ({one.numbers})"
    if one.score.value > 0:
        return f"the families differ, but for no single one is it certain that it lies apart ({one.numbers})"
    return f"the families differ but do not lie apart ({one.numbers})"


def _named(families: Sequence[FamilySilhouette]) -> str:
    titles = [family(one.family).title for one in families]
    rest = len(titles) - _MOST_NAMED
    return listed([*titles[:_MOST_NAMED], f"{rest} more"] if rest > 1 else titles)


RULES = (
    Rule(UNDEFINED, lambda one: math.isnan(one.score.value), lambda one: f"no score is defined: {one.score.note}"),
    Rule(TOO_FEW, lambda one: one.p is None or (one.p > LEVEL and one.least_p > LEVEL), _too_few),
    Rule(
        AS_CHANCE, lambda one: not _more_than_chance(one), lambda one: f"no more than chance was seen ({one.numbers})"
    ),
    Rule(DIFFER, lambda one: one.score.value <= 0 or not one.apart, _differ),
    Rule(PARTLY, lambda one: bool(one.not_apart), _partly),
    Rule(APART, lambda one: True, _apart),
)
