"""From the name that a person gives to the model that is meant, with its loading recipe, and back.

A name may be followed by options: ``Qwen3-Embedding-0.6B dim=256 prompt=query``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.settings import LIMITS
from numembed.core.texts import whole_text
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.entries import Row, read_rows
from numembed.models.catalogue.options import (
    ALL,
    CHOICES,
    DTYPES,
    NONE,
    OPTIONS,
    WITHOUT_FOLDER,
    adapter_named,
    adapter_written,
    check_characters,
    folder_named,
    hint_for,
    is_folder,
    is_hub_id,
    seed_named,
    split,
    unquoted,
    whole,
)
from numembed.models.spec import (
    BaselineWeights,
    FolderWeights,
    HubWeights,
    Loading,
    LocalWeights,
    LoraWeights,
    MergedWeights,
    ModelSpec,
    PackagedWeights,
    RemoteWeights,
    ScratchWeights,
    Weights,
    origin_of,
)

CATALOGUE: Mapping[str, Row] = read_rows()
_BY_REPO = {repo.casefold(): row for row in CATALOGUE.values() for repo in (row.repo, row.mirror) if repo}
_BY_NAME = {name.casefold(): row for row in CATALOGUE.values() for name in (row.name, row.paper_name) if name}
BUNDLED = HubWeights(CATALOGUE["all-MiniLM-L6-v2"].repo, CATALOGUE["all-MiniLM-L6-v2"].revision)
"""The one model that comes with the installation; its files lie in a package, its identity is the hub's."""

ENDPOINT = "endpoint:"


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
    check_characters(reference)
    name, options = split(reference)
    if not options or unquoted(name) == name:  # quotes may stand around everything, options and all
        name, options = split(unquoted(reference))
    name = unquoted(name)
    check_characters(name)  # an address may have held some
    plain = _plain(name)
    if not options:
        return plain
    spec = _with_options(plain, options)
    return replace(spec, name=plain.name + _written(spec, short=True))


def reference_of(spec: ModelSpec) -> str:
    """Return the shortest text from which :func:`model` makes ``spec`` again (its weights unpinned).

    Raises BadChoice for a merge in memory, which no name describes.
    """
    return _weights_reference(spec) + _written(spec)


def random_init(spec: ModelSpec) -> ModelSpec | None:
    """Return ``spec`` with random weights, the same architecture before any training; None where there is none.

    >>> random_init(model("all-MiniLM-L6-v2")).name
    'all-MiniLM-L6-v2 weights=random'

    For an adapted or merged model it is its base's. None for baselines, endpoints, what has random weights already
    and models that need program code of their own.
    """
    recipe, origin = spec.loading, origin_of(spec.weights)
    if not isinstance(origin, FolderWeights) or recipe.random_seed is not None or recipe.remote_code:
        return None
    untrained = replace(spec, weights=origin, loading=replace(recipe, random_seed=0))
    merged = isinstance(spec.weights, MergedWeights)
    own = _plain(_weights_reference(untrained)).name if merged else split(spec.name)[0]
    return replace(untrained, name=own + _written(untrained))


def facts_of(spec: ModelSpec) -> Row | None:
    """Return the catalogue's facts about the weights of ``spec``, or its base's; None where that is no row."""
    match origin_of(spec.weights):
        case HubWeights(repo):
            return _BY_REPO.get(repo.casefold())
        case ScratchWeights(name) | PackagedWeights(name):
            return CATALOGUE.get(name)
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
    if is_folder(name):
        folder = folder_named(name)
        return ModelSpec(folder.name or str(folder), LocalWeights(str(folder)))
    if row := _BY_NAME.get(name.casefold()):
        return _from_row(row)
    repo, _, revision = name.partition("@")
    row = _BY_REPO.get(repo.casefold())  # the hub does not tell ids by their case, and neither must a recipe
    if row and repo.casefold() == row.repo.casefold() and (revision in ("", row.revision) or not row.mirror):
        return _from_row(row, revision)
    if not is_hub_id(name):
        raise BadChoice(f"{name[:80]!r} is not a model name. {hint_for(name)}")
    return ModelSpec(name, HubWeights(repo, revision))


def _from_row(row: Row, revision: str = "") -> ModelSpec:
    if row.refused:
        raise ModelUnavailable(f"{row.name} is not run here: {row.refused}")
    if row.family == "scratch":
        return ModelSpec(row.name, ScratchWeights(row.name), dtype=row.dtype, loading=row.loading)
    if row.package:
        packaged = PackagedWeights(row.name, row.package.digest)
        return ModelSpec(row.name, packaged, dtype=row.dtype, loading=row.loading)
    weights = HubWeights(row.mirror) if row.mirror else HubWeights(row.repo, revision or row.revision)
    named = row.name if revision in ("", row.revision) else f"{row.repo}@{revision}"
    return ModelSpec(named, weights, dtype=row.dtype, loading=row.loading)


def _weights_reference(spec: ModelSpec) -> str:
    match origin_of(spec.weights) if isinstance(spec.weights, LoraWeights) else spec.weights:
        case BaselineWeights(name):
            return name
        case RemoteWeights(endpoint):
            return ENDPOINT + endpoint
        case LocalWeights(path):
            return path
        case ScratchWeights(name) | PackagedWeights(name):
            return name
        case HubWeights(repo, revision):
            row = facts_of(spec)
            if row and (repo == row.mirror or revision in ("", row.revision)):
                return row.name
            return f"{repo}@{revision}" if revision else repo
        case LoraWeights() | MergedWeights():
            raise BadChoice(
                f"{spec.name[:80]} is a merge in memory, which a study or a link cannot name. Save it as a folder and "
                "use that."
            )


def _with_options(spec: ModelSpec, options: Mapping[str, str]) -> ModelSpec:
    if spec.is_baseline:
        raise BadChoice(f"{spec.name} is a baseline and takes no options such as {next(iter(options))}.")
    if spec.weights.runner == "endpoint" and (wrong := [name for name in options if name not in WITHOUT_FOLDER]):
        raise BadChoice(f"An endpoint takes {', '.join(WITHOUT_FOLDER)}; {wrong[0]} is decided by its server.")
    for name, value in options.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise BadChoice(f"{name} is one of {', '.join(CHOICES[name])}, got {value[:40]!r}.")
    facts = facts_of(spec)
    if facts and options.get("dtype") in facts.unfit_dtypes:
        fit = ", ".join(one for one in DTYPES if one not in facts.unfit_dtypes)
        raise BadChoice(f"{facts.name} does not fit into {options['dtype']}: its vectors collapse. Take {fit}.")
    changes: dict[str, Any] = {name: options[name] for name in ("precision", "dtype") if name in options}
    recipe: dict[str, Any] = {f"add_{name}": True for name in ("bos", "eos") if name in options}
    if "pooling" in options:
        recipe["pooling"] = options["pooling"]
    if "attention" in options:
        recipe["causal"] = options["attention"] == "causal"
    if "weights" in options:
        recipe["random_seed"] = seed_named(options["weights"])
    if "adapter" in options or "scale" in options:
        changes["weights"] = _adapted(spec.weights, options)
    if options.get("dim") == ALL:
        recipe["full_width"] = spec.weights.runner == "files"
    elif "dim" in options:
        changes["dimensions"] = whole("dim", options["dim"], facts.dimension if facts else 100_000)
    if "max_tokens" in options:
        changes["max_tokens"] = whole("max_tokens", options["max_tokens"], (facts and facts.max_tokens) or 1_000_000)
    if "prompt" in options:
        changes["prompt"] = _prompt(options["prompt"], spec)
        recipe["unprompted"] = not changes["prompt"] and facts is None and spec.weights.runner == "files"
    return replace(spec, **changes, loading=replace(spec.loading, **recipe))


def _adapted(base: Weights, options: Mapping[str, str]) -> LoraWeights:
    if "adapter" not in options:
        raise BadChoice("scale sets how strongly an adapter acts: also name the adapter, adapter=/its/folder.")
    assert isinstance(base, FolderWeights)
    try:
        scale = float(options.get("scale", 1))
    except ValueError:
        raise BadChoice(f"An adapter's scale is a number from 0 to 2, got {options['scale'][:40]!r}.") from None
    return LoraWeights(base, adapter_named(options["adapter"]), scale)


def _prompt(value: str, spec: ModelSpec) -> str:
    own = prompts_of(spec)
    if value in own:
        return own[value]
    if value == NONE:
        return ""
    if value.startswith('"'):
        try:
            return whole_text(f"The prompt {value[:40]}", str(json.loads(value)))
        except ValueError:
            sentence = 'a backslash must be followed by n, t, " or another backslash.'
            raise BadChoice(f"The prompt {value[:40]} cannot be read: {sentence}") from None
    known = f"its own are {', '.join(own)}; any other" if own else "any"
    sentence = f'{known} text is written in quotes, prompt="text: "; prompt=none is none.'
    raise BadChoice(f"{spec.name} has no prompt called {value[:40]!r}: {sentence}")


def _written(spec: ModelSpec, *, short: bool = False) -> str:
    """Return the options in which ``spec`` differs from its plain model, as a reference or (``short``) a name does."""
    facts = facts_of(spec)
    usual_dtype, usual = (facts.dtype, facts.loading) if facts else ("float32", Loading())
    recipe, own = spec.loading, {text: name for name, text in prompts_of(spec).items()}
    scale = spec.weights.scale if isinstance(spec.weights, LoraWeights) else 1.0
    values = {
        "adapter": adapter_written(spec.weights.adapter, short) if isinstance(spec.weights, LoraWeights) else "",
        "scale": "" if scale == 1 else f"{scale:g}" if float(f"{scale:g}") == scale else repr(scale),
        "prompt": _prompt_written(spec, own),
        "dim": spec.dimensions or (ALL if recipe.full_width else ""),
        "precision": spec.precision if spec.precision != "float32" else "",
        "max_tokens": spec.max_tokens,
        "attention": "" if recipe.causal == usual.causal else "causal" if recipe.causal else "bidirectional",
        "pooling": "" if recipe.pooling == usual.pooling else recipe.pooling,
        "bos": "yes" if recipe.add_bos and not usual.add_bos else "",
        "eos": "yes" if recipe.add_eos and not usual.add_eos else "",
        "dtype": spec.dtype if spec.dtype != usual_dtype else "",
        "weights": "" if (seed := recipe.random_seed) is None else f"random:{seed}" if seed else "random",
    }
    return "".join(f" {name}={values[name]}" for name in OPTIONS if values[name])


def _prompt_written(spec: ModelSpec, own: Mapping[str, str]) -> str:
    if not spec.prompt:
        return NONE if spec.loading.unprompted else ""
    text = json.dumps(spec.prompt, ensure_ascii=False)
    return own.get(spec.prompt) or re.sub("[\x7f-\x9f]", lambda one: f"\\u{ord(one[0]):04x}", text)  # a name has none
