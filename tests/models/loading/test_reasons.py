"""Why a model could not be loaded: what is wrong in its files, which file, and the library's own words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import ModelUnavailable
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.tensors import TensorFolder
from numembed.models.loading.reasons import load_failure
from numembed.models.resolve import resolve
from numembed.models.spec import Loading, LocalWeights, ModelSpec
from tests.offline import OFFLINE

BEGINNING = "odd could not be loaded as a SentenceTransformer model: "
Spoil = Callable[[Path], None]


def _refusal(folder: Path) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        LoadedModel(OFFLINE).get(resolve(model(str(folder)), OFFLINE))
    assert "\n" not in str(caught.value) and str(folder.parent) not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "odd")


def _config(**entries: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | entries))

    return spoil


def _quantised(method: str, **more: Any) -> Spoil:
    return _config(quantization_config={"quant_method": method} | more)


def _without(*names: str) -> Spoil:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _other_tokenizer(kind: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))

    return spoil


def _cut(name: str, keep: float = 0.5) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return spoil


def _no_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({name: one for name, one in config.items() if name != "model_type"}))


def _holding(name: str, text: str) -> Spoil:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_quantised("gptq", bits=4), ("quantised (gptq)", "pip install optimum")),
        (_quantised("awq", bits=4), ("quantised (awq)", "not installed here", "float32")),
        (_quantised("bitsandbytes", load_in_4bit=True), ("quantised (bitsandbytes)", "pip install bitsandbytes")),
        (_quantised("aqlm"), ("quantised (aqlm)", "aqlm")),
        (_quantised("hqq"), ("quantised (hqq)", "not installed here")),
        (_config(model_type="kind_of_tomorrow"), ("of the kind 'kind_of_tomorrow'", "transformers 5", "newer")),
        (_config(model_type="qwen9"), ("of the kind 'qwen9'", "Update the library")),
        (_no_kind, ("names no model_type",)),
        (_without("tokenizer.json"), ("holds no tokenizer", "Copy the tokenizer's files")),
        (_without("tokenizer.json", "tokenizer_config.json"), ("holds no tokenizer",)),  # the library makes up one
        (_other_tokenizer("BertTokenizer"), ("holds no tokenizer",)),
        (_other_tokenizer("XLMRobertaTokenizer"), ("holds no tokenizer",)),
        (_cut("config.json"), ("its file config.json is cut off or damaged",)),
        (_cut("tokenizer.json"), ("its file tokenizer.json is cut off or damaged",)),
        (_cut("modules.json"), ("its file modules.json is cut off or damaged",)),
        (_cut("1_Pooling/config.json", 0), ("its file 1_Pooling/config.json is empty",)),
        (_cut("config_sentence_transformers.json"), ("its file config_sentence_transformers.json is cut off",)),
        (_cut("model.safetensors"), ("'model.safetensors' of 'odd' is damaged", "Download or save it again")),
        (_cut("model.safetensors", 0.999), ("'model.safetensors' of 'odd' is damaged",)),
        (_holding("config.json", "[1, 2]"), ("its file config.json holds a list where an object",)),
        (_holding("config.json", "null"), ("its file config.json holds null",)),
        (_holding("tokenizer.json", "3"), ("its file tokenizer.json holds a single value",)),
        (_holding("1_Pooling/config.json", "[]"), ("its file 1_Pooling/config.json holds a list",)),
        (_holding("config_sentence_transformers.json", '"x"'), ("config_sentence_transformers.json holds a text",)),
        (_holding("modules.json", "{}"), ("its file modules.json holds an object where a list of modules",)),
        (_holding("modules.json", "[" * 100_000 + "]" * 100_000), ("its file modules.json is cut off or damaged",)),
        (_config(hidden_size=48), ("weights have other shapes than its config.json says",)),
        (_holding("config_sentence_transformers.json", '{"truncate_dim": -3}'), ("truncate_dim=-3", "at least 1")),
        (_holding("config_sentence_transformers.json", '{"truncate_dim": 0}'), ("truncate_dim=0", "at least 1")),
        (_holding("config_sentence_transformers.json", '{"truncate_dim": true}'), ("truncate_dim=True",)),
        (_holding("config_sentence_transformers.json", '{"truncate_dim": "8"}'), ("truncate_dim=8", "null for all")),
        (
            _holding("config_sentence_transformers.json", '{"prompts": {"q": 3}, "default_prompt_name": "q"}'),
            ("holds no text for the prompt 'q'",),
        ),
        (
            _holding("config_sentence_transformers.json", '{"prompts": {"q": ""}, "default_prompt_name": "x"}'),
            ("puts the prompt 'x' before every text, but holds no prompt of this name", "correct it there"),
        ),
        (_config(hidden_size=33), ("installed", "complete")),  # whatever the library says about it
        (_config(num_attention_heads=5), ("hidden size (32) is not a multiple of the number of attention heads (5)",)),
    ],
)
def test_the_reason_is_passed_on(folder: Path, spoil: Spoil, words: tuple[str, ...]) -> None:
    spoil(folder)
    told = _refusal(folder)
    assert told.startswith(BEGINNING) and told.endswith((".", "…"))
    assert [word for word in words if word not in told] == [], told


def test_a_requirement_of_the_makers_is_passed_on(folder: Path) -> None:
    settings = {"requirements": {"sentence_transformers": ">=99"}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert "99" in _refusal(folder)


def test_program_code_that_fails_says_why() -> None:
    spec = ModelSpec("m", LocalWeights("/m"), loading=Loading(remote_code="owner/code@" + "1" * 40))
    error = ImportError("This modeling file requires einops. Run `pip install einops` at /home/me/x/modeling.py")
    told = str(load_failure(spec, Path("/m"), error))
    assert told.startswith("The program code of m did not run: This modeling file requires einops.")
    assert "It needs: pip install einops." in told and "/home/me" not in told


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_a_merge_of_quantised_weights_names_the_method(folder: Path, method: str) -> None:
    from numembed.core.errors import BadChoice

    _quantised(method)(folder)
    with pytest.raises(BadChoice, match=rf"are quantised \(packed, {method}\)"):
        TensorFolder(folder)


def test_a_tokenizer_that_needs_no_file_is_none_that_is_missing(folder: Path) -> None:
    _other_tokenizer("ByT5Tokenizer")(folder)
    assert LoadedModel(OFFLINE).get(resolve(model(str(folder)), OFFLINE)).encode(["1, 2"]).shape == (1, 32)
