"""Models that mean harm: nothing of theirs runs, and each ends in a sentence or loads without it."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import ModelUnavailable
from numembed.models.catalogue.names import model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.folders import checked_folder
from numembed.models.resolve import folder_of, known_folder, resolve
from numembed.models.spec import LocalWeights
from tests import architectures, tiny
from tests.offline import OFFLINE
from tests.servers.hub import FakeHub, serve_hub

pytestmark = pytest.mark.slow  # together they take long

Spoil = Callable[[Path], None]
EVIL = (
    "import pathlib\npathlib.Path({!r}).write_text('ran')\n"
    "class XModel: pass\nXConfig = XTokenizer = Evil = f = XModel\n"
)
LOOP = "{% for a in range(99999) %}" * 3 + "x" + "{% endfor %}" * 3


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What is there once code of a model has run."""
    return tmp_path / "ran"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path, marker: Path) -> Path:
    """A model with program code beside it, to be spoilt."""
    made = shutil.copytree(tiny_model, tmp_path / "spoilt")
    for name in ("modeling_x.py", "custom_st.py", "module.py"):
        (made / name).write_text(EVIL.format(str(marker)))
    return made


def _load(folder: Path, options: str = "") -> SentenceEncoder:
    encoder = LoadedModel(OFFLINE).get(resolve(model(f"{folder}{options}"), OFFLINE))
    assert isinstance(encoder, SentenceEncoder)
    return encoder


def _text(folder: Path, options: str = "") -> str:
    """Return the sentence of a failure, which comes soon."""
    began = time.monotonic()
    with pytest.raises(ModelUnavailable) as failure:
        _load(folder, options)
    assert time.monotonic() - began < 60  # with the libraries' first import
    assert "\n" not in str(failure.value)
    return str(failure.value)


def _facts(name: str, **facts: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        known = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(known | facts))

    return spoil


def _without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def _module(kind: str, path: str = "2_X") -> Spoil:
    def spoil(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"idx": 3, "name": "3", "path": path, "type": kind})
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / path).mkdir(exist_ok=True)

    return spoil


def _dense(function: object) -> tuple[Spoil, ...]:
    facts = {"in_features": tiny.HIDDEN, "out_features": tiny.HIDDEN, "activation_function": function}
    return _module("sentence_transformers.models.Dense"), _facts("2_X/config.json", **facts)


def _router(kind: str) -> tuple[Spoil, ...]:
    routes = {"types": {"0": kind}, "structure": {"query": ["0"]}, "parameters": {}}
    return _module("sentence_transformers.models.Router"), _facts("2_X/router_config.json", **routes)


# T1: program code, where the operator has allowed none

MAP = {"AutoConfig": "modeling_x.XConfig", "AutoModel": "modeling_x.XModel"}
OTHER = {use: f"other/code--{where}" for use, where in MAP.items()}
TOKENIZER = _facts(
    "tokenizer_config.json", tokenizer_class="XTokenizer", auto_map={"AutoTokenizer": ["modeling_x.XTokenizer", None]}
)
FOREIGN = _facts("config.json", model_type="x", auto_map=MAP)
TRUSTING = {kind: {"trust_remote_code": True} for kind in ("model_args", "config_args", "tokenizer_args")}
PROCESSOR = {"processor_class": "XProcessor", "auto_map": {"AutoProcessor": "modeling_x.XModel"}}
REPOSITORY, OWN = "asks to run program code from its own repository", "requires program code of its own"
KERNEL = "program code from elsewhere, which is not run here"
BROKEN = "could not be loaded as a SentenceTransformer model"
HARMFUL: dict[str, tuple[str, str, tuple[Spoil, ...]]] = {  # what is told, options, and what is done
    "a class for a known design": ("", "", (_facts("config.json", auto_map=MAP),)),
    "a class for an unknown design": (REPOSITORY, "", (FOREIGN,)),
    "a class in another repository": (REPOSITORY, "", (_facts("config.json", model_type="x", auto_map=OTHER),)),
    "a class, and no list of modules": (REPOSITORY, "", (FOREIGN, _without("modules.json"))),
    "a class, and pooling named by hand": (REPOSITORY, " pooling=mean", (FOREIGN, _without("modules.json"))),
    "a class that its config trusts": (REPOSITORY, "", (FOREIGN, _facts("sentence_bert_config.json", **TRUSTING))),
    "a class where none can be": (BROKEN, "", (_facts("config.json", model_type="x", auto_map=["modeling_x.XModel"]),)),
    "a tokenizer's class": ("", "", (TOKENIZER,)),
    "a tokenizer's class alone": (BROKEN, "", (TOKENIZER, _without("tokenizer.json"))),
    "a tokenizer's class, by hand": (
        BROKEN,
        " pooling=cls",
        (TOKENIZER, _without("tokenizer.json"), _without("modules.json")),
    ),
    "a processor's class": (REPOSITORY, "", (_facts("processor_config.json", **PROCESSOR), _without("tokenizer.json"))),
    "a module of its own": (OWN, "", (_module("modeling_x.Evil"),)),
    "a module of a repository": (OWN, "", (_module("org/module"),)),
    "a module as jina's": (OWN, "", (_module("custom_st.Transformer"),)),
    "a module of the system": (OWN, "", (_module("os.system"),)),
    "a library inside the library": (BROKEN, "", (_module("sentence_transformers.base.model.os"),)),
    "a loader inside the library": (BROKEN, "", (_module("sentence_transformers.base.model.torch"),)),
    "a function of the system": (OWN, "", _dense("os.system")),
    "a function of its own": (OWN, "", _dense("modeling_x.f")),
    "a function of torch that fetches": (REPOSITORY, "", _dense("torch.hub.load")),
    "a list for a function": (OWN, "", _dense(["os.system"])),
    "a router to code of its own": (OWN, "", _router("modeling_x.Evil")),
    "a router into the system": (OWN, "", _router("os.path")),
    "a kernel from the hub": (KERNEL, "", (_facts("config.json", _attn_implementation="other/code"),)),
    "a kernel from the hub, asked for": (
        KERNEL,
        "",
        (
            _facts(
                "sentence_bert_config.json", model_args={"attn_implementation": "other/code", "allow_all_kernels": True}
            ),
        ),
    ),
    "a tokenizer elsewhere": (BROKEN, "", (_facts("sentence_bert_config.json", tokenizer_name_or_path="other/code"),)),
    "a template that never ends": ("", "", (_facts("tokenizer_config.json", chat_template=LOOP),)),
    "a limit that is no number": (BROKEN, "", (_facts("sentence_bert_config.json", max_seq_length="os.system('x')"),)),
    "modules that are no list": (BROKEN, "", (_without("modules.json"), _facts("modules.json"))),
}


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A hub that the libraries would ask if they were let, and somebody at the terminal who says yes to everything."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda question="": asked.append(question) or "y")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    with serve_hub() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub, asked


@pytest.mark.parametrize("name", list(HARMFUL))
@pytest.mark.filterwarnings("ignore:pickle_load_args")  # as far as the loader inside the library comes
def test_code_never_runs(folder: Path, marker: Path, name: str, listening: tuple[FakeHub, list[str]]) -> None:
    (hub, questions), (sentence, options, spoils) = listening, HARMFUL[name]
    hub.add("other/code", folder)
    for spoil in spoils:
        spoil(folder)
    if sentence:
        assert sentence in _text(folder, options)
    else:
        assert _load(folder).encode(["1, 2"]).shape == (1, tiny.HIDDEN)
    assert not marker.exists() and hub.paths() == [] and questions == []


@pytest.mark.parametrize("name", ["a class for an unknown design", "a module of its own", "a function of its own"])
def test_the_same_models_run_their_code_where_a_library_trusts_them(
    folder: Path, marker: Path, name: str, listening: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    for spoil in HARMFUL[name][2]:
        spoil(folder)
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(Exception):  # noqa: B017, PT011  # there is no model in it
        SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
    assert marker.exists()


# T3 and T4: weights


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


PICKLES = {
    "alone": "pytorch_model.bin",
    "of a part": "2_X/pytorch_model.bin",
    "an adapter's": "0_Adapter/adapter_model.bin",
    "another name": "model.pt2",
    "a checkpoint": "model.ckpt",
}


@pytest.mark.parametrize("name", list(PICKLES))
def test_pickled_weights_are_refused_unread(folder: Path, marker: Path, name: str) -> None:
    place = folder / PICKLES[name]
    if place.parent == folder:
        (folder / "model.safetensors").unlink()
    else:
        _module("sentence_transformers.models.Dense", place.parent.name)(folder)
    place.write_bytes(pickle.dumps(_Runs(marker)))
    assert "the safetensors format. Other formats can run code while they load" in _text(folder)
    assert known_folder(LocalWeights(str(folder)), OFFLINE) is None and not marker.exists()
    pickle.loads(place.read_bytes())
    assert marker.is_dir()  # it was harmful


def test_what_is_next_to_a_model_and_is_no_part_of_it_neither_refuses_nor_breaks_it(folder: Path) -> None:
    vectors = _load(folder).encode(["1, 2"])
    strangers = {
        "extra/training_args.bin": b"x",
        "lora/adapter_model.bin": b"x",
        "lora/torn.safetensors": b"torn",
        "old/model.safetensors.index.json": b'{"weight_map": {"a": "b"}}',
    }
    for name, content in strangers.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    assert (_load(folder).encode(["1, 2"]) == vectors).all()


def test_no_list_of_parts_leads_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "pytorch_model.bin").write_bytes(b"x")
    for part in ("../outside", str(outside), "a\x00b"):
        types = {part: "sentence_transformers.models.Transformer"}
        (folder / "router_config.json").write_text(json.dumps({"types": types}))
        assert checked_folder(folder) == folder, "what lies outside was looked at"


def _header(size: int, text: bytes = b"") -> bytes:
    return struct.pack("<Q", size) + text


TORN: tuple[tuple[bytes, slice], ...] = (  # what stands first, and what follows of the right file
    (b"", slice(0)),
    (b"", slice(5)),
    (b"", slice(20_000)),
    (b"", slice(-1)),
    (b"\x80" * 64, slice(64, None)),
    *((_header(size), slice(8, None)) for size in (0, 2**62, 2**64 - 1, 99_999_999)),
    (_header(7, b"{nope!}"), slice(0)),
    (_header(2, b"{}"), slice(8, None)),
    (_header(2, b"[]"), slice(0)),
)


@pytest.mark.parametrize(("first", "rest"), TORN, ids=range(len(TORN)))
def test_torn_or_swollen_weights_are_a_sentence(folder: Path, first: bytes, rest: slice) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(first + weights.read_bytes()[rest])
    told = _text(folder)
    assert "is damaged" in told or BROKEN in told


# T5: adapters

ADAPTERS: tuple[Any, ...] = (
    {"peft_type": "LORA", "base_model_name_or_path": ["owner/name"]},
    {"peft_type": "LORA", "base_model_name_or_path": {"a": 1}, "r": 10**9},
    {"peft_type": "LORA", "base_model_name_or_path": "../../etc", "target_modules": [".*"]},
    {"peft_type": "LORA", "base_model_name_or_path": "x" * 100_000},
    {"auto_mapping": {"base_model_class": "system", "parent_library": "os"}},
    {"peft_type": "LORA", "megatron_core": "os", "megatron_config": {}},
    {"peft_type": "NO_SUCH_KIND", "unknown": {"deep": [None]}},
    ["LORA"],
    "{not json",
)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=range(len(ADAPTERS)))
@pytest.mark.parametrize("place", [".", "0_Transformer"])
def test_an_adapter_is_distinguished_from_a_model_and_nothing_of_it_is_imported(
    folder: Path, adapter: Any, place: str
) -> None:
    if place != ".":
        _module("sentence_transformers.models.Transformer", place)(folder)
    text = adapter if isinstance(adapter, str) else json.dumps(adapter)
    (folder / place / "adapter_config.json").write_text(text)
    before = "peft" in sys.modules  # other tests may have brought it
    told = _text(folder)
    assert "is a LoRA adapter: a small change to a model, not a model." in told and len(told) < 400
    assert known_folder(LocalWeights(str(folder)), OFFLINE) is None and ("peft" in sys.modules) == before


# T7: a folder that looks like a model of the hub


def test_a_folder_of_that_name_in_the_working_directory_is_not_the_hubs_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    for spec in (model("owner/name"), model("owner/name@" + "1" * 40)):
        with pytest.raises(ModelUnavailable, match="owner/name is not on this machine"):
            folder_of(resolve(spec, OFFLINE), OFFLINE)
        assert known_folder(spec.weights, OFFLINE) is None


# limits that no model has


@pytest.mark.parametrize("name", ["bert-mean", "xlm-roberta"])
def test_a_limit_beyond_the_models_positions_is_cut_to_them(tmp_path: Path, name: str) -> None:
    folder = architectures.build(name, tmp_path / name)
    _facts("sentence_bert_config.json", max_seq_length=10**9)(folder)
    _facts("tokenizer_config.json", model_max_length=10**9)(folder)
    encoder = _load(folder)
    config = encoder.model[0].auto_model.config
    behind = config.pad_token_id + 1 if name == "xlm-roberta" else 0  # its positions begin behind the padding's
    long, longer = ", ".join(["7"] * 1_000), ", ".join(["7"] * 1_100)  # two tokens each
    ((kept,), vectors) = encoder.token_ids([long]), encoder.encode([long, longer, "7"])
    assert len(kept) == encoder.model.max_seq_length == config.max_position_embeddings - behind
    assert (vectors[0] == vectors[1]).all() and abs(vectors[0] - vectors[2]).max() > 1e-3
