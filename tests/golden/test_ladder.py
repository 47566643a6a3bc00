"""The merging experiment on the bundled model, short: what adapting gains and costs, and which merges are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numembed.core.settings import read_settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.results import Candidate
from numembed.merge_experiment.run import run_experiment
from numembed.models.adapters.recipe import Recipe
from numembed.models.encoders.loaded import LoadedModel
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore

pytestmark = pytest.mark.slow
MERGE_EXPERIMENT = MergeExperiment(
    recipe=Recipe(seeds=(0, 1), steps=20, stages=1, looks=1, apart=None, learning_rate=1e-3),
    paths=("lora", "linear", "slerp", "slerp_task", "norm_matched"),
    points=3,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExperimentResult]:
    settings = read_settings({"NUMEMBED_HOME": str(tmp_path_factory.mktemp("ladder")), "HF_HUB_OFFLINE": "1"})
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield run_experiment(
            MERGE_EXPERIMENT, vectors=vectors, results=results, loaded=LoadedModel(settings), settings=settings
        )


def _arm(found: ExperimentResult, path: str, at: float) -> Candidate:
    (candidate,) = (one for one in found.path(path) if one.at == at)
    return candidate


def _silhouettes(candidate: Candidate) -> list[float]:
    return [candidate.splits[name].silhouette for name in ("reserved", "later", "paper", "new")] + [
        candidate.retention.spearman
    ]


GRADED = 0.942  # Spearman of the base's likeness of graded pairs with their grades
GOLDEN = {  # silhouettes of reserved, later, paper and new, then how alike sentences are still (Spearman with the base)
    ("base", 1.0): (-0.0255, 0.1042, -0.0922, -0.0881, 1.0),
    ("lora-0", 1.0): (-0.0222, 0.1520, -0.1063, -0.0867, 0.9598),
    ("lora-1", 1.0): (-0.0196, 0.1321, -0.1167, -0.1252, 0.9709),
    ("lora-0", 1.5): (-0.0095, 0.1709, -0.1079, -0.0935, 0.8863),
    ("linear-0-1", 0.5): (-0.0201, 0.1411, -0.1088, -0.1054, 0.9664),
    ("slerp_task-0-1", 0.5): (-0.0094, 0.1510, -0.1108, -0.1148, 0.9259),
}


@pytest.mark.parametrize(("path", "at"), GOLDEN)
def test_the_arms_score_as_measured(found: ExperimentResult, path: str, at: float) -> None:
    tolerance = 0.002 if path == "base" else 0.025  # training rounds otherwise on another processor
    assert _silhouettes(_arm(found, path, at)) == pytest.approx(GOLDEN[path, at], abs=tolerance)


def test_graded_pairs_are_graded_as_their_author_did(found: ExperimentResult) -> None:
    base, adapted = (_arm(found, path, 1.0).retention.graded for path in ("base", "lora-0"))
    assert base == pytest.approx(GRADED, abs=0.005) and 0.5 < adapted < 1


def test_slerp_in_the_weights_is_the_straight_line(found: ExperimentResult) -> None:
    arc, line = _arm(found, "slerp-0-1", 0.5), _arm(found, "linear-0-1", 0.5)
    assert _silhouettes(arc) == pytest.approx(_silhouettes(line), abs=1e-3)
    for one in found.straight:
        if one.space == "weights":
            assert one.parallel > 0.95 and one.cosine > 0.9995 and one.of_step < 0.01


def test_slerp_of_updates_is_a_line_of_the_same_length(found: ExperimentResult) -> None:
    arc, line = _arm(found, "slerp_task-0-1", 0.5), _arm(found, "norm_matched-0-1", 0.5)
    assert _silhouettes(arc) == pytest.approx(_silhouettes(line), abs=2e-3)
    assert arc.update == pytest.approx(line.update, rel=0.01)
    assert arc.update > 1.25 * _arm(found, "linear-0-1", 0.5).update, "it keeps the length, and the soup does not"
    (angle,) = (one.cosine for one in found.straight if one.space == "task_vectors")
    assert 0 < angle < 0.25, "two seeds change the model in nearly unrelated directions"


def test_more_of_an_adapter_keeps_less_of_the_base(found: ExperimentResult) -> None:
    for seed in (0, 1):
        kept = [candidate.retention.spearman for candidate in found.path(f"lora-{seed}")]
        assert kept == sorted(kept, reverse=True) and kept[0] == 1
        apart = [candidate.splits["later"].silhouette for candidate in found.path(f"lora-{seed}")]
        assert apart == sorted(apart), "and tells the paper's families apart better, further on"


def test_no_sentence_claims_a_difference(found: ExperimentResult) -> None:
    assert found.sentences[0].startswith("Adapting did not surely change the silhouette of the paper's 24 sequences")
    assert not any("separates better" in sentence for sentence in found.sentences)
