"""The paths from a base and its adapters to merged models: what each path sweeps, and of which parts it is made.

To add one, add a row to ``KINDS``; with ``of`` it is drawn once for each seed, pair of seeds, seed's stages, or for all
seeds together. Nothing here reads weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from numembed.models.adapters.recipe import Recipe
from numembed.models.merging.methods import Scope, Space
from numembed.models.merging.tensors import Merge, checked
from numembed.models.spec import FolderWeights, LocalWeights, LoraWeights, MergedWeights, Weights

MOST_PAIRS = 3  # each seed with the next one; more would say little more

Sweep = Literal["", "t", "scale"]
Of = Literal["base", "seed", "pair", "stages", "seeds"]
Trained = tuple[int, int]  # seed, step


@dataclass(frozen=True)
class PathKind:
    """A row of the table."""

    name: str
    title: str
    about: str
    kind: str  # what the picture groups by
    of: Of  # what it is drawn for
    sweeps: Sweep = ""
    method: str = ""  # of MERGES; "" where an adapter is only scaled
    space: Space | Literal[""] = ""
    scope: Scope = "tensor"
    control: str = ""  # the path that it is compared with
    end: float = 1.5  # of the scale


KINDS: Mapping[str, PathKind] = {
    row.name: row
    for row in (
        PathKind("base", "Base", "The model before it was adapted.", "base", "base"),
        PathKind(
            "lora", "LoRA", "The base with one seed's adapter, scaled from 0 to 1.5; up to 1 this is WiSE-FT.",
            "lora", "seed", "scale",
        ),
        PathKind(
            "soup", "Soup", "The base with the mean of all seeds' updates, scaled from 0 to 2; 1 is the soup itself.",
            "soup", "seeds", "scale", "task_arithmetic", "task_vectors", control="lora", end=2.0,
        ),
        PathKind(
            "slerp_base", "SLERP to the base", "SLERP of the weights, from the base to one seed's adapted model.",
            "slerp", "seed", "t", "slerp", "weights", control="lora",
        ),
        PathKind(
            "linear", "Linear", "Linear interpolation between the models of two seeds.",
            "soup", "pair", "t", "linear", "weights",
        ),
        PathKind(
            "slerp", "SLERP", "SLERP of the weights, between the models of two seeds.",
            "slerp", "pair", "t", "slerp", "weights", control="linear",
        ),
        PathKind(
            "slerp_task", "SLERP of updates", "SLERP of the updates (task vectors) of two seeds.",
            "slerp", "pair", "t", "slerp", "task_vectors", control="norm_matched",
        ),
        PathKind(
            "norm_matched", "Linear, length kept", "Linear interpolation of two updates, rescaled to their length.",
            "norm_matched", "pair", "t", "norm_matched", "task_vectors", control="linear",
        ),
        PathKind(
            "norm_matched_weights", "Linear in the weights, length kept",
            "Linear interpolation between the models of two seeds, each tensor rescaled to a length between theirs.",
            "norm_matched", "pair", "t", "norm_matched", "weights", control="linear",
        ),
        PathKind(
            "norm_matched_base", "Linear to the base, length kept",
            "Linear interpolation from the base to one seed's model, each tensor rescaled to a length between theirs.",
            "norm_matched", "seed", "t", "norm_matched", "weights", control="lora",
        ),
        PathKind(
            "slerp_flat", "SLERP of updates, one angle", "As SLERP of updates, with one angle for the whole model.",
            "slerp", "pair", "t", "slerp", "task_vectors", "flat", control="norm_matched",
        ),
        PathKind(
            "karcher", "Karcher mean", "SLERP of the weights of all seeds at once.",
            "karcher", "seeds", "", "karcher", "weights", control="soup",
        ),
        PathKind(
            "karcher_task", "Karcher mean of updates", "SLERP of all seeds' updates at once.",
            "karcher", "seeds", "", "karcher", "task_vectors", control="soup",
        ),
        PathKind(
            "soup_norm", "Soup, length kept", "The mean of all updates, rescaled to their mean length.",
            "norm_matched", "seeds", "", "norm_matched_soup", "task_vectors", control="soup",
        ),
        PathKind(
            "soup_norm_weights", "Soup in the weights, length kept",
            "The mean of all seeds' models, each tensor rescaled to the mean of their lengths.",
            "norm_matched", "seeds", "", "norm_matched_soup", "weights", control="soup",
        ),
        PathKind(
            "multi_stage", "SLERP across stages", "SLERP of the weights, through the saved stages of one seed.",
            "multi_stage", "stages", "t", "multi_stage", "weights", control="stages_linear",
        ),
        PathKind(
            "multi_stage_task", "SLERP across stages' updates", "SLERP of the updates of one seed's stages.",
            "multi_stage", "stages", "t", "multi_stage", "task_vectors", control="stages_linear",
        ),
        PathKind(
            "stages_linear", "Linear across stages", "Linear interpolation from one seed's first stage to its last.",
            "soup", "stages", "t", "linear", "weights",
        ),
        PathKind(
            "task_arithmetic", "Task arithmetic", "The base with the sum of all seeds' updates, scaled from 0 to 1.5.",
            "task_arithmetic", "seeds", "scale", "task_arithmetic", "task_vectors", control="soup",
        ),
        PathKind(
            "ties", "TIES", "The largest values of all updates, after a vote on their signs, scaled from 0 to 1.5.",
            "ties", "seeds", "scale", "ties", "task_vectors", control="soup",
        ),
        PathKind(
            "dare", "DARE", "The mean of all updates, half of their values dropped at random, scaled from 0 to 1.5.",
            "dare", "seeds", "scale", "dare", "task_vectors", control="soup",
        ),
        PathKind(
            "model_stock", "Model stock", "From the base towards the soup, as far as the updates agree.",
            "model_stock", "seeds", "", "model_stock", "task_vectors", control="soup",
        ),
    )
}  # fmt: skip
USUAL = (
    *("base", "lora", "soup", "slerp_base", "linear", "slerp", "slerp_task", "norm_matched"),
    *("norm_matched_weights", "norm_matched_base"),  # lengths of whole tensors, not of their updates
    *("karcher", "karcher_task", "soup_norm", "soup_norm_weights", "multi_stage", "stages_linear", "model_stock"),
)

SHORT = ("base", "lora", "soup", "slerp_base", "slerp_task", "norm_matched", "multi_stage")
FEWEST_POINTS, USUAL_POINTS = 3, 11


def usual_paths(recipe: Recipe) -> tuple[str, ...]:
    """Return the rows that are scored unless others are chosen: few in the short form, whose split is brief."""
    return SHORT if recipe.split.brief else USUAL


def usual_points(recipe: Recipe) -> int:
    """Return the fewest values of a swept path, unless others are chosen."""
    return FEWEST_POINTS if recipe.split.brief else USUAL_POINTS


@dataclass(frozen=True)
class Path:
    """One path of a merging experiment, from its first value to its last."""

    id: str  # "slerp-0-1"
    name: str  # the row of KINDS
    title: str
    kind: str
    sweeps: Sweep
    space: Space | Literal[""]
    ingredients: tuple[Trained, ...]  # the adapters that it is made of; the base is in all
    values: tuple[float, ...]  # of t or the scale; one value where nothing is swept

    @property
    def parts(self) -> tuple[str, ...]:
        """The ingredients in words."""
        return tuple(f"seed {seed}, step {step}" for seed, step in self.ingredients) or ("the base",)


def possible(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the paths for which a recipe has enough seeds and stages.

    >>> "slerp" in possible(Recipe(seeds=(0,), steps=4, stages=1, looks=1))
    False
    """
    lacks = {"pair" if len(recipe.seeds) < 2 else "", "seeds" if len(recipe.seeds) < 2 else ""}
    lacks |= {"stages" if len(recipe.saved_steps) < 2 else ""}
    return tuple(name for name, row in KINDS.items() if row.of not in lacks)


def paths_of(names: Sequence[str], recipe: Recipe, points: int) -> tuple[Path, ...]:
    """Return the paths of the rows ``names``, each with at least ``points`` values where something is swept."""
    return tuple(
        _path(KINDS[name], chosen, title, points) for name in names for chosen, title in _drawn_for(KINDS[name], recipe)
    )


def values_of(sweeps: Sweep, points: int, *, end: float = 1.5) -> tuple[float, ...]:
    """Return the swept values, with one half and 1 among them, so that paths can be compared.

    >>> values_of("t", 3), values_of("scale", 4), values_of("", 11)
    ((0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 1.5), (1.0,))
    """
    if not sweeps:
        return (1.0,)
    end = 1.0 if sweeps == "t" else end
    halves = round(2 * end)
    steps = -(-(points - 1) // halves) * halves
    return tuple(round(end * number / steps, 6) for number in range(steps + 1))


def weights_at(path: Path, at: float, base: Weights, adapters: Mapping[Trained, LocalWeights]) -> Weights:
    """Return the model at one point of a path; at its ends the part itself, so that nothing is encoded twice."""
    origin, row = cast(FolderWeights, base), KINDS[path.name]
    parts = tuple(LoraWeights(origin, adapters[one]) for one in path.ingredients)
    options: tuple[tuple[str, float], ...] = ()
    match row.of, row.sweeps:
        case "base", _:
            return base
        case _, "scale":
            if at == 0:
                return base
            if not row.method:
                return LoraWeights(origin, parts[0].adapter, at)
            options = (("scale", at / len(parts) if path.name == "soup" else at),)
        case "seed", "t":
            if at in (0, 1):
                return (base, parts[0])[int(at)]
            return _merged(row, (base, parts[0]), None, _arc(row, at))
        case _, "t":
            if at in (0, 1):
                return (parts[0], parts[-1])[int(at)]
            parts = (parts[0], parts[-1]) if row.method == "linear" else parts
            options = _arc(row, at)
    return _merged(row, parts, base if row.space == "task_vectors" else None, options)


def _arc(row: PathKind, at: float) -> tuple[tuple[str, float], ...]:
    """Return the options of a merge at t; SLERP is always exact, also where mergekit's interpolates linearly."""
    exact = (("fallback", 1.0),) if row.method in ("slerp", "multi_stage") else ()
    return (("t", at), *exact)


def _merged(
    row: PathKind, parts: tuple[Weights, ...], base: Weights | None, options: tuple[tuple[str, float], ...]
) -> MergedWeights:
    full = checked(
        Merge(row.method, row.space, row.scope, options=options), parts=len(parts), has_base=base is not None
    )
    shares = tuple(round(weight / sum(full.weights), 12) for weight in full.weights)  # as resolve() writes them
    return MergedWeights(row.method, parts, base, full.space, full.scope, shares, full.options)


def _drawn_for(row: PathKind, recipe: Recipe) -> list[tuple[tuple[Trained, ...], str]]:
    """Return the ingredients of each path of a row, and what distinguishes it from the row's others."""
    seeds, steps = recipe.seeds, recipe.saved_steps
    last = {seed: (seed, recipe.steps) for seed in seeds}
    match row.of:
        case "base":
            return [((), "")]
        case "seed":
            return [((last[seed],), f"seed {seed}") for seed in seeds]
        case "stages":
            return [(tuple((seed, step) for step in steps), f"seed {seed}") for seed in seeds]
        case "pair":
            pairs = [(one, seeds[(at + 1) % len(seeds)]) for at, one in enumerate(seeds)]
            pairs = pairs[: 1 if len(seeds) == 2 else MOST_PAIRS]
            return [((last[one], last[other]), f"seeds {one} and {other}") for one, other in pairs]
        case "seeds":
            return [(tuple(last.values()), "")]


def _path(row: PathKind, chosen: tuple[Trained, ...], text: str, points: int) -> Path:
    seeds = dict.fromkeys(seed for seed, _ in chosen) if text else ()
    name = "-".join([row.name, *map(str, seeds)])
    title = f"{row.title}, {text}" if text else row.title
    return Path(
        name, row.name, title, row.kind, row.sweeps, row.space, chosen, values_of(row.sweeps, points, end=row.end)
    )
