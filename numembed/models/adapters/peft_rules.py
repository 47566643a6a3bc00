"""PEFT's own rules, without it: which modules an adapter's settings name, and how strong it is."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

_ALL_LINEAR = "all-linear"
_ANY_LAYER = r".*?\.[^.]*\.(?P<idx>\d+)\."


def names_modules(config: Mapping[str, Any]) -> bool:
    """Return whether the settings say by name which modules are adapted."""
    targets = config.get("target_modules")
    return bool(targets) and not (isinstance(targets, str) and targets.lower() == _ALL_LINEAR)


def is_target(config: Mapping[str, Any], module: str) -> bool:
    """Return whether the settings name ``module``: by the ends of names or a whole expression, without exceptions.

    >>> is_target({"target_modules": ["query"], "layers_to_transform": [1]}, "encoder.layer.1.self.query")
    True
    >>> is_target({"target_modules": r".*\\.query", "exclude_modules": ["query"]}, "encoder.layer.1.self.query")
    False
    """
    excluded, targets = config.get("exclude_modules"), config["target_modules"]
    if (excluded and _named(excluded, module)) or is_retrained(config, module):
        return False
    if isinstance(targets, str) or module in targets:
        return _named(targets, module)
    return _named(targets, module) and _in_layers(config, module)


def is_retrained(config: Mapping[str, Any], name: str) -> bool:
    """Return whether a module or tensor belongs to a part that the adapter holds as a whole."""
    return any(re.match(rf"(^|.*\.){part}($|\..*)", name) for part in config.get("modules_to_save") or ())


def strength(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return alpha / r, or alpha / √r where the settings say so; ``alpha_pattern`` names exceptions."""
    patterns = config.get("alpha_pattern") or {}
    match = next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
    alpha = float(config.get("lora_alpha", 8) if match is None else patterns[match])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _named(given: str | Collection[str], module: str) -> bool:
    if isinstance(given, str):
        return re.fullmatch(given, module) is not None
    return any(module == one or module.endswith(f".{one}") for one in given)


def _in_layers(config: Mapping[str, Any], module: str) -> bool:
    """Return whether a module lies in a layer that is adapted: by the first number in its name."""
    chosen, patterns = config.get("layers_to_transform"), config.get("layers_pattern")
    if chosen is None or chosen == []:
        return True
    named = [patterns] if isinstance(patterns, str) and patterns else patterns or ()
    ways = [rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in named] or [_ANY_LAYER]
    match = next((found for way in ways if (found := re.match(way, module))), None)
    return match is not None and int(match["idx"]) in (chosen if isinstance(chosen, list) else [chosen])
