"""What the hub says about a model before anything large is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numembed.core.settings import Settings
from numembed.models.files.folders import OWN_MODULES, is_kept
from numembed.models.files.settings import SETTINGS_FILE, OwnSettings, settings_in
from numembed.models.hub.client import Hub, Refused, connected
from numembed.models.hub.download import files_of

_MOST_CHARS, _MOST_TAGS, _MOST_MODULES = 100, 100, 8
_MOST_PROMPTS, _MOST_PROMPT = 20, 300  # and characters of each


@dataclass(frozen=True)
class HubCard:
    """Facts about a model at one commit. The words in it are strangers' words, never markup."""

    repo: str
    revision: str
    licence: str  # "" where its page names none
    gated: bool
    download_bytes: int  # of the files that would be kept
    parameters: int | None
    architecture: str
    library: str
    has_safe_weights: bool  # some in the safetensors format
    needs_code: bool  # asks to run program code of its own
    is_adapter: bool
    tags: tuple[str, ...]
    dimension: int | None
    max_tokens: int | None
    prompts: Mapping[str, str]  # the model's own, by name
    own: OwnSettings = OwnSettings()  # what its makers have set for every encoding


def card(repo: str, settings: Settings, revision: str = "") -> HubCard:
    """Return what the hub says about a model, by default at its newest commit; reads only small files.

    Raises :class:`ModelUnavailable`.
    """
    with connected(repo, settings) as hub:
        about = hub.about(revision)
        files = files_of(about, repo)
        small = _SmallFiles(hub, about, {file.name for file in files})
        config = _dict(small.read("config.json")) or _dict(about.get("config"))
        modules = [module for module in _list(small.read("modules.json")) if isinstance(module, dict)]
        dimension = _dimension(modules, config, small)
        sentences = _dict(small.read("sentence_bert_config.json"))
        own = small.read(SETTINGS_FILE)
    names = [file.name for file in files]
    tags = tuple(_word(tag) for tag in _list(about.get("tags"))[:_MOST_TAGS])
    return HubCard(
        repo=repo,
        revision=str(about["sha"]),
        licence=_licence(_dict(about.get("cardData")), tags),
        gated=bool(about.get("gated")),
        download_bytes=sum(file.size for file in files if is_kept(file.name)),
        parameters=_number(_dict(about.get("safetensors")), "total"),
        architecture=next(map(_word, _list(config.get("architectures"))), ""),
        library=_word(about.get("library_name")),
        has_safe_weights=any(name.endswith(".safetensors") for name in names),
        needs_code=bool(config.get("auto_map"))
        or any(not _word(module.get("type")).startswith(OWN_MODULES) for module in modules),
        is_adapter="adapter_config.json" in names,
        tags=tags,
        dimension=dimension,
        max_tokens=_number(sentences, "max_seq_length") or _number(config, "max_position_embeddings", "n_positions"),
        prompts=prompts_in(own),
        own=settings_in(_dict(own)) if modules else OwnSettings(),
    )


def prompts_in(config: Any) -> dict[str, str]:
    """Return the prompts by name that a config_sentence_transformers.json lists; empty ones are none."""
    listed = _dict(_dict(config).get("prompts"))
    prompts = {_word(name): text for name, text in listed.items() if isinstance(text, str) and text}
    return {name: text for name, text in list(prompts.items())[:_MOST_PROMPTS] if name and len(text) <= _MOST_PROMPT}


class _SmallFiles:
    """The JSON files of one commit; None where there is none, or where a gated model keeps it to itself."""

    def __init__(self, hub: Hub, about: dict[str, Any], names: set[str]) -> None:
        self._hub, self._about, self._names = hub, about, names

    def read(self, name: str) -> Any:
        if name not in self._names:
            return None
        try:
            return json.loads(self._hub.small_file(self._about["sha"], name))
        except Refused:
            if self._about.get("gated"):
                return None
            raise
        except (ValueError, RecursionError):
            return None


def _dimension(modules: list[dict[str, Any]], config: dict[str, Any], small: _SmallFiles) -> int | None:
    """Return the length of the vectors: what the last module says that says anything, else the model's width."""
    for module in reversed(modules[:_MOST_MODULES]):
        kind = _word(module.get("type")).rpartition(".")[2]
        if kind in ("Dense", "Pooling"):
            module_config = _dict(small.read(f"{module.get('path')}/config.json"))
            if width := _number(module_config, "out_features", "word_embedding_dimension", "embedding_dimension"):
                return width
    return _number(config, "hidden_size", "d_model", "n_embd", "dim")


def _licence(page: dict[str, Any], tags: tuple[str, ...]) -> str:
    named = page.get("license_name") if page.get("license") in ("other", None) else page.get("license")
    tagged = (tag.removeprefix("license:") for tag in tags if tag.startswith("license:"))
    return ", ".join(map(_word, _list(named) or [named or next(tagged, "")]))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str:
    return value[:_MOST_CHARS] if isinstance(value, str) else ""


def _number(facts: dict[str, Any], *names: str) -> int | None:
    values = (facts.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)
