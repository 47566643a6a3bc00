"""How a model's own settings for every encoding enter what is meant by its name, and how they are told."""

from __future__ import annotations

from dataclasses import replace

from numembed.models.catalogue.names import facts_of
from numembed.models.files.settings import OwnSettings
from numembed.models.spec import ModelSpec, origin_of

_MOST_PROMPT_CHARS = 120  # shown of a prompt


def settled(spec: ModelSpec, own: OwnSettings) -> ModelSpec:
    """Return ``spec`` with the prompt that its folder asks for, unless one was requested or switched off.

    What was switched off and is not there is forgotten, so that equal vectors have one key. A catalogue model keeps
    the prompt of its recipe, which is none.
    """
    given = "" if facts_of(spec) else own.prompt
    unprompted = spec.loading.unprompted and bool(given)
    full_width = spec.loading.full_width and own.keep is not None
    recipe = replace(spec.loading, unprompted=unprompted, full_width=full_width)
    return replace(spec, prompt=spec.prompt or ("" if unprompted else given), loading=recipe)


def is_settled(spec: ModelSpec) -> bool:
    """Return False where the settings of a hub commit may still add a prompt to ``spec``."""
    may_add = origin_of(spec.weights).fetched and spec.weights.change != "merge"  # a merge is made of resolved parts
    decided = bool(spec.prompt or spec.loading.unprompted or facts_of(spec))
    return spec.resolved and (decided or not may_add)


def told_settings(spec: ModelSpec, own: OwnSettings, width: int | None = None) -> list[str]:
    """Return in plain sentences what its makers have set, and what ``spec`` does about it; [] where they set nothing.

    >>> from numembed.models.spec import LocalWeights
    >>> told_settings(ModelSpec("m", LocalWeights("/m")), OwnSettings(keep=256), 768)
    ['Its makers keep the first 256 of 768 dimensions; add dim=all to its name to keep all.']
    """
    sentences = []
    if own.prompt:
        shown = own.prompt if len(own.prompt) <= _MOST_PROMPT_CHARS else own.prompt[:_MOST_PROMPT_CHARS] + "…"
        sentences.append(f"Its makers put “{shown}” before every text; {_about_prompt(spec, own)}.")
    if kept := own.kept_of(width):
        of = f" of {width:,}" if width else ""
        here = "all are kept here, as requested" if spec.loading.full_width else "add dim=all to its name to keep all"
        sentences.append(f"Its makers keep the first {kept:,}{of} dimensions; {here}.")
    return sentences


def _about_prompt(spec: ModelSpec, own: OwnSettings) -> str:
    if facts_of(spec) and not spec.prompt:
        return "the catalogue's recipe leaves it out, as the paper does"
    if facts_of(spec) and spec.prompt == own.prompt:
        return "so it is here, as requested"
    if spec.loading.unprompted:
        return "it is left out here, as requested"
    if spec.prompt not in ("", own.prompt):
        return "another prompt was requested here"
    return "add prompt=none to its name to leave it out"
