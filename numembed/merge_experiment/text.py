"""The verdict on a merging experiment, in sentences made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numembed.analysis.inference.power import smallest_change
from numembed.core.wording import decimal, percent, span, would_have_seen
from numembed.merge_experiment.comparisons import SPLITS as SPLITS
from numembed.merge_experiment.comparisons import estimated, half
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.results import Candidate, Comparison
from numembed.sequences.splits import PAPER


def main_split(result: ExperimentResult) -> str:
    """Return the split of the verdict: the paper's 24 sequences where training saw none of their families."""
    return "reserved" if set(result.experiment.recipe.split.training) & set(PAPER) else "paper"


def gain(result: ExperimentResult, split: str) -> tuple[float, float, float, float]:
    """Return how much adapting raised the silhouette of ``split``: mean over the seeds, 95% interval, p."""
    base, adapted = result.base_candidate, _full(result)
    if base is None or not adapted:
        return estimated([], [])
    before = base.splits[split]
    after = [candidate.splits[split] for candidate in adapted]
    gaps = [one.silhouette - before.silhouette for one in after]
    return estimated(gaps, [np.subtract(one.without, before.without, dtype=np.float64) for one in after])


def verdict(result: ExperimentResult) -> tuple[str, ...]:
    """Return the sentences that summarise a merging experiment; none claims more than its interval allows."""
    split = main_split(result)
    texts = [one.sentence for one in result.comparisons if one.split == split]
    parts = (_trade_off(result, split), _language(result), _straight(result), _dominance(result))
    return tuple(filter(None, (*parts, *texts)))


def smallest_seen(one: Comparison, comparisons: Sequence[Comparison]) -> float | None:
    """Return the smallest difference that a comparison would have seen among all ``comparisons`` of its split.

    From the width of its interval, as if that were of a normal error. None where it has no interval.
    """
    count = sum(other.split == one.split and not math.isnan(other.p) for other in comparisons)
    return smallest_change(one.low, one.high, comparisons=count)


def seen_sentences(result: ExperimentResult) -> tuple[str, ...]:
    """Return which effects of adapting would have been seen, where none was; by the widths of their intervals."""
    _, low, high, _ = gain(result, main_split(result))
    silhouette = smallest_change(low, high) if low <= 0 <= high else None
    gaps = _loss_gaps(result)
    _, low, high, _ = estimated(gaps, [np.zeros(0)] * len(gaps))
    loss = smallest_change(low, high, freedom=len(gaps) - 1) if low <= 0 <= high else None
    effects = (
        [] if silhouette is None else [f"a change of the silhouette of about {decimal(silhouette, 3)} by adapting"]
    )
    effects += [] if loss is None else [f"a change of the next-token loss of about {decimal(loss)} nats"]
    return tuple(map(would_have_seen, effects))


def _loss_gaps(result: ExperimentResult) -> list[float]:
    """Return how far the next-token loss of each adapted model lies above the base's."""
    before = result.base_candidate.retention.lm_loss if result.base_candidate else None
    after = [one.retention.lm_loss for one in _full(result)]
    return [] if before is None else [loss - before for loss in after if loss is not None]


def _trade_off(result: ExperimentResult, split: str) -> str:
    base, adapted = result.base_candidate, _full(result)
    if base is None or not adapted:
        return ""
    mean, low, high, _ = gain(result, split)
    before = base.splits[split].silhouette
    after = float(np.mean([candidate.splits[split].silhouette for candidate in adapted]))
    many = f"mean of {len(adapted)} seeds" if len(adapted) > 1 else "one seed"
    how = "raised" if low > 0 else "lowered" if high < 0 else "did not surely change"
    by = "" if math.isnan(low) else f" (by {decimal(mean, 3)} ± {half(low, high)})"
    return (
        f"Adapting {how} the silhouette of {SPLITS[split]}{by}: from {decimal(before)} to {decimal(after)} "
        f"({many}). {_kept(result, adapted)}"
    )


def _kept(result: ExperimentResult, adapted: list[Candidate]) -> str:
    """Return how much of the base the adapters retain, and on which texts that is measured."""
    kept = [one for candidate in adapted if math.isfinite(one := candidate.retention.spearman)]
    if not kept:
        return "No retention is shown: this model does not tell the reference texts apart."
    mean = decimal(float(np.mean(kept)))
    between = f", {span(min(kept), max(kept))} over the seeds" if len(kept) > 1 else ""
    if result.measured_on.kind == "sentences":
        which, why = "ordinary sentences", ""
    else:
        which = f"{result.measured_on.texts} number texts of other families"
        why = "This model does not tell ordinary sentences apart. "
    return f"{why}The similarities of {which} correlate with the base's at {mean} (retention, Spearman{between})."


def loss_texts(experiment: MergeExperiment) -> str:
    """Return which texts a decoder's next-token loss is measured on."""
    return "texts of new families" if "new" in experiment.splits else SPLITS["paper"]


def _language(result: ExperimentResult) -> str:
    """Return how adapting changed a decoder's next-token loss; "" for models that predict no tokens."""
    before = result.base_candidate.retention.lm_loss if result.base_candidate else None
    after = [loss for candidate in _full(result) if (loss := candidate.retention.lm_loss) is not None]
    if before is None or not after:
        return ""
    gaps = [loss - before for loss in after]
    mean, low, high, _ = estimated(gaps, [np.zeros(0)] * len(gaps))
    between = f", {span(min(after), max(after))} over the seeds" if len(after) > 1 else ""
    went = (
        f"its next-token loss on {loss_texts(result.experiment)} went from {decimal(before)} to "
        f"{decimal(float(np.mean(after)))} nats{between}"
    )
    if math.isnan(low):
        these = "this adapter" if len(after) == 1 else "these adapters"
        how = "worse with" if min(gaps) > 0 else "better with" if max(gaps) < 0 else "not consistently changed by"
        return f"As a language model the base is {how} {these}: {went}; other seeds may differ."
    how = "worse" if low > 0 else "better" if high < 0 else "not significantly changed"
    by = f"by {decimal(abs(mean))} ± {decimal((high - low) / 2)} nats over {len(after)} seeds, on these texts"
    return f"As a language model the adapted base is {how} ({by}): {went}."


def _straight(result: ExperimentResult) -> str:
    to_base = [one for one in result.straight if one.space == "weights" and one.between.startswith("base")]
    if not to_base:
        return ""
    share = float(np.mean([one.parallel for one in to_base]))
    vectors = [one.largest_vector for one in to_base if not math.isnan(one.largest_vector)]
    of_vectors = f", and the vector of a text by at most {max(vectors):.2g}" if vectors else ""
    step = max(one.of_step for one in to_base)
    return (
        f"Between the base and the adapted models, {percent(share)} of the adapted parameters are in tensors so "
        "parallel (cosine above 0.9995) that mergekit's SLERP uses linear interpolation. At the midpoint, SLERP "
        f"differs from it by at most {percent(step, 2)} of the distance between the models{of_vectors}."
    )


def _dominance(result: ExperimentResult) -> str:
    adapted = _full(result)
    shifts = [shift for one in result.dominance for shift in one.shifts if shift.scale == 1 and shift.shares]
    first = [shift.shares[0] for shift in shifts if not math.isnan(shift.shares[0])]
    if not adapted or not first:
        return ""
    update = float(np.mean([candidate.update_relative for candidate in adapted]))
    return (
        f"The adapters change the weights by {percent(update, 1)} of their norm, and "
        f"{percent(float(np.mean(first)))} of the (squared) shift of the vectors of number texts is in one direction."
    )


def _full(result: ExperimentResult) -> list[Candidate]:
    """Return each seed's adapter at scale 1."""
    return [candidate for candidates in result.of("lora") for candidate in candidates if candidate.at == 1]
