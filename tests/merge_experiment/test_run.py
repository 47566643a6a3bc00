"""Merging experiments on a tiny model: every candidate scored, stored, found again, cancelled and continued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import Cancelled, TrainingFailed
from numembed.core.progress import Report
from numembed.core.settings import Settings, read_settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key, stored_experiment
from numembed.merge_experiment.measures import Texts
from numembed.merge_experiment.redrawn import named_places, redrawn_texts
from numembed.merge_experiment.run import experiment_rows, run_experiment
from numembed.merge_experiment.save_model import Saving, save_candidate
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import MergedWeights
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from tests.lora import run_away
from tests.merge_experiment.bases import RECIPE, small_experiment

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A home with its stores open."""

    settings: Settings
    vectors: VectorStore
    results: ResultStore

    def run(
        self, experiment: MergeExperiment, *, loaded: LoadedModel | None = None, report: Report | None = None
    ) -> ExperimentResult:
        return run_experiment(
            experiment,
            vectors=self.vectors,
            results=self.results,
            loaded=loaded or LoadedModel(self.settings),
            settings=self.settings,
            report=report or (lambda row, stage, done, total, note: None),
        )


class Untouched(LoadedModel):
    """No model may be loaded any more."""

    def get(self, *_: object, **__: object) -> object:  # type: ignore[override]
        raise AssertionError("a model was loaded")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    settings = replace(read_settings({**os.environ, "NUMEMBED_HOME": str(home)}), prewarm=False)
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield Place(settings, vectors, results)


@pytest.fixture(scope="module")
def experiment(tiny_model: Path) -> MergeExperiment:
    return small_experiment(tiny_model)


@pytest.fixture(scope="module")
def found(place: Place, experiment: MergeExperiment) -> ExperimentResult:
    return place.run(experiment)


def test_every_candidate_is_scored_on_every_split(found: ExperimentResult, experiment: MergeExperiment) -> None:
    assert found.complete and len(found.candidates) == experiment.candidates and found.sentences and found.comparisons
    for path in experiment.drawn:
        assert [candidate.at for candidate in found.path(path.id)] == list(path.values)
    for candidate in found.candidates:
        assert set(candidate.splits) == {"reserved", "paper", "later", "new"}
        for name, one in candidate.splits.items():
            assert len(one.without) == len(found.families[name])
            numbers = {field: value for field, value in vars(one).items() if field not in ("without", "further")}
            numbers |= one.further
            assert np.isfinite(list(numbers.values())).all(), (candidate.title, name)
            assert 0 < one.p <= 1 and 0 <= one.accuracy <= 1 and one.low <= one.silhouette <= one.high
        assert candidate.retention.lm_loss is None
    assert [(one.seed, one.step) for one in found.adapters] == [(0, 2), (0, 4), (1, 2), (1, 4)]
    assert all(one.readings[0].silhouette is not None for one in found.adapters)


def test_the_base_retains_itself_and_more_adapter_retains_less(found: ExperimentResult) -> None:
    ((base,),) = found.of("base")
    assert base.retention.spearman == pytest.approx(1) and base.retention.cka == pytest.approx(1, abs=1e-4)
    assert base.update == 0
    graded = [candidate.retention.graded for candidate in found.candidates]
    assert np.isfinite(graded).all() and len(set(graded)) > 1 and max(map(abs, graded)) <= 1
    assert base.as_row()["graded"] == base.retention.graded != 0
    for candidates in found.of("lora"):
        kept = [candidate.retention.spearman for candidate in candidates]
        assert kept == sorted(kept, reverse=True) and kept[0] == pytest.approx(1) and kept[-1] < 1 - 1e-4
        assert [candidate.update for candidate in candidates] == pytest.approx(
            [candidates[2].update * at for at in (0, 0.5, 1, 1.5)], rel=1e-4
        )
        assert candidates[0].splits == base.splits


def test_what_the_figures_of_the_science_say_of_small_updates_is_found(found: ExperimentResult) -> None:
    """SLERP in the weights is the straight line; of updates it is that line, stretched to their length."""
    half = {name: found.of(name)[0][1] for name in ("linear", "slerp", "slerp_task", "norm_matched")}
    assert half["slerp"].update == pytest.approx(half["linear"].update, rel=0.02)
    assert half["slerp_task"].update > 1.2 * half["linear"].update
    assert half["slerp_task"].update == pytest.approx(half["norm_matched"].update, rel=0.05)
    straight = {(one.between, one.space): one for one in found.straight}
    assert set(straight) == {
        ("base and seed 0", "weights"),
        ("base and seed 1", "weights"),
        ("seeds 0 and 1", "weights"),
        ("seeds 0 and 1", "task_vectors"),
    }
    weights, task = straight["seeds 0 and 1", "weights"], straight["seeds 0 and 1", "task_vectors"]
    assert weights.cosine > 0.99 and abs(task.cosine) < 0.6 and task.parallel == 0
    assert weights.largest_vector < task.largest_vector and weights.of_step < task.of_step
    comparison = next(one for one in found.comparisons if (one.a, one.b, one.split) == ("slerp", "linear", "paper"))
    assert not comparison.distinguishable and "no significant difference" in comparison.sentence


def test_dominance_and_maps_are_there(found: ExperimentResult, experiment: MergeExperiment) -> None:
    for one in found.dominance:
        assert [layer.name for layer in one.layers] == ["layer 0", "layer 1"]
        assert [shift.scale for shift in one.shifts] == [0, 0.5, 1, 1.5]
        assert [shift.length for shift in one.shifts] == sorted(shift.length for shift in one.shifts)
        assert all(list(shift.shares) == sorted(shift.shares) for shift in one.shifts)
    steps = [frame.at for frame in found.maps if (frame.path, frame.split) == ("lora-0", "paper")]
    assert steps == [0, 0.5, 1, 1.5]
    for frame in found.maps:
        assert len(frame.points) == len(found.families[frame.split])
    base, first = (
        next(frame for frame in found.maps if (frame.path, frame.at, frame.split) == wanted)
        for wanted in (("base", 1.0, "paper"), ("lora-0", 0.0, "paper"))
    )
    assert np.allclose(base.points, first.points, atol=2e-3)


def test_all_vectors_are_in_the_store_and_no_merged_weights_on_the_disk(
    found: ExperimentResult, place: Place, experiment: MergeExperiment
) -> None:
    texts = Texts.of(experiment).all
    merged = [candidate for candidate in found.candidates if isinstance(candidate.model.weights, MergedWeights)]
    assert merged
    for candidate in merged:
        again = embed(candidate.model, texts, store=place.vectors, loaded=Untouched(place.settings))
        assert again.work is None
    weights = [file for file in place.settings.home.rglob("*.safetensors") if "looked" not in file.parts]  # outlines
    assert {file.name for file in weights} <= {"adapter_model.safetensors", "state.safetensors"}


def test_a_second_run_computes_nothing(found: ExperimentResult, place: Place, experiment: MergeExperiment) -> None:
    reported: list[tuple[int, str]] = []
    again = place.run(
        experiment, loaded=Untouched(place.settings), report=lambda row, stage, *_: reported.append((row, stage))
    )
    assert again.as_json() == found.as_json()
    assert reported == [(row, "done") for row in range(len(experiment_rows(experiment)))]


def test_candidates_are_found_again_by_their_content(
    found: ExperimentResult, place: Place, experiment: MergeExperiment
) -> None:
    """Another experiment with the same candidates, and the same one after its result was lost, load no model."""
    place.results.put(experiment_key(experiment), replace(found, candidates=(), complete=False).as_json())
    assert place.run(experiment, loaded=Untouched(place.settings)).as_json() == found.as_json()
    fewer = place.run(replace(experiment, paths=("soup", "slerp")), loaded=Untouched(place.settings))
    assert [candidate.path for candidate in fewer.candidates] == ["base"] + ["soup"] * 5 + ["slerp-0-1"] * 3
    kept = {(candidate.path, candidate.at): candidate for candidate in found.candidates}
    assert all(candidate == kept[candidate.path, candidate.at] for candidate in fewer.candidates)


def test_redrawn_windows_are_scored_at_the_named_places_and_kept(
    found: ExperimentResult, place: Place, experiment: MergeExperiment
) -> None:
    reported: list[tuple[int, str]] = []
    again = place.run(replace(experiment, designs=4), report=lambda row, stage, *_: reported.append((row, stage)))
    last = len(experiment_rows(experiment))
    assert (
        (last, "redraw") in reported
        and reported[-1] == (last, "done")
        and {row for row, _ in reported} == {*range(last + 1)}
    )
    assert replace(again, redrawn=(), redrawn_sentences=()).as_json() == found.as_json()
    assert [one.name for one in again.redrawn] == list(experiment.paths) and len(again.redrawn_sentences) == 3
    for one in again.redrawn:
        assert one.designs == 4 and one.low < one.mean < one.high and len(one.values) == len(found.of(one.name))
    assert len({one.means for one in again.redrawn}) > 4
    texts = redrawn_texts(replace(experiment, designs=4))
    for path, at in named_places(experiment):
        spec = next(candidate.model for candidate in found.path(path.id) if candidate.at == at)
        assert embed(spec, texts, store=place.vectors, loaded=Untouched(place.settings)).work is None
    untouched = Untouched(place.settings)
    assert place.run(replace(experiment, designs=4), loaded=untouched).as_json() == again.as_json()
    assert place.run(experiment, loaded=untouched).redrawn == again.redrawn
    fewer = place.run(replace(experiment, designs=3), loaded=untouched)
    assert [one.designs for one in fewer.redrawn] == [3] * len(experiment.paths)
    assert place.run(experiment, loaded=untouched).redrawn == again.redrawn, "what is stored stays"
    place.results.put(experiment_key(experiment), found.as_json())


def test_a_cancel_while_windows_are_redrawn_keeps_the_experiment(
    found: ExperimentResult, place: Place, experiment: MergeExperiment
) -> None:
    def stop(row: int, stage: str, done: int, total: int, note: str) -> None:
        if (stage, done) == ("redraw", 2):
            raise Cancelled("Stopped.")

    asked = replace(experiment, designs=5, paths=("lora", "linear"))
    with pytest.raises(Cancelled):
        place.run(asked, report=stop)
    kept = stored_experiment(asked, place.results)
    assert kept is not None and kept.complete and not kept.redrawn
    loaded: list[str] = []
    counting = LoadedModel(place.settings)
    plain = counting.get
    counting.get = lambda spec, *more: (loaded.append(spec.key), plain(spec, *more))[1]  # type: ignore[method-assign]
    assert place.run(asked, loaded=counting).redrawn
    assert len(set(loaded)) == len(named_places(asked)) - 2, "two were scored before the cancel"


def test_what_is_there_so_far_can_be_looked_at_and_a_cancel_keeps_it(
    settings: Settings, found: ExperimentResult, experiment: MergeExperiment
) -> None:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        place = Place(settings, vectors, results)

        def stop(row: int, stage: str, done: int, total: int, note: str) -> None:
            if (row, stage, done) == (2, "encode", 3):
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            place.run(experiment, report=stop)
        so_far = stored_experiment(experiment, results)
        assert (
            so_far is not None
            and not so_far.complete
            and [candidate.path for candidate in so_far.candidates] == ["base"]
        )
        asked: list[str] = []
        loaded = LoadedModel(settings)
        plain = loaded.get
        loaded.get = lambda spec, *more: (asked.append(spec.key), plain(spec, *more))[1]  # type: ignore[method-assign]
        again = place.run(experiment, loaded=loaded)
        done = [candidate.model.key for candidate in again.path("lora-0")[:3]]
        assert not set(done) & set(asked), "what was scored before the cancel was loaded again"
        assert _numbers(again) == _numbers(found)


@pytest.mark.parametrize("paths", [("lora", "multi_stage", "stages_linear"), ("lora",)])
def test_an_earlier_stage_that_was_damaged_comes_back(
    settings: Settings, tiny_model: Path, paths: tuple[str, ...]
) -> None:
    asked = small_experiment(tiny_model, paths=paths, recipe=replace(RECIPE, seeds=(0,)))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        place = Place(settings, vectors, results)
        found = place.run(asked)
        (torn,) = settings.home.rglob("step-00002/adapter_model.safetensors")
        torn.write_bytes(b"torn")
        assert place.run(asked).as_json() == found.as_json()


def test_a_seed_that_runs_away_is_left_out_and_the_others_are_scored(
    settings: Settings, found: ExperimentResult, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = small_experiment(tiny_model, recipe=replace(RECIPE, seeds=(0, 1)))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        place = Place(settings, vectors, results)
        run_away(monkeypatch, seed=1, step=3)
        reported: list[tuple[int, str]] = []
        left = place.run(asked, report=lambda row, stage, *_: reported.append((row, stage)))
        assert left.complete and left.experiment.recipe.seeds == (0,) and left.experiment.paths == ("base", "lora")
        assert left.sentences[0].startswith("Seed 1 is left out: training diverged to numbers that are not finite")
        alone = [one for one in _numbers(found) if one[0] in ("base", "lora-0")]
        assert _numbers(left) == alone
        assert [row for row, stage in reported if stage == "done"] == list(range(len(experiment_rows(asked))))
        again = place.run(asked, loaded=Untouched(settings))
        assert again.as_json() == left.as_json(), "it was trained again"
        saving = Saving("kept", left.experiment, "lora-0", 1.0)
        assert (save_candidate(saving, results=results, settings=settings) / "model.safetensors").is_file()
        run_away(monkeypatch, seed=0, step=1)
        with pytest.raises(TrainingFailed, match="step 1 of seed 0"):
            place.run(small_experiment(tiny_model, recipe=replace(RECIPE, seeds=(0,), rank=3), paths=("lora",)))


def test_the_curves_of_a_training_that_goes_on_begin_where_it_began(
    settings: Settings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numembed.merge_experiment.training._REPORT_SECONDS", -1.0)
    asked = small_experiment(tiny_model, recipe=replace(RECIPE, seeds=(0,)), paths=("lora",))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        seen: list[list[int]] = []

        def stop_at(last: int) -> Report:
            def report(row: int, stage: str, done: int, total: int, note: str) -> None:
                known = stored_experiment(asked, results)
                if row == 0 and stage == "train" and known is not None:
                    seen.append([one.step for one in known.training])
                if (row, stage, done) == (0, "train", last):
                    raise Cancelled("Stopped.")

            return report

        place = Place(settings, vectors, results)
        with pytest.raises(Cancelled):
            place.run(asked, report=stop_at(3))
        assert seen[-1] == [0, 1, 2, 3]
        seen.clear()
        place.run(asked, report=stop_at(-1))
        assert seen[-1] == [0, 1, 2, 3, 4] and [0, 1, 2, 3] in seen


def test_rounding_by_the_number_format_of_the_base_is_reported(settings: Settings, tiny_model: Path) -> None:
    half = model(f"{tiny_model} dtype=bfloat16")
    asked = replace(small_experiment(tiny_model, recipe=replace(RECIPE, seeds=(0,)), paths=("lora",)), base=half)
    loaded = LoadedModel(settings)
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        found = Place(settings, vectors, results).run(asked, loaded=loaded)
    (adapted,) = (candidate.model for candidate in found.path("lora-0") if candidate.at == 1)
    swapper = loaded.get(adapted).swapper  # type: ignore[union-attr]
    assert swapper is not None
    swapper.show(adapted.weights)
    assert swapper.lost > 0.01
    lost = f"loaded in bfloat16, which loses {swapper.lost:.0%} of the adapters' update to rounding"
    assert lost in found.sentences[-1]


def _numbers(found: ExperimentResult) -> list[object]:
    """Return all scores; paths of folders are not the same in two homes."""
    return [
        (candidate.path, candidate.at, candidate.splits, candidate.retention, candidate.update)
        for candidate in found.candidates
    ]


def test_a_built_in_decoder_runs_too_and_its_loss_is_reported(place: Place) -> None:
    asked = MergeExperiment(model("number-lm"), replace(RECIPE, rank=8, learning_rate=2e-2), ("lora", "slerp"), 3)
    found = place.run(asked)
    losses = {candidate.title: candidate.retention.lm_loss for candidate in found.candidates}
    assert all(loss is not None and 0 < loss < 20 for loss in losses.values()), losses
    base, adapted = losses["Base"], [losses[f"LoRA, seed {seed}, × 1"] for seed in (0, 1)]
    assert base is not None and base < 4, "it was pretrained on such texts; who knows nothing has 7.7"
    assert len(set(losses.values())) > 3
    (reported,) = (one for one in found.sentences if one.startswith("As a language model"))
    assert f"from {base:.2f} to {np.mean(np.array(adapted, dtype=float)):.2f} nats" in reported
    assert any(one.parallel < 1 for one in found.straight), "its angles are no longer small"
