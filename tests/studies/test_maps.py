"""Maps beside scores: what a run stores with a map, and the sentence where the two disagree. Real maps throughout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.maps.families import map_silhouette
from numembed.analysis.preparation import equal_rows
from numembed.analysis.scores import SILHOUETTE, score_all
from numembed.core.arrays import Matrix
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.studies.keys import projection_key
from numembed.studies.maps import disagreement, drawn_map
from numembed.studies.results import ModelResult, Projection, ResultStore
from numembed.studies.stored import stored_projection
from numembed.studies.study import Study
from tests.studies.judged import design, study_of

STUDY = study_of()
TWO = Study(("even", "odd"), (model("last_digits"),), per_family=4, length=5)
PULLED = "The map pulls the families apart more than the vectors do (silhouette "
LESS = "The map shows less of the families than the vectors do (silhouette "


def _vectors(*, families: float = 0.0, windows: float = 0.0, seed: int = 0, study: Study = STUDY) -> Matrix:
    """Return noise (n, 128) with so much of family and window in it."""
    drawn = np.random.default_rng(seed)
    labels, places = design(study)
    rows = drawn.standard_normal((len(labels), 128)) + windows * drawn.standard_normal((9, 128))[places]
    return (rows + families * drawn.standard_normal((6, 128))[labels]).astype(np.float32)


def _judged(matrix: Matrix, study: Study = STUDY, name: str = "it") -> ModelResult:
    sequences, spec = study.sequences, replace(model("all-MiniLM-L6-v2"), name=name)
    windows = sequences.windows
    scores, clusters = score_all(matrix, sequences.labels, model=name, windows=windows, permutations=499)
    return ModelResult(spec, matrix.shape[1], scores, clusters)


def _drawn(matrix: Matrix, method: str = "pca", *, dims: int = 2, study: Study = STUDY) -> Projection:
    return drawn_map(study, matrix, method, dims=dims, cache_folder=None)


def _lie(study: Study = STUDY) -> Projection:
    """Return a map with the families far apart, whatever the vectors are."""
    labels, windows = design(study)
    points = (_drawn(_vectors(families=9, study=study), study=study).points).astype(np.float32)
    families = map_silhouette(points, labels, windows=windows, seed=0)
    assert families is not None and families.value > 0.5
    return Projection(points, "pca", {}, families)


@pytest.fixture(scope="module")
def hidden() -> tuple[Matrix, ModelResult]:
    """Vectors with clear families and clearer windows, and what is known of them."""
    matrix = _vectors(families=1.4, windows=1.5)
    return matrix, _judged(matrix)


@pytest.mark.parametrize(("method", "dims"), [("pca", 2), ("pca", 3), ("tsne", 2)])
def test_a_map_of_windows_says_that_the_vectors_hold_more_of_the_families(
    hidden: tuple[Matrix, ModelResult], method: str, dims: int
) -> None:
    matrix, result = hidden
    drawn = _drawn(matrix, method, dims=dims)
    score = result.score(*SILHOUETTE)
    assert score.value > 0.1 and score.p_within is not None and score.p_within <= 0.01
    assert drawn.families is not None and drawn.families.value < 0.05
    said = disagreement(result, drawn)
    numbers = [f"{value:.2f}".replace("-", "−") for value in (drawn.families.value, score.value)]
    assert said == f"{LESS}{numbers[0]} on the map, {numbers[1]} in the vectors): trust the score."
    assert disagreement(result, replace(drawn, families=None)) == "", "a map of an earlier version"


def test_a_map_of_noise_with_the_families_apart_is_told() -> None:
    result = next(one for one in (_judged(_vectors(seed=s)) for s in range(9)) if _p(one) > 0.3)
    assert disagreement(result, _lie()).startswith(PULLED) and disagreement(result, _lie()).endswith(
        ": trust the score."
    )


def test_where_the_vectors_are_not_clear_nothing_is_said() -> None:
    """Neither where p is near the level, nor where too few sequences can have a small one."""
    close = next(one for one in (_judged(_vectors(seed=s)) for s in range(99)) if 0.05 < _p(one) < 0.2)
    assert disagreement(close, _lie()) == ""
    few = _judged(_vectors(study=TWO), TWO)
    assert _p(few) > 0.2 and few.score(*SILHOUETTE).least_p_within > 0.05
    lie = _lie(TWO)
    assert lie.families is not None
    assert disagreement(few, replace(lie, families=replace(lie.families, chance_high=0.1))) == ""


def test_p_is_adjusted_over_the_models_of_the_page(hidden: tuple[Matrix, ModelResult]) -> None:
    result, drawn = hidden[1], _drawn(hidden[0])
    others = [replace(result, model=replace(result.model, name=f"other {i}")) for i in range(40)]
    assert disagreement(result, drawn, among=[result]) != ""
    assert disagreement(result, drawn, among=[result, *others]) == "", "Holm over 41 models: p is above 0.05"


@pytest.mark.slow
@pytest.mark.parametrize("families", [0.0, 0.35, 1.0])
def test_honest_maps_are_left_alone(families: float) -> None:
    said = []
    for seed in range(5):
        matrix = _vectors(families=families, seed=seed)
        result = _judged(matrix)
        said += [disagreement(result, _drawn(matrix, method)) for method in ("pca", "tsne")]
    assert sum(map(bool, said)) <= 1


def test_rows_of_equal_vectors_are_stored_with_the_map(tmp_path: Path) -> None:
    study = Study(("multiples", "odd", "even"), (model("last_digits"),), per_family=8, length=5)
    sequences, spec = study.sequences, study.models[0]
    matrix = BASELINES["last_digits"].function(sequences.texts)
    key = projection_key(spec, sequences, method="pca", dims=2, seed=study.seed)
    with ResultStore(tmp_path / "app.db") as store:
        drawn = _drawn(matrix, study=study)
        store.put_projection(key, drawn)
        found = stored_projection(study, spec, store, method="pca", dims=2)
        assert (
            found is not None and found.equal == drawn.equal == equal_rows(matrix) and found.families == drawn.families
        )
        together = {rows for rows in found.equal if len({design(study)[0][row] for row in rows}) == 1}
        assert len(together) > 1 and all(np.ptp(matrix[list(rows)], axis=0).max() == 0 for rows in found.equal)
        store.put_projection(key, replace(drawn, families=replace(drawn.families, labels="others")))
        other = stored_projection(study, spec, store, method="pca", dims=2)
        assert other is not None and other.families is None and other.equal == drawn.equal


def test_maps_of_earlier_versions_are_read(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "app.db") as store:
        store.put_projection("key", Projection(np.zeros((3, 2), np.float32), "pca", {}))
        assert set(store.get("key") or {}) == {"points", "shape", "method", "used"}
        found = store.projection("key")
    assert found is not None and found.families is None and found.equal == ()


def test_rows_count_as_equal_up_to_rounding() -> None:
    matrix = _vectors()[[0, 1, 0, 2, 1, 0]]
    rounded = (matrix * (1 + np.random.default_rng(0).uniform(-1e-7, 1e-7, matrix.shape))).astype(np.float32)
    assert len(np.unique(rounded, axis=0)) == 6
    assert equal_rows(rounded) == equal_rows(matrix) == ((0, 2, 5), (1, 4))
    assert equal_rows(_vectors()) == equal_rows(matrix[:1]) == equal_rows(matrix[:0]) == ()


def _p(result: ModelResult) -> float:
    p = result.score(*SILHOUETTE).p_within
    assert p is not None
    return p
