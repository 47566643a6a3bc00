"""Program code that the operator has allowed: exactly that, from exactly there, and nothing beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import AllowedCode, Settings
from numembed.models.catalogue.names import facts_of, model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.hub.snapshots import fetch
from numembed.models.resolve import folder_of, resolve
from numembed.models.spec import Loading, ModelSpec
from tests.servers.hub import FakeHub, closed_port, serve_hub, sha256
from tests.tiny import HIDDEN

pytestmark = pytest.mark.slow  # together they take long

CODE = {
    "configuration_x.py": """
from transformers import BertConfig

class XConfig(BertConfig):
    model_type = "x"
""",
    "tokenization_x.py": """
from transformers import PreTrainedTokenizerFast

class XTokenizer(PreTrainedTokenizerFast):
    pass
""",
    "modeling_x.py": """
import pathlib
import torch
from transformers import BertModel
from .configuration_x import XConfig

pathlib.Path({marker!r}).write_text("ran")

class XModel(BertModel):
    config_class = XConfig

    def __init__(self, config, **rest):
        super().__init__(config, **rest)
        self.expert_scale = torch.nn.Parameter(torch.ones(config.hidden_size))
        self.post_init()

    def forward(self, *args, **named):
        out = super().forward(*args, **named)
        out.last_hidden_state = out.last_hidden_state * self.expert_scale
        return out
""",
}
AUTO_MAP = {"AutoConfig": "other/code--configuration_x.XConfig", "AutoModel": "other/code--modeling_x.XModel"}
TOKENIZERS = {"AutoTokenizer": [None, "other/code--tokenization_x.XTokenizer"]}
TEXTS = ["1, 2, 3", "5, 8, 13, 21, 34, 55"]


def _change(file: Path, **facts: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def online(settings: Settings, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the fake hub, to which the libraries would go too, if they were let; with caches of their own."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": hub.address,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)  # of another test's cache
    return replace(settings, offline=False, hub=hub.address, hub_token="")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What is there once modeling_x.py has run."""
    return tmp_path / "ran"


@pytest.fixture
def code(tmp_path: Path, marker: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in CODE.items():
        (folder / name).write_text(text.replace("{marker!r}", repr(str(marker))))
    return folder


@pytest.fixture
def served(tiny_model: Path, tmp_path: Path) -> Path:
    """A model whose classes lie in the repository other/code, as nomic's and gte's do."""
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    _change(folder / "config.json", model_type="x", architectures=["XModel"], auto_map=AUTO_MAP)
    _change(folder / "tokenizer_config.json", tokenizer_class="XTokenizer", auto_map=TOKENIZERS)
    tensors = load_file(folder / "model.safetensors")
    tensors["expert_scale"] = np.linspace(-2, 2, HIDDEN, dtype=np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def allowed(hub: FakeHub, code: Path, online: Settings) -> Settings:
    """Settings in which the operator allows that code for owner/name."""
    record = AllowedCode("other/code", hub.add("other/code", code), {name: sha256(code / name) for name in CODE})
    return replace(online, code={"owner/name": record})


def _spec(settings: Settings, commit: str, part: str = "expert") -> ModelSpec:
    record = settings.code["owner/name"]
    recipe = Loading(remote_code=f"{record.repo}@{record.revision}", needs_parameter=part)
    return replace(model(f"owner/name@{commit}"), loading=recipe)


def test_allowed_code_runs_from_its_commit_and_gives_the_right_vectors(
    hub: FakeHub, allowed: Settings, served: Path, tiny_model: Path, marker: Path
) -> None:
    spec = _spec(allowed, hub.add("owner/name", served))
    assert facts_of(spec) is None
    encoder = LoadedModel(allowed).get(spec)
    assert marker.is_file() and encoder.check.ok, encoder.check.sentence
    assert type(encoder.model.tokenizer).__name__ == "XTokenizer"  # that class was found too
    plain = LoadedModel(allowed).get(resolve(model(str(tiny_model)), allowed))
    for text, row in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        right = (plain.token_vectors(text) * np.linspace(-2, 2, HIDDEN)).mean(axis=0)
        np.testing.assert_allclose(row, right / np.linalg.norm(right), atol=1e-5)
    code_commit = allowed.code["owner/name"].revision
    asked = [path for path in hub.paths("hub") if "/resolve/" in path]
    assert not any("main" in path for path in asked)
    assert all(f"/resolve/{code_commit}/" in path for path in asked if "other/code" in path)


def test_after_the_first_time_nobody_is_asked(hub: FakeHub, allowed: Settings, served: Path) -> None:
    spec = _spec(allowed, hub.add("owner/name", served))
    right = LoadedModel(allowed).get(spec).encode(TEXTS)
    hub.asked.clear()
    for unconnected in (allowed, replace(allowed, offline=True), replace(allowed, hub=closed_port())):
        assert (LoadedModel(unconnected).get(spec).encode(TEXTS) == right).all()
    assert hub.paths() == []


def test_only_files_beside_the_model_are_named_to_the_libraries(hub: FakeHub, allowed: Settings, served: Path) -> None:
    folder = folder_of(_spec(allowed, hub.add("owner/name", served)), allowed)
    maps = [json.loads((folder / name).read_text())["auto_map"] for name in ("config.json", "tokenizer_config.json")]
    assert maps == [
        {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"},
        {"AutoTokenizer": [None, "tokenization_x.XTokenizer"]},
    ]
    assert sorted(file.name for file in folder.glob("*.py")) == sorted(CODE)
    assert json.loads((served / "config.json").read_text())["auto_map"] == AUTO_MAP  # the model's own is as it was


def test_what_dead_workers_prepared_is_cleared_away(hub: FakeHub, allowed: Settings, served: Path) -> None:
    spec, place = _spec(allowed, hub.add("owner/name", served)), allowed.home / "prepared"
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (place / f"owner--other@{done.pid}").mkdir(parents=True)
    (place / f"owner--name@{os.getppid()}").mkdir()
    folder = folder_of(spec, allowed)
    assert sorted(place.iterdir()) == sorted({folder, place / f"owner--name@{os.getppid()}"})


@pytest.mark.parametrize("auto_map", ["other/code--modeling_x.XModel", ["a--b.C", None], None, 7, {}])
def test_a_map_of_another_shape_leads_nowhere_else(
    hub: FakeHub, allowed: Settings, served: Path, auto_map: object
) -> None:
    _change(served / "tokenizer_config.json", auto_map=auto_map)
    folder = folder_of(_spec(allowed, hub.add("owner/name", served)), allowed)
    assert "--" not in (folder / "tokenizer_config.json").read_text()


@pytest.mark.parametrize("name", list(CODE))
def test_one_byte_of_the_code_that_differs_is_refused(
    hub: FakeHub, allowed: Settings, served: Path, code: Path, marker: Path, name: str
) -> None:
    spec = _spec(allowed, hub.add("owner/name", served))
    (code / name).write_text((code / name).read_text() + "#")  # behind the same commit
    with pytest.raises(ModelUnavailable, match=f"{name} of other/code is not the program code that the operator has"):
        LoadedModel(allowed).get(spec)
    assert not marker.exists()


def test_without_the_operator_nothing_runs(hub: FakeHub, allowed: Settings, served: Path, marker: Path) -> None:
    commit = hub.add("owner/name", served)
    spec = _spec(allowed, commit)
    record = allowed.code["owner/name"]
    others = (
        {},
        {"other/name": record},
        {"owner/name": replace(record, revision="0" * 40)},
        {"owner/name": replace(record, repo="third/code")},
    )
    for codes in others:
        with pytest.raises(ModelUnavailable, match=r"has not allowed it\. For the operator: python -m numembed code "):
            LoadedModel(replace(allowed, code=codes)).get(spec)
    with pytest.raises(ModelUnavailable, match="asks to run program code from its own repository"):
        LoadedModel(replace(allowed, code={})).get(model(f"owner/name@{commit}"))
    assert not marker.exists() and not any("other/code" in path for path in hub.paths())


def test_what_the_operator_allows_is_enough_for_a_model_that_is_no_row(
    hub: FakeHub, allowed: Settings, served: Path, marker: Path
) -> None:
    spec = resolve(model(f"owner/name@{hub.add('owner/name', served)}"), allowed)
    assert LoadedModel(allowed).get(spec).check.ok and marker.is_file()


def test_code_without_the_part_that_is_needed_is_refused(hub: FakeHub, allowed: Settings, served: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is not run: it was loaded without its part 'router'"):
        LoadedModel(allowed).get(_spec(allowed, hub.add("owner/name", served), part="router"))


def test_code_of_the_model_itself_does_not_come_with_the_allowed_code(
    hub: FakeHub, allowed: Settings, served: Path, tmp_path: Path
) -> None:
    """Other programs put program code into the cache too; a changed config would name it."""
    evil = f"import pathlib\npathlib.Path({str(tmp_path / 'evil')!r}).write_text('ran')\n"
    _change(served / "config.json", auto_map={"AutoConfig": "evil.XConfig", "AutoModel": "evil.XModel"})
    commit = hub.add("owner/name", served)
    (fetch("owner/name", commit, allowed) / "evil.py").write_text(evil)
    with pytest.raises(ModelUnavailable, match=r"The program code of owner/name@\w+ did not run"):
        LoadedModel(allowed).get(_spec(allowed, commit))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", ["Dense", "Router"])
def test_allowed_code_allows_no_other_name(hub: FakeHub, allowed: Settings, served: Path, kind: str) -> None:
    """With program code the libraries import and call whatever a part's config names."""
    modules = json.loads((served / "modules.json").read_text())
    path = f"2_{kind}"
    modules.append({"idx": 3, "name": "3", "path": path, "type": f"sentence_transformers.models.{kind}"})
    (served / "modules.json").write_text(json.dumps(modules))
    (served / path).mkdir()
    facts = {"in_features": HIDDEN, "out_features": HIDDEN, "activation_function": "os.getpid"}
    routes = {"types": {"0": "os.path"}, "structure": {"query": ["0"]}, "parameters": {}}
    name = "router_config.json" if kind == "Router" else "config.json"
    (served / path / name).write_text(json.dumps(routes if kind == "Router" else facts))
    with pytest.raises(ModelUnavailable, match=r"requires program code of its own \('os\."):
        LoadedModel(allowed).get(_spec(allowed, hub.add("owner/name", served)))
