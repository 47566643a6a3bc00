"""How adapters are trained, as one value, and what a training has read of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from numembed.core.errors import BadChoice
from numembed.sequences.families.family import whole_number
from numembed.sequences.splits import Split, split_called

MOST_RANK = 256
Number = Literal["float32", "bfloat16", "auto"]
NUMBERS: tuple[Number, ...] = ("float32", "bfloat16", "auto")
Loss = Literal["contrastive", "in_batch"]
LOSSES: tuple[Loss, ...] = ("contrastive", "in_batch")


@dataclass(frozen=True)
class Recipe:
    """How adapters are trained; always valid once made. One adapter is saved for each seed and stage."""

    split: Split = field(default_factory=lambda: split_called("others"))
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()  # ends of module names such as "query"; () for all linear layers of the encoder
    embeddings: bool = False  # also adapt the table of token vectors
    loss: Loss = "contrastive"  # supervised contrastive (Khosla et al. 2020), or pairs against the batch's other pairs
    temperature: float = 0.1
    apart: tuple[float, float] | None = (1.2, 14.0)  # the sequences of a step begin this near one another, at first
    # and at the end: where size tells nothing, family is what is left. None: each begins on its own from the start
    learning_rate: float = 2e-3
    warmup: int = 10  # steps in which the learning rate rises
    falling: bool = True  # whether it then falls in a straight line, to nothing at the end
    batch: int = 24  # sequences in a step
    steps: int = 120
    stages: int = 2  # evenly spaced steps after which the adapter is saved, the last one among them
    looks: int = 2  # evenly spaced steps after which validation is measured, beside the stages
    seeds: tuple[int, ...] = (0, 1, 2)
    numbers: Number = "float32"  # what a processor multiplies in; "auto": bfloat16 where it has units for that

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(dict.fromkeys(self.seeds)))
        for name, (value, low, high) in _limits(self).items():
            if type(value) is not int or not low <= value <= high:
                raise BadChoice(f"{name} is a whole number from {low:,} to {high:,}, got {str(value)[:40]}.")
        for name, number in (
            ("The temperature", self.temperature),
            ("The learning rate", self.learning_rate),
            ("Alpha", self.alpha),
        ):
            if not 0 < number < math.inf:
                raise BadChoice(f"{name} is a number above 0, got {str(number)[:40]}.")
        if self.apart is not None:
            object.__setattr__(self, "apart", tuple(map(float, self.apart)))
            if len(self.apart) != 2 or not all(1 < factor < math.inf for factor in self.apart):
                raise BadChoice(f"apart takes two factors above 1, got {str(self.apart)[:40]}.")
        if self.loss not in LOSSES:
            raise BadChoice(f"The loss is one of {', '.join(LOSSES)}, got {str(self.loss)[:40]!r}.")
        if self.numbers not in NUMBERS:
            raise BadChoice(f"The numbers are one of {', '.join(NUMBERS)}, got {str(self.numbers)[:40]!r}.")
        for seed in self.seeds:
            whole_number("A seed", seed, low=0, high=2**31 - 1)

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """The steps after which the adapter is saved."""
        return _spread(self.steps, self.stages)

    @property
    def looked_steps(self) -> tuple[int, ...]:
        """The steps after which validation is measured."""
        return tuple(sorted({*self.saved_steps, *_spread(self.steps, self.looks)}))

    def pace(self, step: int) -> float:
        """Return the part of the learning rate that step 1, 2, … goes with: it rises, then falls to nothing."""
        rising = min(1.0, step / max(1, self.warmup))
        return rising * (1 - (step - 1) / self.steps if self.falling else 1)

    def settled(self, *, bfloat16: bool) -> Recipe:
        """Return the recipe with the format that "auto" means where there are units for bfloat16, or none."""
        return replace(self, numbers="bfloat16" if bfloat16 else "float32") if self.numbers == "auto" else self

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; without the format of numbers where it is float32: keys of before stay."""
        plain = asdict(self) | {"split": self.split.as_dict()}
        if self.numbers == "float32":
            plain.pop("numbers")
        apart = None if self.apart is None else list(self.apart)
        return plain | {"targets": list(self.targets), "seeds": list(self.seeds), "apart": apart}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Return the recipe that :meth:`as_dict` described."""
        split = Split.from_dict(plain["split"])
        tuples = {name: tuple(plain[name]) for name in ("targets", "seeds", "apart") if plain.get(name) is not None}
        return cls(**{**plain, **tuples, "split": split})


@dataclass(frozen=True)
class Reading:
    """What training has come to after a step; 0 is the base itself."""

    seed: int
    step: int
    loss: float | None
    silhouette: float | None = None  # of the validation windows, where it was measured


def _spread(steps: int, count: int) -> tuple[int, ...]:
    return tuple(steps * (number + 1) // count for number in range(count))


def _limits(recipe: Recipe) -> dict[str, tuple[Any, int, int]]:
    return {
        "The rank": (recipe.rank, 1, MOST_RANK),
        "The number of sequences in a step": (recipe.batch, 4, 4_096),
        "The number of steps": (recipe.steps, 1, 100_000),
        "The number of steps of warm-up": (recipe.warmup, 0, 100_000),
        "The number of stages": (recipe.stages, 1, min(recipe.steps, 50)),
        "The number of validations": (recipe.looks, 1, min(recipe.steps, 1_000)),
        "The number of seeds": (len(recipe.seeds), 1, 20),
    }
