"""How a model splits texts into tokens, from its tokenizer alone: no torch, milliseconds.

A tokenizer of an unlisted model can be made so that it never ends. It therefore runs in a process of its own, which
is killed after a while.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.errors import ModelUnavailable, TextFailed
from numembed.core.settings import Settings, harmless
from numembed.models.catalogue.names import facts_of
from numembed.models.encoders import tokenizer_process as token_counts
from numembed.models.files.architectures import NO_LIMIT, Architecture, architecture_of
from numembed.models.files.folders import kinds_of, read_json
from numembed.models.files.tensors import read_header, weight_files
from numembed.models.resolve import known_folder
from numembed.models.spec import ModelSpec

BATCH_TOKENS = 1_024  # on a CPU: more falls out of the cache, less starves it
PATIENCE_SECONDS = 60.0  # for the tokenizer of an unlisted model, in the worker
_OWN_ERROR = 1  # with which Python ends after an exception
_PANIC = "PanicException"  # the Rust library gave up; in this process that would end the worker


@dataclass(frozen=True)
class TokenCount:
    """Tokens of some texts, before any is cut off, and the most that the model reads."""

    counts: tuple[int, ...]
    max_tokens: int | None
    numbers: tuple[int, ...] = ()  # in each text
    numbers_read: tuple[int, ...] = ()  # of them, those that are not cut off
    digits_per_token: float = 0.0  # of the tokens that hold digits
    tokens_per_number: float = 0.0
    pieces: tuple[tuple[str, ...], ...] = ()  # of the first texts, as the model sees them; special tokens by name

    @property
    def truncated(self) -> int:
        """How many texts are longer than the model reads."""
        return sum(count > self.max_tokens for count in self.counts) if self.max_tokens else 0


def count_tokens(
    spec: ModelSpec, texts: Sequence[str], settings: Settings, *, pieces_of: int = 0, patience_seconds: float = 10.0
) -> TokenCount | None:
    """Return how ``spec`` with its prompt splits each text, with the pieces of the first ``pieces_of`` texts.

    None where its tokenizer is not here, not readable or (unlisted) not done after ``patience_seconds``.
    """
    folder = known_folder(spec.weights, settings)
    if folder is None or not (file := _find(folder, "tokenizer.json")):
        return None
    question = {
        "file": str(file),
        "prompt": spec.prompt,
        "texts": list(texts),
        "pieces_of": pieces_of,
        "max_tokens": max_tokens(folder, requested=spec.max_tokens),
        "added": spec.loading.add_bos + spec.loading.add_eos,
    }
    try:
        answer = token_counts.answer(question) if facts_of(spec) else _ask_elsewhere(question, patience_seconds)
    except (subprocess.SubprocessError, ValueError):
        return None
    return TokenCount(**{name: _frozen(value) for name, value in answer.items()}) if answer else None


def refuse_endless(spec: ModelSpec, texts: Sequence[str], folder: Path, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Raise ModelUnavailable where the tokenizer of an unlisted model fails or is not done with ``texts`` in time.

    One that fails raises TextFailed as well: it may read other texts.
    """
    file = _find(folder, "tokenizer.json")
    if file is None or facts_of(spec):
        return
    kind: type[ModelUnavailable] = ModelUnavailable
    try:
        _reads(str(file), file.stat().st_mtime_ns, spec.prompt, tuple(texts), seconds)
    except subprocess.TimeoutExpired:
        what = f"took longer than {seconds:g} s and was stopped"
    except subprocess.CalledProcessError as error:
        if error.returncode == _OWN_ERROR and _PANIC not in error.stderr:
            return  # it cannot read one of the texts, and says so again where that is read
        kind, what = _TokenizerFailed, "failed"
    else:
        return
    raise kind(
        f"The tokenizer of {spec.name} {what}: its tokenizer.json contains a pattern that does not finish on such "
        "texts. Choose another model."
    )


class _TokenizerFailed(ModelUnavailable, TextFailed):
    """A tokenizer failed on one of some texts."""


@functools.lru_cache(maxsize=8)  # hundreds of merges with one tokenizer read the same texts
def _reads(file: str, changed_ns: int, prompt: str, texts: tuple[str, ...], seconds: float) -> None:
    """Return where the tokenizer in ``file`` is done with ``texts`` in time; remembered until the file changes."""
    _ask_elsewhere({"file": file, "prompt": prompt, "texts": list(texts), "max_tokens": None}, seconds)


def token_batches(lengths: Sequence[int], *, budget: int = BATCH_TOKENS) -> list[list[int]]:
    """Return indices in batches of similar length whose padded size stays within ``budget`` tokens.

    >>> token_batches([5, 2, 9, 2], budget=10)
    [[1, 3], [0], [2]]
    """
    batches: list[list[int]] = []
    for index in np.argsort(lengths, kind="stable"):
        width = max(int(lengths[index]), 1)
        if batches and (len(batches[-1]) + 1) * width <= budget:
            batches[-1].append(int(index))
        else:
            batches.append([int(index)])
    return batches


def max_tokens(folder: Path, *, requested: int | None = None) -> int | None:
    """Return the most tokens that the model in ``folder`` reads, of those ``requested``; None where it says nothing.

    A table of token vectors reads everything, whatever its tokenizer's settings say.
    """
    if (folder / "0_StaticEmbedding").is_dir() or next(kinds_of(folder), "").endswith("StaticEmbedding"):
        return None
    config_file, stated = _find(folder, "config.json"), requested
    config = read_json(config_file)
    architecture = architecture_of(config)
    for file, field in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        value = read_json(_find(folder, file)).get(field)
        if stated is None and isinstance(value, int | float) and 0 < value < NO_LIMIT:
            stated = int(value)
            if field == "model_max_length":  # the library lowers this one, and only this one
                stated = min(stated, architecture.stated_limit(config) or stated)
    stated = architecture.stated_limit(config) if stated is None else stated
    names = _own_names(config_file.parent, architecture) if config_file and architecture.has_table else ()
    return min(filter(None, (stated, architecture.most_tokens(config, names))), default=None)


def _own_names(folder: Path, architecture: Architecture) -> Collection[str]:
    """Return the tensors of the transformer in ``folder``; none where no file of weights can be read."""
    try:
        return architecture.own_names(name for file in weight_files(folder) for name in read_header(file)).values()
    except ModelUnavailable:
        return ()


def _find(folder: Path, name: str) -> Path | None:
    places = (folder / name, folder / "0_Transformer" / name, folder / "0_StaticEmbedding" / name)
    return next((path for path in places if path.is_file()), None)


def _ask_elsewhere(question: dict[str, Any], seconds: float) -> Any:
    done = subprocess.run(
        [sys.executable, "-P", token_counts.__file__],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=True,
        env=harmless(os.environ),
    )
    return json.loads(done.stdout)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
