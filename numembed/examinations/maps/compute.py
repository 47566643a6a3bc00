"""Do the maps show what is there? What each keeps of its space, six seeds of it, and pure noise beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from numembed.analysis.maps import faithfulness
from numembed.analysis.maps.projections import PROJECTIONS, project, seeded_maps
from numembed.analysis.metrics import silhouette
from numembed.analysis.preparation import Distance
from numembed.core.arrays import Labels, Matrix, Points
from numembed.examinations.registry import ExaminationContext
from numembed.studies.stored import stored_projection
from numembed.studies.study import DIMENSIONS

SEEDS = 6
SEEDS_UP_TO = 1_000  # sequences; six maps of more take minutes
SOLID_UP_TO = 500  # sequences whose 3-D maps are looked at too
SMALL = 200  # sequences; with more, noise is mapped less often
_NOISE_SEED = 7_001

Places = tuple[tuple[float, ...], ...]  # (n, 2): the middle is 0, and the farthest coordinate 1


@dataclass(frozen=True)
class MapTruth:
    """How far one map may be believed, beside maps of noise; NaN where undefined."""

    method: str
    dims: int
    trustworthiness: float
    continuity: float
    overlap: float
    neighbours: int  # how many of each sequence were compared
    silhouette: float  # of the families, in the map
    chance_low: float  # 95% of shuffled families lie between these two in the map
    chance_high: float
    noise_trustworthiness: float  # means of the maps of noise
    noise_continuity: float
    noise_overlap: float
    noise_silhouette: float
    noise_highest: float  # the best silhouette of the families in a map of noise
    groups: float  # silhouette in the map of the groups that the eye finds there
    groups_space: float  # of the same groups, in the vectors
    groups_noise: float  # the clearest groups in a map of noise
    groups_noise_space: float
    warning: str = ""
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """The points of a 2-D map and the silhouette of the families in it."""

    method: str
    points: Places
    silhouette: float


@dataclass(frozen=True)
class Seeds:
    """One method's maps from several seeds, each aligned with the first."""

    method: str
    points: tuple[Places, ...]
    silhouettes: tuple[float, ...]
    stability: float  # 1: all maps are the same
    chance: float  # of the same maps with their points in any order
    noise: float  # of maps of noise from as many seeds; NaN where it was not drawn
    nearest: int  # how many neighbours were compared: as many as a family has other members, at most 10
    kept: float  # share of them that two maps have in common


@dataclass(frozen=True)
class Maps:
    """What was found about all maps of one model."""

    n: int
    dimension: int
    noise_maps: int = field(metadata={"stored": "twins"})  # per method
    scatter: float  # the clearest groups in 99 even scatters of as many points
    space: float  # silhouette of the families in the vectors
    chance_mean: float
    chance_low: float
    chance_high: float
    p: float
    maps: tuple[MapTruth, ...]
    drawn: tuple[Picture, ...]  # the maps of Compare
    noise: tuple[Picture, ...]  # the same methods, seeds and families, with random vectors
    seeds: tuple[Seeds, ...]
    p_within: float = math.nan  # families shuffled inside each window only; NaN where an older version stored none
    within_mean: float = math.nan  # what these shuffles score
    within_high: float = math.nan  # 2.5% of them score more

    def of(self, method: str, dims: int = 2) -> MapTruth | None:
        """Return what was found about one map, or None."""
        return next((one for one in self.maps if (one.method, one.dims) == (method, dims)), None)


def maps(context: ExaminationContext) -> Maps:
    """Return what is found about the maps of a model: those of Compare, where a run has stored them."""
    matrix, labels, score = (
        context.matrix,
        context.study.sequences.labels,
        context.result.score("silhouette", "families"),
    )
    n, d = matrix.shape
    noises = tuple(
        faithfulness.noise_reference(n, d, _NOISE_SEED + context.study.seed + i) for i in range(_noise_count(n))
    )
    scatter = faithfulness.clearest_scatter(labels, seed=context.study.seed)
    kinds = [(method, dims) for dims in DIMENSIONS if dims == 2 or n <= SOLID_UP_TO for method in PROJECTIONS.names]
    rounds = SEEDS * len(seeded_maps()) * (1 + (n <= SMALL)) if 1 < n <= SEEDS_UP_TO else 0
    step = _counting(context.progress, sum(1 + len(_few(noises, dims)) for _, dims in kinds) + rounds)
    truths, drawn, noise = [], [], []
    for method, dims in kinds:
        step()
        points, note = _points_of(context, method, dims)
        mapped = []
        for vectors in _few(noises, dims):
            step()
            mapped.append((vectors, _mapped(context, vectors, method, dims)))
        truths.append(_truth(context, method, points, mapped, scatter if dims == 2 else math.nan, note))
        if dims == 2:
            drawn.append(_picture(method, points, labels))
            noise += [_picture(method, own, labels) for _, own in mapped[:1]]
    seeds = tuple(_seeds(context, method, noises, step) for method in seeded_maps()) if rounds else ()
    low, high = _rounded(score.chance_low), _rounded(score.chance_high)
    return Maps(
        n,
        d,
        len(noises),
        _rounded(scatter),
        _rounded(score.value),
        _rounded(score.chance_mean),
        low,
        high,
        _rounded(score.p),
        tuple(truths),
        tuple(drawn),
        tuple(noise),
        seeds,
        *map(_rounded, (score.p_within, score.within_mean, score.within_high)),
    )


def _points_of(context: ExaminationContext, method: str, dims: int) -> tuple[Points, str]:
    """Return the very points that Compare shows, or those that it would show; and a note where they are others'."""
    kept = stored_projection(context.study, context.spec, context.results, method=method, dims=dims)
    if kept is not None:
        return kept.points, str(kept.used.get("note", ""))
    points, used = project(
        context.matrix, method, dims=dims, seed=context.study.seed, cache_folder=context.settings.compiled
    )
    return points, str(used.get("note", ""))


def _mapped(
    context: ExaminationContext, matrix: Matrix, method: str, dims: int = 2, *, seed: int | None = None, **options: Any
) -> Points:
    seed = context.study.seed if seed is None else seed
    return project(matrix, method, dims=dims, seed=seed, cache_folder=context.settings.compiled, **options)[0]


def _truth(
    context: ExaminationContext,
    method: str,
    points: Points,
    noises: Sequence[tuple[Matrix, Points]],
    scatter: float,
    note: str,
) -> MapTruth:
    """Return what one map keeps and shows, compared with the maps of the noise ``noises``."""
    labels, distance = context.study.sequences.labels, _distance(context)
    limit = context.result.score("silhouette", "families").chance_high
    own = faithfulness.map_faithfulness(
        context.matrix, points, labels, distance=distance, seed=context.study.seed, chance_high=limit
    )
    noise = [faithfulness.faithfulness(vectors, drawn, labels, distance=distance) for vectors, drawn in noises]
    result = faithfulness.groups_in(context.matrix, points, labels, distance=distance)
    others = [faithfulness.groups_in(vectors, drawn, labels, distance=distance) for vectors, drawn in noises]
    read = faithfulness.groups_warning(result, scatter=scatter, noise_in_space=[other.in_space for other in others])
    numbers = {
        "trustworthiness": own["trustworthiness"],
        "continuity": own["continuity"],
        "overlap": own["overlap"],
        "silhouette": own["silhouette_map"],
        "chance_low": own["chance_map_low"],
        "chance_high": own["chance_map_high"],
        "noise_trustworthiness": _mean([one.trustworthiness for one in noise]),
        "noise_continuity": _mean([one.continuity for one in noise]),
        "noise_overlap": _mean([one.neighbour_overlap for one in noise]),
        "noise_silhouette": _mean([one.score_in_map for one in noise]),
        "noise_highest": _highest([one.score_in_map for one in noise]),
        "groups": result.in_map,
        "groups_space": result.in_space,
        "groups_noise": _highest([one.in_map for one in others]),
        "groups_noise_space": _highest([one.in_space for one in others]),
    }
    plain: dict[str, Any] = {name: _rounded(value) for name, value in numbers.items()}
    text = "; ".join(part for part in (note, own["note"]) if part)
    return MapTruth(
        method, points.shape[1], neighbours=own["neighbours"], warning=own["warning"] or read, note=text, **plain
    )


def _picture(method: str, points: Points, labels: Labels) -> Picture:
    return Picture(method, _places(points), _rounded(silhouette(points, labels)))


def _seeds(context: ExaminationContext, method: str, noises: Sequence[Matrix], step: Callable[[], None]) -> Seeds:
    """Return six maps of the same vectors, from six seeds, aligned with the first."""
    labels, options = context.study.sequences.labels, seeded_maps()[method]

    def drawn(matrix: Matrix) -> Iterator[Points]:
        for i in range(SEEDS):
            step()
            yield _mapped(context, matrix, method, seed=(context.study.seed + i) % 2**31, **options)

    maps = list(drawn(context.matrix))
    aligned, stability = faithfulness.procrustes_stability(maps)
    noise = faithfulness.procrustes_stability(list(drawn(noises[0])))[1] if len(labels) <= SMALL else math.nan
    members = int(np.bincount(labels).min()) - 1
    pairs = [
        faithfulness.faithfulness(maps[0], other, labels, neighbours=min(10, max(1, members))) for other in maps[1:]
    ]
    widest = max(float(np.abs(points).max(initial=0)) for points in aligned)
    return Seeds(
        method,
        tuple(_places(points, widest) for points in aligned),
        tuple(_rounded(silhouette(points, labels)) for points in maps),
        _rounded(stability),
        _rounded(faithfulness.chance_stability(maps, seed=context.study.seed)),
        _rounded(noise),
        pairs[0].neighbours,
        _rounded(_mean([one.neighbour_overlap for one in pairs])),
    )


def _distance(context: ExaminationContext) -> Distance:
    return cast(Distance, context.study.distance)


def _noise_count(n: int) -> int:
    """Return how many maps of noise each method draws: fewer where one takes longer, none where it takes minutes."""
    return 0 if n < 2 else 9 if n <= SMALL else 5 if n <= 500 else 3 if n <= 1_000 else 1 if n <= 3_000 else 0


def _few(noises: Sequence[Matrix], dims: int) -> Sequence[Matrix]:
    """Return the noise for maps of so many dimensions: one or none for 3-D, which is not drawn and takes longest."""
    return noises if dims == 2 else noises[: len(noises) > 5]


def _counting(progress: Callable[[int, int], None], total: int) -> Callable[[], None]:
    """Return a function that tells at each call that one more map begins."""
    begun = iter(range(total + 1))

    def step() -> None:
        progress(next(begun, total), total)

    return step


def _places(points: Points, widest: float | None = None) -> Places:
    centred = np.asarray(points, dtype=np.float64)
    if widest is None:
        centred = centred - (centred.max(axis=0, initial=-np.inf) + centred.min(axis=0, initial=np.inf)) / 2
        widest = float(np.abs(centred).max(initial=0))
    return tuple(tuple(row) for row in np.round(centred / (widest or 1), 3).tolist())


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _highest(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _rounded(value: float | None) -> float:
    return math.nan if value is None else round(float(value), 4)
