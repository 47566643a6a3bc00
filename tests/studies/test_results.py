from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.scores import Score
from numembed.models.catalogue.names import model
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import IntegerSequence, SequenceSet, TextFormat, make_sequences
from numembed.studies.keys import projection_key, scores_key
from numembed.studies.results import ModelResult, Projection, ResultStore

SPEC = model("last_digits")
SEQUENCES = make_sequences(["even", "odd"], per_family=3, length=4)
RESULT = ModelResult(
    SPEC,
    10,
    (
        Score("Last digits", "silhouette", "families", 0.1 + 0.2, p=1 / 3, chance_mean=-0.1, chance_low=-0.2),
        Score("Last digits", "ari", "kmeans", math.nan, note="needs at least 2 families"),
    ),
    np.array([0, 1, 1, 0, 2, 2], dtype=np.int64),
)


def test_scores_come_back_to_the_last_digit(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "app.db") as store:
        assert store.model_result(SPEC, "key") is None
        store.put_model_result("key", RESULT)
    with ResultStore(tmp_path / "app.db") as store:
        found = store.model_result(SPEC, "key")
    assert found is not None and found.dimension == 10 and found.model == SPEC
    assert found.score("silhouette", "families") == RESULT.scores[0]
    undefined = found.score("ari", "kmeans")
    assert math.isnan(undefined.value) and undefined.note == "needs at least 2 families"
    assert found.clusters.dtype == np.int64 and found.clusters.tolist() == RESULT.clusters.tolist()


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_come_back_bit_by_bit(tmp_path: Path, dims: int) -> None:
    points = np.random.default_rng(0).standard_normal((6, dims)).astype(np.float32)
    with ResultStore(tmp_path / "app.db") as store:
        assert store.projection("key") is None
        store.put_projection("key", Projection(points, "tsne", {"perplexity": 5.0, "note": "–"}))
        found = store.projection("key")
    assert found is not None and found.points.tobytes() == points.tobytes() and found.points.shape == (6, dims)
    assert found.method == "tsne" and found.used == {"perplexity": 5.0, "note": "–"}


def test_the_newest_value_counts_and_delete_forgets_all(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "app.db") as store:
        for value in (1, 2):
            store.put("key", {"value": value})
        assert store.get("key") == {"value": 2} and store.get("other") is None


@pytest.mark.parametrize(
    "damage",
    [
        "payload = replace(payload, '7', '8')",
        "checksum = x'0000000000000000'",
        "payload = x'ff00ff'",
        "payload = cast(x'7b22ff227d' AS TEXT)",
        "checksum = 'text'",
        "key = 'asked', payload = payload",
    ],
)
def test_a_damaged_row_counts_as_absent(tmp_path: Path, damage: str) -> None:
    with ResultStore(tmp_path / "app.db") as store:
        store.put("stored", {"value": 7})
        other = sqlite3.connect(tmp_path / "app.db")
        other.execute(f"UPDATE results SET {damage}")  # the last one: another row's payload under a key
        other.commit()
        other.close()
        key = "asked" if "asked" in damage else "stored"
        assert store.get(key) is None
        store.put(key, {"value": 9})
        assert store.get(key) == {"value": 9}


def _longer() -> SequenceSet:
    return make_sequences(["even", "odd"], per_family=3, length=5)


def test_the_key_of_scores_holds_everything_that_decides_them() -> None:
    usual = scores_key(SPEC, SEQUENCES, distance="euclidean", seed=0)
    relabelled = tuple(replace(item, family="even") for item in SEQUENCES.items)
    others = [
        scores_key(model("digit_counts"), SEQUENCES, distance="euclidean", seed=0),
        scores_key(SPEC, _longer(), distance="euclidean", seed=0),
        scores_key(SPEC, SequenceSet(SEQUENCES.items[::-1]), distance="euclidean", seed=0),
        scores_key(SPEC, SequenceSet(SEQUENCES.items, TextFormat(" ")), distance="euclidean", seed=0),
        scores_key(SPEC, SequenceSet(relabelled), distance="euclidean", seed=0),
        scores_key(SPEC, SEQUENCES, distance="cosine", seed=0),
        scores_key(SPEC, SEQUENCES, distance="euclidean", seed=1),
    ]
    assert len({usual, *others}) == 8
    assert scores_key(ModelSpec("renamed", SPEC.weights), SEQUENCES, distance="euclidean", seed=0) == usual


def test_a_map_is_shared_by_whatever_the_families_are_called() -> None:
    items = tuple(IntegerSequence(f"renamed {item.family}", item.offset, item.terms) for item in SEQUENCES.items)
    usual = projection_key(SPEC, SEQUENCES, method="tsne", dims=2, seed=0)
    assert projection_key(SPEC, SequenceSet(items), method="tsne", dims=2, seed=0) == usual
    others = [
        projection_key(SPEC, SEQUENCES, method=method, dims=dims, seed=seed)
        for method, dims, seed in (("umap", 2, 0), ("tsne", 3, 0), ("tsne", 2, 1))
    ]
    assert len({usual, *others, scores_key(SPEC, SEQUENCES, distance="euclidean", seed=0)}) == 5
