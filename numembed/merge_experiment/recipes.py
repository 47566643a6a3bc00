"""How adapters are trained where a page or a command names some of it: the rest is what is usual for the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numembed.models.adapters.recipe import Loss, Recipe
from numembed.models.builtin.models import usual_recipe
from numembed.models.spec import ModelSpec
from numembed.sequences.splits import Split

_ALPHA_PER_RANK = 2.0


def recipe_for(
    base: ModelSpec,
    split: Split,
    *,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    stages: int | None = None,
    rank: int | None = None,
    alpha: float | None = None,
    targets: Sequence[str] | None = None,
    loss: Loss | None = None,
    learning_rate: float | None = None,
) -> Recipe:
    """Return the usual recipe of ``base`` on ``split``, with what is named in its place and the rest fitted to that.

    Training sequences are as long as is usual for the base. Raises BadChoice as Recipe does.
    """
    usual = usual_recipe(base)
    split = replace(split, shortest=usual.split.shortest, longest=usual.split.longest)
    steps = usual.steps if steps is None else steps
    rank = usual.rank if rank is None else rank
    return replace(
        usual,
        split=split,
        steps=steps,
        rank=rank,
        alpha=_ALPHA_PER_RANK * rank if alpha is None else alpha,
        targets=usual.targets if targets is None else tuple(targets),
        loss=usual.loss if loss is None else loss,
        learning_rate=usual.learning_rate if learning_rate is None else learning_rate,
        seeds=usual.seeds if seeds is None else tuple(seeds),
        stages=max(1, min(usual.stages, steps)) if stages is None else stages,
        looks=max(1, min(usual.looks, steps)),
        warmup=min(usual.warmup, max(0, steps // 10)),
    )
