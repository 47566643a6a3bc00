from __future__ import annotations

import math
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.analysis.scores import Score
from numembed.core.errors import Cancelled, StoreFull
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs import model_run as run_module
from numembed.runs.study_run import Outcome, run
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore, badged
from numembed.studies.stored import previously_pinned, stored_projection, stored_results
from numembed.studies.study import Study
from tests import tiny
from tests.offline import OFFLINE

NOWHERE = str(Path(tempfile.gettempdir()) / "no-such" / "folder")

Said = tuple[int, str, int, int, str]


def _study(*models: str, per_family: int = 3) -> Study:
    return Study(("even", "primes"), tuple(map(model, models or ("last_digits",))), per_family=per_family, length=10)


@dataclass
class Bench:
    """A place where studies are run, and what the runs said."""

    settings: Settings
    vectors: VectorStore
    results: ResultStore
    loaded: LoadedModel
    said: list[Said] = field(default_factory=list)

    def run(self, study: Study, hear: Callable[[Said], None] = lambda said: None) -> Outcome:
        self.said.clear()

        def report(*said: Any) -> None:
            self.said.append(said)
            hear(said)

        return run(
            study, vectors=self.vectors, results=self.results, loaded=self.loaded, settings=self.settings, report=report
        )

    def forget_results(self) -> None:
        with sqlite3.connect(self.settings.app_db) as app_db:
            app_db.execute("DELETE FROM results")

    def stages(self, index: int) -> list[str]:
        return list(dict.fromkeys(said[1] for said in self.said if said[0] == index))


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield Bench(settings, vectors, results, LoadedModel(OFFLINE))


@pytest.mark.slow
def test_baselines_alone_need_no_model(bench: Bench) -> None:
    study = _study("last_digits", "random_vectors", "string_length", per_family=6)
    outcome = bench.run(study)
    assert outcome.errors == {} and [result.model.name for result in outcome.results] == [
        "Last digits",
        "Random vectors",
        "String length",
    ]
    best = outcome.results[0].score("silhouette", "families")
    assert best.value > 0.3 and best.p is not None and 0 < best.p < 0.05
    assert outcome.results[0].dimension == 10 and outcome.results[0].clusters.shape == (12,)
    assert bench.loaded._encoder is None and bench.vectors.models() == ()
    assert all(bench.stages(index) == ["encode", "score", "project", "done"] for index in range(3))
    for spec in study.models:
        for method in PROJECTIONS.names:
            for dims in (2, 3):
                found = stored_projection(study, spec, bench.results, method=method, dims=dims)
                assert found is not None and found.points.shape == (12, dims) and np.isfinite(found.points).all()


@pytest.mark.slow
def test_a_real_model_among_baselines(bench: Bench, tiny_model: Path) -> None:
    study = _study(str(tiny_model), "last_digits")
    outcome = bench.run(study)
    assert outcome.errors == {} and bench.stages(0) == ["load", "encode", "score", "project", "twin", "done"]
    assert {one.name: one.vectors for one in bench.vectors.models()} == {"tiny": 6, "tiny weights=random": 6}
    assert outcome.results[0].dimension == tiny.HIDDEN
    assert [said[2:4] for said in bench.said if said[:2] == (0, "encode")][-1] == (6, 6)


@pytest.mark.slow
def test_the_second_run_computes_nothing(bench: Bench, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(str(tiny_model), "last_digits", "char_ngrams")
    first = bench.run(study)
    bench.loaded.free()
    for verb in ("embed", "score_all", "drawn_map"):
        monkeypatch.setattr(run_module, verb, lambda *_, **__: pytest.fail("computed"))
    second = bench.run(Study.from_json(study.to_json()))
    assert {said[1] for said in bench.said} <= {"project", "done"} and bench.loaded._encoder is None
    for one, other in zip(first.results, second.results, strict=True):
        assert one.model == other.model and np.array_equal(one.clusters, other.clusters)
        assert str(one.scores) == str(other.scores)  # NaN included


@pytest.mark.slow
def test_a_model_that_fails_leaves_the_others(bench: Bench, tiny_model: Path, nan_model: Path) -> None:
    study = _study(NOWHERE, "last_digits", str(nan_model), "owner/name", str(tiny_model))
    outcome = bench.run(study)
    assert [result.model.name for result in outcome.results] == ["Last digits", "tiny"]
    assert list(outcome.errors) == ["folder", "broken", "owner/name"]
    assert f"There is no folder {NOWHERE!r}" in outcome.errors["folder"]
    assert "not finite" in outcome.errors["broken"] and "works offline" in outcome.errors["owner/name"]
    for index, name in ((0, "folder"), (2, "broken"), (3, "owner/name")):
        assert bench.stages(index)[-1] == "failed"
        assert [said[4] for said in bench.said if said[:2] == (index, "failed")] == [outcome.errors[name]]
    assert {one.name for one in bench.vectors.models()} == {"tiny", "tiny weights=random"}
    assert outcome.frame()["model"].unique().tolist() == ["Last digits", "tiny"]


def test_what_is_undefined_has_its_reason(bench: Bench) -> None:
    outcome = bench.run(replace(_study("last_digits"), families=("even",)))
    scores = outcome.results[0].scores
    assert all(math.isnan(score.value) and score.note for score in scores if score.labels == "families")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_sequences_are_a_result_too(bench: Bench, count: int) -> None:
    outcome = bench.run(Study(("even", "odd", "primes")[:count], (model("last_digits"),), per_family=1, length=3))
    assert outcome.errors == {} and len(outcome.results[0].clusters) == count


@pytest.mark.slow
def test_the_frame_has_a_row_a_score(bench: Bench) -> None:
    outcome = bench.run(_study("last_digits", "digit_counts"))
    frame = outcome.frame()
    assert len(frame) == 12 and list(frame.columns[:4]) == ["model", "metric", "labels", "value"]
    row = frame[(frame.model == "Digits") & (frame.metric == "ari")].iloc[0]
    assert row.value == outcome.results[1].score("ari", "kmeans").value
    assert Outcome((), {"m": "sentence"}).frame().empty


@pytest.mark.slow
def test_stored_results_are_what_the_run_gave(bench: Bench, tiny_model: Path) -> None:
    study = _study(str(tiny_model), "last_digits")
    assert stored_results(study, bench.results) == (None, None)
    outcome = bench.run(study)
    for stored, given_ in zip(stored_results(study, bench.results), outcome.results, strict=True):
        assert stored is not None and str(stored.scores) == str(given_.scores) and stored.model == given_.model
    other = replace(study, models=(model("last_digits"), model("digit_counts")))
    assert [found is not None for found in stored_results(other, bench.results)] == [True, False]
    assert stored_results(replace(study, distance="cosine"), bench.results) == (None, None)


@pytest.mark.slow
def test_scores_carry_the_name_that_was_requested(bench: Bench, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "copy")
    bench.run(_study(str(tiny_model)))
    outcome = bench.run(_study(str(tmp_path / "copy")))
    assert {score.model for score in outcome.results[0].scores} == {"copy"}
    assert "encode" not in bench.stages(0)  # the same files: the same vectors and scores


@pytest.mark.slow
def test_a_folder_whose_files_changed_is_another_model(bench: Bench, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "mine", seed=1)
    study = _study(str(folder))
    first = bench.run(study).results[0]
    assert previously_pinned(study.models[0], bench.results) == first.model
    tiny.write_model(folder, seed=2)
    second = bench.run(study).results[0]
    assert second.model.key != first.model.key and "encode" in bench.stages(0)
    assert second.score("silhouette", "families") != first.score("silhouette", "families")
    assert previously_pinned(study.models[0], bench.results) == second.model


@pytest.mark.slow
def test_scores_do_not_depend_on_the_other_models(bench: Bench) -> None:
    together = {result.model.name: result.scores for result in bench.run(_study("last_digits", "digit_counts")).results}
    bench.forget_results()
    alone = bench.run(_study("digit_counts")).results[0].scores
    assert str(alone) == str(together["Digits"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["load", "encode", "score", "project"])
def test_a_cancelled_run_keeps_what_is_done(bench: Bench, tiny_model: Path, stage: str) -> None:
    study = _study(str(tiny_model), per_family=30)

    def stop(said: Said) -> None:
        if said[1] == stage and (stage != "encode" or said[2] >= 20):
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        bench.run(study, stop)
    spec = previously_pinned(study.models[0], bench.results)
    assert spec is not None
    kept = bench.vectors.count(spec.key, study.sequences.texts)
    assert kept == {"load": 0, "score": 60, "project": 60}.get(stage, kept) and (stage != "encode" or 20 <= kept < 60)
    bench.run(study)
    assert "failed" not in bench.stages(0)
    started = next((said[2] for said in bench.said if said[:2] == (0, "encode")), 60)
    assert started == (kept if stage in ("load", "encode") else 60)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_keeps_the_rest(bench: Bench, tiny_model: Path) -> None:
    study = replace(_study(str(tiny_model), per_family=200), length=20)
    bench.vectors._connection.execute("PRAGMA max_page_count=5")
    with pytest.raises(StoreFull, match="disk is full"):
        bench.run(study)
    spec = previously_pinned(study.models[0], bench.results)
    assert spec is not None and 0 < bench.vectors.count(spec.key, study.sequences.texts) < 400


@pytest.mark.slow
def test_the_order_of_scores_is_the_same_for_every_model(bench: Bench) -> None:
    outcome = bench.run(_study("last_digits", "digit_counts"))
    kinds = [[(score.metric, score.labels) for score in result.scores] for result in outcome.results]
    assert kinds[0] == kinds[1] and len(set(kinds[0])) == 6 and isinstance(outcome.results[0].scores[0], Score)


@pytest.mark.slow
def test_seeds_make_results_repeat(bench: Bench) -> None:
    study = replace(_study("random_vectors"), seed=random.Random(5).randrange(100))
    first = str(bench.run(study).results[0].scores)
    bench.forget_results()
    assert str(bench.run(study).results[0].scores) == first


@pytest.fixture
def unlisted(tmp_path: Path) -> Path:
    """A model whose folder does not say how token vectors become one vector: its check fails."""
    folder = tiny.write_model(tmp_path / "unlisted")
    (folder / "modules.json").unlink()
    return folder


@pytest.mark.slow
def test_a_model_that_fails_its_check_is_not_run(bench: Bench, unlisted: Path) -> None:
    study = _study(str(unlisted), "last_digits")
    outcome = bench.run(study)
    assert [result.model.name for result in outcome.results] == ["Last digits"]
    assert "unlisted did not pass its check and was not run." in outcome.errors["unlisted"]
    assert stored_results(study, bench.results)[0] is None and bench.vectors.models() == ()
    bench.loaded.free()
    again = bench.run(study)  # known by now, and said without loading it
    assert again.errors == outcome.errors and bench.loaded._encoder is None


@pytest.mark.slow
def test_an_override_runs_it_and_every_result_says_so(bench: Bench, unlisted: Path) -> None:
    study = replace(_study(str(unlisted)), despite_checks=True)
    (result,) = bench.run(study).results
    assert result.check is not None and not result.check.ok
    assert badged(result) == "⚠ unlisted (check failed)"
    (stored,) = stored_results(study, bench.results)
    assert stored is not None and stored.check == result.check
    strict = replace(study, despite_checks=False)
    assert stored_results(strict, bench.results) == (None,)  # another visitor is not shown what was not asked for
    assert "did not pass its check" in bench.run(strict).errors["unlisted"]
    assert Study.from_json(study.to_json()) == study and study.key != strict.key


@pytest.mark.slow
def test_a_model_that_passes_says_so_too(bench: Bench, tiny_model: Path) -> None:
    (result,) = bench.run(_study(str(tiny_model))).results
    assert result.check is not None and result.check.ok and badged(result) == "tiny"


@pytest.mark.slow
def test_shorter_vectors_are_another_model_and_encode_nothing(bench: Bench, tiny_model: Path) -> None:
    bench.run(_study(str(tiny_model)))
    bench.said.clear()
    outcome = bench.run(_study(str(tiny_model), f"{tiny_model} dim=4", f"{tiny_model} precision=binary"))
    assert [result.dimension for result in outcome.results] == [32, 4, 32] and not outcome.errors
    assert "load" not in {said[1] for said in bench.said} and bench.vectors.models()[0].vectors == 6
    values = {result.score("silhouette", "families").value for result in outcome.results}
    assert len(values) == 3
    too_wide = bench.run(_study(f"{tiny_model} dim=33"))
    assert "dim=33 is more than the 32 numbers" in too_wide.errors["tiny dim=33"]


@pytest.mark.slow
def test_what_encoding_took_is_learnt(bench: Bench, tiny_model: Path) -> None:
    study = _study(str(tiny_model))
    spec = bench.run(study).results[0].model
    (work,) = bench.results.works(spec.key)
    assert work.texts == 6 and work.characters == sum(map(len, study.sequences.texts)) and work.device == "cpu"
    assert work.seconds > 0 and work.parameters == sum(
        math.prod(tensor.shape) for tensor in load_file(tiny_model / "model.safetensors").values()
    )
    bench.run(study)
    assert len(bench.results.works()) == 1  # nothing was encoded
