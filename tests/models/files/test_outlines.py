"""Outlines: pages learn from them what the folder itself says, and nothing else is kept of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.memory import memory_of, parameters_of
from numembed.models.encoders.tokens import count_tokens, max_tokens
from numembed.models.files import listing, outlines
from numembed.models.files.folders import digest_of_folder, read_json
from numembed.models.files.outlines import keep_outline, outline_of
from numembed.models.files.settings import SETTINGS_FILE, own_settings, width_of
from numembed.models.resolve import adapter_folder, as_known, folder_of, known_folder, makers_sentences, not_looked_at
from numembed.models.spec import LocalWeights
from numembed.studies.model_requests import Look, look
from numembed.studies.results import ResultStore
from numembed.studies.stored import pin
from tests import tiny
from tests.lora import write_adapter

TEXTS = ["1, 2, 3", "17, 34, 51, 68, 85"]
SET = {"prompts": {"query": "Find: "}, "default_prompt_name": "query", "truncate_dim": 12}


def _in_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))


def _nested(folder: Path) -> None:
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        if (folder / name).exists():
            (folder / name).rename(folder / "0_Transformer" / name)
    listed = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([listed[0] | {"path": "0_Transformer"}, *listed[1:]]))


FOLDERS: dict[str, Callable[[Path], Any]] = {
    "as it is": lambda folder: None,
    "with settings of its makers": lambda folder: (folder / SETTINGS_FILE).write_text(json.dumps(SET)),
    "without a list of modules": lambda folder: (
        (folder / "config.json").exists() and (folder / "modules.json").unlink()
    ),
    "in shards": _in_shards,
    "in a folder of its own": _nested,
}


@pytest.fixture
def page(settings: Settings) -> Settings:
    """The settings of a page of the same home."""
    return replace(settings, looks_into_folders=False)


def _all_known(reference: str, settings: Settings) -> tuple[Any, ...]:
    """Return everything that a page asks of a folder."""
    spec = as_known(model(reference), settings)
    folder = folder_of(spec, settings)
    return (
        spec,
        makers_sentences(spec, settings),
        (parameters_of(spec, folder), memory_of(spec, folder)),
        (width_of(folder), max_tokens(folder), own_settings(folder)),
        (read_json(folder / "config.json"), read_json(folder / SETTINGS_FILE)),
        count_tokens(spec, TEXTS, settings, pieces_of=2),
    )


@pytest.mark.parametrize("change", FOLDERS.values(), ids=list(FOLDERS))
@pytest.mark.parametrize("write", [tiny.write_model, tiny.write_static_model])
def test_a_page_learns_from_an_outline_what_the_folder_says(
    settings: Settings, page: Settings, tmp_path: Path, write: Callable[[Path], Path], change: Callable[[Path], Any]
) -> None:
    folder = write(tmp_path / "mine")
    change(folder)
    with pytest.raises(ModelUnavailable, match="the folder 'mine' is not known: no run has looked into it"):
        folder_of(model(str(folder)), page)
    look(Look(str(folder)), settings)
    known = _all_known(str(folder), settings)
    folder.rename(tmp_path / "elsewhere")
    assert _all_known(str(folder), page) == known
    assert known[2][0] and known[-1] is not None, "nothing was compared"


def test_no_weights_are_kept_and_the_folder_is_told_by_its_digest(
    settings: Settings, page: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "mine"))
    (folder / "README.md").write_text("not kept")
    before = digest_of_folder(folder)
    look(Look(str(folder)), settings)
    found = outline_of(folder, page)
    kept = {file.relative_to(found.place).as_posix(): file.stat().st_size for file in found.place.rglob("*.*")}
    assert kept["tokenizer.json"] == (folder / "tokenizer.json").stat().st_size and "README.md" not in kept
    assert kept["model.safetensors"] < 10_000 < (folder / "model.safetensors").stat().st_size
    assert found.digest == before and found.looked_at > 1e9
    assert found.size_bytes == sum(file.stat().st_size for file in tiny_model.rglob("*.*") if file.is_file())


def test_a_run_keeps_it_and_what_is_older_is_replaced(settings: Settings, page: Settings, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "mine")
    spec = model(f"{folder} dim=8")
    assert not_looked_at(spec, page) and not not_looked_at(spec, settings) and known_folder(spec.weights, page) is None
    with ResultStore(settings.app_db) as results:
        pin(spec, results, settings)
        first = outline_of(folder, page)
        (folder / SETTINGS_FILE).write_text(json.dumps(SET))
        assert not makers_sentences(spec, page), "a page has looked"
        pin(spec, results, settings)
    assert makers_sentences(spec, page) == makers_sentences(spec, settings) != []
    assert not not_looked_at(spec, page) and not first.place.exists()
    assert outline_of(folder, page).place != first.place, "what is cached by it would be of the older files"


def test_an_adapter_is_no_model_and_a_model_no_adapter(
    settings: Settings, page: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    look(Look(f"{tiny_model} adapter={adapter} scale=0.5"), settings)
    assert adapter_folder(LocalWeights(str(adapter)), page) and folder_of(model(str(tiny_model)), page)
    for ask in (
        lambda: adapter_folder(LocalWeights(str(tiny_model)), page),
        lambda: folder_of(model(str(adapter)), page),
    ):
        with pytest.raises(ModelUnavailable, match="is not known"):
            ask()


def test_outlines_are_bounded_in_number_and_in_size(
    settings: Settings, page: Settings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines, "_MOST_OUTLINES", 2)
    folders = [Path(shutil.copytree(tiny_model, tmp_path / name)) for name in "abc"]
    for second, folder in enumerate(folders):
        keep_outline(folder, "0" * 64, settings)
        os.utime(outline_of(folder, page).place.parent, (second, second))
    keep_outline(folders[2], "1" * 64, settings)
    assert [not_looked_at(model(str(folder)), page) for folder in folders] == [True, False, False]
    monkeypatch.setattr(outlines, "_MOST_BYTES", 2_000)
    keep_outline(folders[2], "2" * 64, settings)
    place = outline_of(folders[2], page).place
    assert (place / "config.json").is_file() and not (place / "tokenizer.json").exists()
    monkeypatch.setattr(outlines, "_MOST_FILES", 1)
    keep_outline(folders[2], "3" * 64, settings)
    assert len([file for file in outline_of(folders[2], page).place.rglob("*.*") if file.is_file()]) == 2


@pytest.mark.parametrize("most", [3, 30])
def test_a_folder_of_very_many_files_is_a_sentence_for_the_worker(
    settings: Settings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "many"))
    for number in range(most):
        os.mknod(folder / f"{number}.bin")
    monkeypatch.setattr(listing, "MOST_FILES", most)
    with pytest.raises(ModelUnavailable, match=f"holds more than {most} files, which is no model"):
        look(Look(str(folder)), settings)


def test_a_home_that_cannot_hold_it_is_a_sentence(settings: Settings, page: Settings, tiny_model: Path) -> None:
    (settings.home / "looked").write_text("a file where a folder should be")
    with pytest.raises(ModelUnavailable, match=r"numembed's home has no room .* make room"):
        look(Look(str(tiny_model)), settings)
    with ResultStore(settings.app_db) as results:
        assert pin(model(str(tiny_model)), results, settings).resolved, "a run needs no outline"


def test_a_request_to_look_is_read_again(tiny_model: Path) -> None:
    asked = Look(str(tiny_model))
    assert asked == Look.from_json(asked.to_json()) and asked.key != Look(f"{tiny_model}x").key
    for wrong in ("", "[]", "{}", "3", "null", "[" * 100_000):
        with pytest.raises(BadChoice, match="no request to look"):
            Look.from_json(wrong)
