"""The models that a visitor can pick by name: one row each, pinned to a commit.

A row with ``refused`` would load today, but with vectors that its makers did not mean; it says why
instead of answering wrongly.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from numembed.errors import BadChoice, ModelUnavailable
from numembed.models.baselines import BASELINES
from numembed.models.spec import BaselineWeights, HubWeights, LocalWeights, ModelSpec
from numembed.settings import LIMITS


@dataclass(frozen=True)
class Row:
    """One catalogue model and its facts."""

    name: str
    repo: str
    revision: str
    parameters_millions: float
    dimension: int
    max_tokens: int
    dtype: str = "float32"
    paper_name: str = ""  # its name in Table 2
    refused: str = ""  # why it is not run


_EOS = "its tokenizer loses the end-of-text token that this model reads its vector from"
_CAUSAL = "today's libraries load it without its bidirectional attention"
_REMOTE = "it needs program code from its repository, which is not run here"

CATALOGUE: dict[str, Row] = {
    row.name: row
    for row in (
        Row("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2",
            "1110a243fdf4706b3f48f1d95db1a4f5529b4d41", 22.7, 384, 256),
        Row("EmbeddingGemma-300M", "google/embeddinggemma-300m",
            "64614b0b8b64f0c6c1e52b07e4e9a4e8fe4d2da2", 307.6, 768, 2048, paper_name="EmbeddingGemma(0.3B)"),
        Row("gte-multilingual-base", "Alibaba-NLP/gte-multilingual-base",
            "ca1791e0bcc104f6db161f27de1340241b13c5a4", 305.4, 768, 8192,
            paper_name="gte multilingual-base(0.3B)", refused=_REMOTE),
        Row("gte-large-en-v1.5", "Alibaba-NLP/gte-large-en-v1.5",
            "104333d6af6f97649377c2afbde10a7704870c7b", 434.1, 1024, 8192,
            paper_name="gte-large-en-v1.5(0.4B)", refused=_REMOTE),
        Row("nomic-embed-text-v2-moe", "nomic-ai/nomic-embed-text-v2-moe",
            "1066b6599d099fbb93dfcb64f9c37a7c9e503e85", 475.3, 768, 512,
            paper_name="nomic-embed-text-v2-moe(0.5B)", refused=_REMOTE),
        Row("multilingual-e5-large", "intfloat/multilingual-e5-large",
            "ab10c1a7f42e74530fe7ae5be82e6d4f11a719eb", 560, 1024, 512, paper_name="Multilingual-e5-large(0.6B)"),
        Row("Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B",
            "b22da495047858cce924d27d76261e96be6febc0", 595.8, 1024, 32768, "bfloat16", "Qwen3 Embedding (0.6B)"),
        Row("gte-Qwen2-1.5B-instruct", "Alibaba-NLP/gte-Qwen2-1.5B-instruct",
            "c6c1b92f4a3e1b92b326ad29dd3c8433457df8dd", 1776, 1536, 32768, "bfloat16",
            "gte-Qwen2-1.5B-instruct", _EOS),
        Row("Qwen3-Embedding-4B", "Qwen/Qwen3-Embedding-4B",
            "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff", 4021.8, 2560, 32768, "bfloat16", "Qwen3 Embedding(4B)"),
        Row("GritLM-7B", "GritLM/GritLM-7B", "13f00a0e36500c80ce12870ea513846a066004af",
            7241.7, 4096, 32768, "bfloat16", "GritLM-7B", _CAUSAL),
        Row("gte-Qwen2-7B-instruct", "Alibaba-NLP/gte-Qwen2-7B-instruct",
            "e26182b2122f4435e8b3ebecbf363990f409b45b", 7613, 3584, 32768, "bfloat16",
            "gte-Qwen2-7B instruct", _CAUSAL),
        Row("e5-mistral-7b-instruct", "intfloat/e5-mistral-7b-instruct",
            "07163b72af1488142a360786df853f237b1a3ca1", 7110.7, 4096, 32768, "bfloat16",
            "e5-mistral-7b-instruct", _EOS),
        Row("Qwen3-Embedding-8B", "Qwen/Qwen3-Embedding-8B",
            "4e423935c619ae4df87b646a3ce949610c66241c", 7567.3, 4096, 32768, "bfloat16", "Qwen3 Embedding(8B)"),
        Row("llama-embed-nemotron-8b", "nvidia/llama-embed-nemotron-8b",
            "84a375593d27d3528beb4e104822515659e093b4", 7504.9, 4096, 32768, "bfloat16",
            "llama-embed-Nemtron(8B)", _REMOTE),
        Row("bge-multilingual-gemma2", "BAAI/bge-multilingual-gemma2",
            "992e13d8984fde2c31ef8a3cb2c038aeec513b8a", 9241.7, 3584, 8192, "bfloat16",
            "bge-multilingual-gemma2(9B)"),
        Row("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5",
            "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a", 33.4, 384, 512),
        Row("multilingual-e5-small", "intfloat/multilingual-e5-small",
            "fd1525a9fd15316a2d503bf26ab031a61d056e98", 117.7, 384, 512),
        Row("snowflake-arctic-embed-l-v2.0", "Snowflake/snowflake-arctic-embed-l-v2.0",
            "edc2df7b6c25794b340229ca082e7c78782e6374", 567.8, 1024, 8192),
    )
}  # fmt: skip

BUNDLED = HubWeights(CATALOGUE["all-MiniLM-L6-v2"].repo, CATALOGUE["all-MiniLM-L6-v2"].revision)
"""The one model that comes with the installation; its files lie in a package, its identity is the hub's."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}(@[0-9a-f]{40})?")


def model(reference: str) -> ModelSpec:
    """Return the model that a person named: a catalogue or baseline name, owner/name[@commit], or a folder.

    >>> model("all-MiniLM-L6-v2").weights.repo
    'sentence-transformers/all-MiniLM-L6-v2'
    >>> model("last_digits").is_baseline
    True

    Raises :class:`BadChoice` for anything else and :class:`ModelUnavailable` for a row that is refused.
    """
    reference = reference.strip()
    if len(reference) > LIMITS.reference_chars:
        raise BadChoice(f"A model's name has at most {LIMITS.reference_chars} characters, got {len(reference):,}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in reference):
        raise BadChoice(f"A model's name has no control characters, got {reference[:80]!r}. Rename its folder.")
    if reference in BASELINES:
        version = BASELINES[reference].facts.get("version", 1)
        return ModelSpec(BASELINES[reference].title, BaselineWeights(reference, version))
    if reference.startswith(("/", "~", "./", "../")) or Path(reference).is_absolute():
        folder = Path(os.path.expanduser(reference)).absolute()  # pathlib's own raises where there is no such user
        return ModelSpec(folder.name or str(folder), LocalWeights(str(folder)))
    for row in CATALOGUE.values():
        if reference in (row.name, row.repo, f"{row.repo}@{row.revision}"):
            return _from_row(row)
    if not _HUB_ID.fullmatch(reference) or ".." in reference or "--" in reference:
        raise BadChoice(
            f"{reference[:80]!r} is no model's name. Give a name from the catalogue, a baseline, "
            "a Hugging Face id such as BAAI/bge-small-en-v1.5, or a folder that starts with / or ~."
        )
    repo, _, revision = reference.partition("@")
    return ModelSpec(reference, HubWeights(repo, revision))


def reference_of(spec: ModelSpec) -> str:
    """Return the shortest text from which :func:`model` makes the weights of ``spec`` again."""
    match spec.weights:
        case BaselineWeights(name):
            return name
        case LocalWeights(path):
            return path
        case HubWeights(repo, revision):
            for row in CATALOGUE.values():
                if (repo, revision) == (row.repo, row.revision):
                    return row.name
            return f"{repo}@{revision}" if revision else repo


def _from_row(row: Row) -> ModelSpec:
    if row.refused:
        raise ModelUnavailable(
            f"{row.name} is not run here yet: {row.refused}, so its vectors would be wrong without a warning."
        )
    return ModelSpec(row.name, HubWeights(row.repo, row.revision), dtype=row.dtype)
