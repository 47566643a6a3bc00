"""From the name that a person gives to the model that is meant, with its loading recipe, and back.

A name may be followed by options: ``Qwen3-Embedding-0.6B dim=256 prompt=query``.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.errors import BadChoice, ModelUnavailable
from numembed.models.baselines import BASELINES
from numembed.models.rows import Row, read_rows
from numembed.models.spec import (
    PRECISIONS,
    BaselineWeights,
    HubWeights,
    Loading,
    LocalWeights,
    ModelSpec,
    RemoteWeights,
)  # fmt: skip
from numembed.settings import LIMITS

CATALOGUE: Mapping[str, Row] = read_rows()
BUNDLED = HubWeights(CATALOGUE["all-MiniLM-L6-v2"].repo, CATALOGUE["all-MiniLM-L6-v2"].revision)
"""The one model that comes with the installation; its files lie in a package, its identity is the hub's."""

ENDPOINT = "endpoint:"
DTYPES = ("float32", "bfloat16", "float16")
OPTIONS = {  # in the order in which a reference lists them
    "prompt": 'text before every sequence: a name from the model\'s card, or "any text" in quotes',
    "dim": "keep the first so many numbers of a vector (Matryoshka)",
    "precision": f"round the vectors: {', '.join(PRECISIONS)}",
    "max_tokens": "read at most so many tokens",
    "attention": "causal or bidirectional, whatever the folder says",
    "pooling": "mean, cls or lasttoken, whatever the folder says",
    "bos": "yes: put the begin-of-text token first",
    "eos": "yes: put the end-of-text token last",
    "dtype": f"number format of the weights: {', '.join(DTYPES)}",
    "weights": "random or random:3 (a seed): the same architecture before any training, as a baseline",
}
_CHOICES = {
    "precision": PRECISIONS, "attention": ("causal", "bidirectional"), "pooling": ("mean", "cls", "lasttoken"),
    "bos": ("yes",), "eos": ("yes",), "dtype": DTYPES,
}  # fmt: skip
_RANDOM = re.compile(r"random(?::([0-9]{1,9}))?")
_WITHOUT_FOLDER = ("prompt", "dim", "precision")  # what an endpoint can be asked for
_OPTION = re.compile(rf'\s+({"|".join(OPTIONS)})=("(?:[^"\\]|\\.)*"|[^\s"]+)\s*$')
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}(@[0-9a-f]{40})?")


def model(reference: str) -> ModelSpec:
    """Return the model that a person named: a catalogue or baseline name, owner/name[@commit], a folder or an endpoint.

    >>> model("all-MiniLM-L6-v2").weights.repo
    'sentence-transformers/all-MiniLM-L6-v2'
    >>> model("last_digits").is_baseline
    True
    >>> model("all-MiniLM-L6-v2 dim=128").dimensions
    128

    Raises :class:`BadChoice` for anything else and :class:`ModelUnavailable` for a row that is refused.
    """
    reference = reference.strip()
    if len(reference) > LIMITS.reference_chars:
        raise BadChoice(f"A model's name has at most {LIMITS.reference_chars} characters, got {len(reference):,}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in reference):
        raise BadChoice(f"A model's name has no control characters, got {reference[:80]!r}. Rename its folder.")
    name, options = _split(reference)
    plain = _plain(name)
    if not options:
        return plain
    spec = _with_options(plain, options)
    return replace(spec, name=plain.name + _written(spec))


def reference_of(spec: ModelSpec) -> str:
    """Return the shortest text from which :func:`model` makes ``spec`` again (its weights unpinned)."""
    return _weights_reference(spec) + _written(spec)


def random_twin(spec: ModelSpec) -> ModelSpec | None:
    """Return ``spec`` with random weights, the same architecture before any training; None where there is none.

    >>> random_twin(model("all-MiniLM-L6-v2")).name
    'all-MiniLM-L6-v2 weights=random'

    None for baselines, endpoints, what has random weights already and models that need program code of their own.
    """
    recipe = spec.loading
    if not isinstance(spec.weights, HubWeights | LocalWeights) or recipe.random_seed is not None or recipe.remote_code:
        return None
    twin = replace(spec, loading=replace(recipe, random_seed=0))
    return replace(twin, name=spec.name.removesuffix(_written(spec)) + _written(twin))


def facts_of(spec: ModelSpec) -> Row | None:
    """Return the catalogue's facts about the weights of ``spec``, or None where it is no row."""
    match spec.weights:
        case HubWeights(repo):
            return next((row for row in CATALOGUE.values() if repo in (row.repo, row.mirror)), None)
    return None


def prompts_of(spec: ModelSpec) -> Mapping[str, str]:
    """Return the model's own prompts by name, as far as the catalogue knows them."""
    facts = facts_of(spec)
    return facts.prompts if facts else {}


def _plain(name: str) -> ModelSpec:
    if name in BASELINES:
        version = BASELINES[name].facts.get("version", 1)
        return ModelSpec(BASELINES[name].title, BaselineWeights(name, version))
    if name.startswith(ENDPOINT):
        return ModelSpec(name, RemoteWeights(name.removeprefix(ENDPOINT)))
    if name.startswith(("/", "~", "./", "../")) or Path(name).is_absolute():
        folder = Path(os.path.expanduser(name)).absolute()  # pathlib's own raises where there is no such user
        return ModelSpec(folder.name or str(folder), LocalWeights(str(folder)))
    repo, _, revision = name.partition("@")
    for row in CATALOGUE.values():
        if name == row.name or (repo == row.repo and (revision in ("", row.revision) or not row.mirror)):
            return _from_row(row, revision)
    if not _HUB_ID.fullmatch(name) or ".." in name or "--" in name:
        raise BadChoice(
            f"{name[:80]!r} is no model's name. Give a name from the catalogue, a baseline, "
            "a Hugging Face id such as BAAI/bge-small-en-v1.5, or a folder that starts with / or ~."
        )
    return ModelSpec(name, HubWeights(repo, revision))


def _from_row(row: Row, revision: str = "") -> ModelSpec:
    if row.refused:
        raise ModelUnavailable(f"{row.name} is not run here: {row.refused}")
    weights = HubWeights(row.mirror) if row.mirror else HubWeights(row.repo, revision or row.revision)
    named = row.name if revision in ("", row.revision) else f"{row.repo}@{revision}"
    return ModelSpec(named, weights, dtype=row.dtype, loading=row.loading)


def _weights_reference(spec: ModelSpec) -> str:
    match spec.weights:
        case BaselineWeights(name):
            return name
        case RemoteWeights(endpoint):
            return ENDPOINT + endpoint
        case LocalWeights(path):
            return path
        case HubWeights(repo, revision):
            row = facts_of(spec)
            if row and (repo == row.mirror or revision in ("", row.revision)):
                return row.name
            return f"{repo}@{revision}" if revision else repo


def _split(reference: str) -> tuple[str, dict[str, str]]:
    """Return the name and its options.

    >>> _split('all-MiniLM-L6-v2 prompt="query: " dim=64')
    ('all-MiniLM-L6-v2', {'prompt': '"query: "', 'dim': '64'})
    """
    options: dict[str, str] = {}
    while found := _OPTION.search(reference):
        if found[1] in options:
            raise BadChoice(f"The option {found[1]} stands twice in {reference[:80]!r}.")
        options = {found[1]: found[2]} | options
        reference = reference[: found.start()]
    return reference, options


def _with_options(spec: ModelSpec, options: Mapping[str, str]) -> ModelSpec:
    if spec.is_baseline:
        raise BadChoice(f"{spec.name} is a baseline and takes no options such as {next(iter(options))}.")
    if isinstance(spec.weights, RemoteWeights) and (wrong := [name for name in options if name not in _WITHOUT_FOLDER]):
        raise BadChoice(f"An endpoint takes {', '.join(_WITHOUT_FOLDER)}; {wrong[0]} is decided by its server.")
    for name, value in options.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            raise BadChoice(f"{name} is one of {', '.join(_CHOICES[name])}, got {value[:40]!r}.")
    changes: dict[str, Any] = {name: options[name] for name in ("precision", "dtype") if name in options}
    recipe: dict[str, Any] = {f"add_{name}": True for name in ("bos", "eos") if name in options}
    if "pooling" in options:
        recipe["pooling"] = options["pooling"]
    if "attention" in options:
        recipe["causal"] = options["attention"] == "causal"
    if "weights" in options:
        recipe["random_seed"] = _seed(options["weights"])
    facts = facts_of(spec)
    if "dim" in options:
        changes["dimensions"] = _whole("dim", options["dim"], facts.dimension if facts else 100_000)
    if "max_tokens" in options:
        changes["max_tokens"] = _whole("max_tokens", options["max_tokens"], (facts and facts.max_tokens) or 1_000_000)
    if "prompt" in options:
        changes["prompt"] = _prompt(options["prompt"], spec)
    return replace(spec, **changes, loading=replace(spec.loading, **recipe))


def _whole(name: str, value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12 or not 1 <= int(value) <= most:
        raise BadChoice(f"{name} is a whole number from 1 to {most:,}, got {value[:40]!r}.")
    return int(value)


def _seed(value: str) -> int:
    found = _RANDOM.fullmatch(value)
    if found is None:
        raise BadChoice(f"weights is random or random: and a seed of at most 9 digits, got {value[:40]!r}.")
    return int(found[1] or 0)


def _prompt(value: str, spec: ModelSpec) -> str:
    own = prompts_of(spec)
    if value in own:
        return own[value]
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            told = 'a backslash stands before n, t, " or another backslash.'
            raise BadChoice(f"The prompt {value[:40]} cannot be read: {told}") from None
    known = f"its own are {', '.join(own)}; any other" if own else "any"
    told = f'{known} text stands in quotes, prompt="text: ".'
    raise BadChoice(f"{spec.name} has no prompt called {value[:40]!r}: {told}")


def _written(spec: ModelSpec) -> str:
    """Return the options in which ``spec`` differs from its plain model, as a reference writes them."""
    facts = facts_of(spec)
    usual_dtype, usual = (facts.dtype, facts.loading) if facts else ("float32", Loading())
    recipe, own = spec.loading, {text: name for name, text in prompts_of(spec).items()}
    values = {
        "prompt": spec.prompt and (own.get(spec.prompt) or json.dumps(spec.prompt, ensure_ascii=False)),
        "dim": spec.dimensions, "precision": spec.precision if spec.precision != "float32" else "",
        "max_tokens": spec.max_tokens,
        "attention": "" if recipe.causal == usual.causal else "causal" if recipe.causal else "bidirectional",
        "pooling": "" if recipe.pooling == usual.pooling else recipe.pooling,
        "bos": "yes" if recipe.add_bos and not usual.add_bos else "",
        "eos": "yes" if recipe.add_eos and not usual.add_eos else "",
        "dtype": spec.dtype if spec.dtype != usual_dtype else "",
        "weights": "" if (seed := recipe.random_seed) is None else f"random:{seed}" if seed else "random",
    }  # fmt: skip
    return "".join(f" {name}={values[name]}" for name in OPTIONS if values[name])
