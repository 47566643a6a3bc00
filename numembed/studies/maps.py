"""The maps of a study's models: drawn with what is shown beside them, and held against the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numembed.analysis.maps.families import map_shows_less, map_shows_more, map_silhouette
from numembed.analysis.maps.projections import project
from numembed.analysis.preparation import equal_rows
from numembed.core.arrays import Matrix
from numembed.core.significance import LEVEL
from numembed.core.wording import decimal
from numembed.studies.results import ModelResult, Projection
from numembed.studies.standing import Standing, standings
from numembed.studies.study import Study


def drawn_map(study: Study, matrix: Matrix, method: str, *, dims: int, cache_folder: Path | None) -> Projection:
    """Return the map of vectors (n, d) with the silhouette of the families on it and the rows of equal vectors."""
    points, used = project(matrix, method, dims=dims, seed=study.seed, cache_folder=cache_folder)
    sequences = study.sequences
    windows = sequences.windows if sequences.shared_windows else None
    families = map_silhouette(points, sequences.labels, windows=windows, seed=study.seed)
    return Projection(points, method, used, families, equal_rows(matrix))


def disagreement(result: ModelResult, projection: Projection, *, among: Sequence[ModelResult] = ()) -> str:
    """Return a sentence where a map shows clearly more or less of the families than the vectors do, or "".

    The p value that counts is that of the standing, adjusted over the models ``among`` which it is shown. Where too few
    sequences can have a small one, nothing is said.
    """
    shown = projection.families
    if shown is None:
        return ""
    (alone,) = standings([result])
    if alone.p is None or alone.least_p > LEVEL:
        return ""
    value = alone.score.value
    if map_shows_more(shown, value, alone.p):
        said = "The map pulls the families apart more than the vectors do"
    elif map_shows_less(shown, value, _adjusted(result, among) or alone.p):
        said = "The map shows less of the families than the vectors do"
    else:
        return ""
    return f"{said} (silhouette {decimal(shown.value)} on the map, {decimal(value)} in the vectors): trust the score."


def _adjusted(result: ModelResult, among: Sequence[ModelResult]) -> float | None:
    found: Standing | None = next((one for one in standings(among) if one.result is result), None)
    return found.p if found else None
