"""Adapters and merges as folders, from the command line: what a part and a base may be, and the one checked door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from numembed.models.files.tensors import TensorFolder
from numembed.models.sources import bundled_folder
from tests import tiny
from tests.cli.calls import Answer, Call
from tests.lora import write_adapter

Saver = Callable[..., Answer]


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", tiny_model)


@pytest.fixture
def merge(call: Call, tmp_path: Path) -> Saver:
    """Merge into the folder "new" of the test's own."""
    return lambda *arguments: call("merge", *arguments, "--out", tmp_path / "new", "--json")


def _refused(answer: Answer, told: str, tmp_path: Path) -> None:
    assert answer.code == 1 and told in answer.err and answer.err.startswith("numembed: "), answer.err
    assert answer.err.count("\n") == 1 and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("settings_of_it", "told"),
    [
        ({"auto_mapping": "os"}, "asks to import program code"),
        ({"new_trick": {"on": True}}, "'new_trick', which is not known"),
        ({"r": 4_096}, "rank from 1 to 256"),
        ({"target_modules": ["query", "nowhere"]}, "factors for 'encoder.layer.0.attention.output.dense', which its"),
    ],
)
@pytest.mark.parametrize("method", ["fold", "wise_ft"])
def test_a_hostile_adapter_is_folded_by_no_way(
    merge: Saver, tiny_model: Path, tmp_path: Path, settings_of_it: dict[str, object], told: str, method: str
) -> None:
    hostile = write_adapter(tmp_path / "hostile", tiny_model, config=settings_of_it)
    _refused(merge(method, "--parts", hostile, "--base", tiny_model), told, tmp_path)


@pytest.mark.parametrize("method", ["fold", "wise_ft"])
def test_an_adapter_that_names_another_repository_is_refused(merge: Saver, tmp_path: Path, method: str) -> None:
    named = {"base_model_name_or_path": "owner/another-model"}
    other = write_adapter(tmp_path / "other", bundled_folder(), config=named)
    told = "made for owner/another-model, not for sentence-transformers/all-MiniLM-L6-v2"
    _refused(merge(method, "--parts", other, "--base", "all-MiniLM-L6-v2"), told, tmp_path)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--scale", "-3"), "scale is a number from 0 to 2"),
        (("--scale", "nan"), "scale is a number from 0 to 2"),
        (("--t", "0.3"), "fold takes no --t"),
        (("--flat",), "fold takes no --flat"),
        (("--weights", "1"), "fold takes no --weights"),
        (("--space", "weights"), "fold takes no --space"),
        (("--base-weight", "0"), "fold takes no --base-weight"),
    ],
)
def test_fold_takes_a_scale_and_nothing_else(
    merge: Saver, adapter: Path, tiny_model: Path, tmp_path: Path, more: tuple[str, ...], told: str
) -> None:
    _refused(merge("fold", "--parts", adapter, "--base", tiny_model, *more), told, tmp_path)


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ("slerp", ("--seed", "3"), "SLERP has no option 'seed'"),
        ("soup", ("--t", "0.3"), "Soup has no option 't'"),
        ("dare", ("--seed", "-1"), "0 to 2,147,483,647"),
    ],
)
def test_a_method_refuses_options_of_others(
    merge: Saver, tiny_model: Path, tmp_path: Path, method: str, more: tuple[str, ...], told: str
) -> None:
    _refused(merge(method, "--parts", tiny_model, tiny_model, "--base", tiny_model, *more), told, tmp_path)


@pytest.mark.parametrize(
    ("method", "option", "values"), [("dare", "seed", (0, 1)), ("soup_with_base", "base_weight", (1.0, 3.0))]
)
def test_every_option_of_a_merge_can_be_named(
    call: Call, tiny_model: Path, tmp_path: Path, method: str, option: str, values: tuple[float, float]
) -> None:
    parts = [write_adapter(tmp_path / name, tiny_model, seed=seed) for seed, name in enumerate("ab")]
    saved = []
    for number, value in enumerate(values):
        out = tmp_path / f"out-{number}"
        flag = f"--{option.replace('_', '-')}"
        given = ("merge", method, "--parts", *parts, "--base", tiny_model, flag, value, "--out", out)
        assert call(*given).err == ""
        saved.append(TensorFolder(out))
        assert f'"{option}",\n      {value}' in (out / "README.md").read_text()
    assert any((saved[0][name] != saved[1][name]).any() for name in saved[0])


@pytest.mark.parametrize("more", ["adapter=ADAPTER", "weights=random"])
@pytest.mark.parametrize("verb", ["merge", "adapt"])
def test_a_base_is_a_plain_model(
    call: Call, adapter: Path, tiny_model: Path, tmp_path: Path, more: str, verb: str
) -> None:
    base = f"{tiny_model} {more.replace('ADAPTER', str(adapter))}"
    parts = ("slerp", "--parts", adapter, adapter) if verb == "merge" else ()
    answer = call(verb, *parts, "--base", base, "--out", tmp_path / "new")
    _refused(answer, "cannot be a base of adapters", tmp_path)


@pytest.mark.parametrize("below", ["", "x"])
@pytest.mark.parametrize("verb", ["merge", "adapt"])
def test_a_file_where_a_folder_should_be_is_reported(
    call: Call, tiny_model: Path, tmp_path: Path, below: str, verb: str
) -> None:
    (tmp_path / "file").touch()
    parts = ("soup", "--parts", tiny_model, tiny_model) if verb == "merge" else ()
    answer = call(verb, *parts, "--base", tiny_model, "--out", tmp_path / "file" / below)
    assert answer.code == 1 and answer.err.startswith("numembed: ") and "Traceback" not in answer.err
    assert "ame " in answer.err and answer.err.count("\n") == 1, answer.err


@pytest.mark.slow
def test_a_part_is_a_folder_or_a_name(
    merge: Saver, call: Call, tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(bundled_folder(), tmp_path / "other")
    assert call("merge", "soup", "--parts", "all-MiniLM-L6-v2", other, "--out", tmp_path / "half").err == ""
    base, half = TensorFolder(bundled_folder()), TensorFolder(tmp_path / "half")
    assert all((base[name] == half[name]).all() for name in base)
    scaled = f"{tiny_model} adapter={adapter} scale=0.5"
    assert call("merge", "linear", "--parts", tiny_model, scaled, "--t", 1, "--out", tmp_path / "named").err == ""
    folded = call("merge", "fold", "--parts", adapter, "--base", tiny_model, "--scale", 0.5, "--out", tmp_path / "fold")
    assert folded.err == ""
    one, two = (TensorFolder(tmp_path / name) for name in ("named", "fold"))
    assert all((one[name] == two[name]).all() for name in one)
    card = (tmp_path / "fold" / "README.md").read_text()
    assert "adapter folded in" in card and '"scale": 0.5' in card


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("/no/such/folder", "There is no folder '/no/such/folder'"),
        ("nothing", "not a folder on this machine and not a model name. A part is"),
        ("last_digits", "has no files to merge. A part is"),
        ("all-MiniLM-L6-v2 weights=random", "has no files to merge"),
        ("owner/never-fetched", "owner/never-fetched is not on this machine"),
        ("ADAPTER", "Name the model that it was trained on with --base"),
    ],
)
def test_what_is_no_part_is_answered_with_what_may_be_one(
    merge: Saver, adapter: Path, tiny_model: Path, tmp_path: Path, part: str, told: str
) -> None:
    _refused(merge("soup", "--parts", tiny_model, part.replace("ADAPTER", str(adapter))), told, tmp_path)


def test_an_adapter_of_the_hub_that_is_here_is_a_part(
    call: Call, tiny_model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    commit, cache = "c" * 40, tmp_path / "cache" / "models--owner--adapter"
    shutil.copytree(adapter, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    for part, name in (("owner/adapter", "hub"), (adapter, "own")):
        answer = call("merge", "fold", "--parts", part, "--base", tiny_model, "--out", tmp_path / name)
        assert answer.err == ""
    one, two = (TensorFolder(tmp_path / name) for name in ("hub", "own"))
    assert all((one[name] == two[name]).all() for name in one)


@pytest.mark.slow
def test_an_adapter_of_our_own_goes_onto_no_other_base(call: Call, tmp_path: Path) -> None:
    base, other = tiny.write_model(tmp_path / "base", seed=1), tiny.write_model(tmp_path / "other", seed=3)
    families = ("--families", "multiples", "lucky", "happy")
    options = ("--steps", 1, "--stages", 1, "--seeds", 0, "--rank", 2, "--loss", "in_batch", "--alpha", 3.0)
    options += ("--targets", "query", "value", "--learning-rate", 0.01)
    (row,) = call("adapt", *options, *families, "--base", base, "--out", tmp_path / "run", "--json").rows
    adapter = Path(row["folder"])
    told = json.loads((adapter / "recipe.json").read_text())["training"]
    named = {"loss": "in_batch", "alpha": 3.0, "rank": 2, "targets": ["query", "value"], "learning_rate": 0.01}
    assert named.items() <= told.items()
    for number, verb in enumerate(
        (("merge", "fold", "--parts", adapter), ("merge", "slerp", "--parts", adapter, adapter))
    ):
        answer = call(*verb, "--base", other, "--out", tmp_path / "new")
        _refused(answer, "was trained on 'base', whose files differ from those of 'other'", tmp_path)
        moved = base if number == 0 else base.rename(tmp_path / "moved")
        assert call(*verb, "--base", moved, "--out", tmp_path / f"good-{number}").err == ""
    run = call("run", "--models", f"{other} adapter={adapter}", "--families", "even", "odd")
    assert run.code == 1 and "whose files differ" in run.err
