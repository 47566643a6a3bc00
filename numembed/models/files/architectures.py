"""What transformers knows of each architecture: how it names itself, what of it a vector passes through, its positions.

The facts lie in ``architectures.json``. ``python -m numembed.models.loading.architectures`` derives them from the
installed transformers, and a test compares them with it; so nothing here needs torch. A model's files, the page, the
check, adapters and merges all ask here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_LIMIT = 1_000_000  # tokens; tokenizers write 1e30 where they mean that there is none
FACTS = Path(__file__).with_name("architectures.json")
_SAME = {"llama_bidirec": "llama"}  # types that the loader adds to transformers' own
_COMPUTED = ("position_ids", "rotary_emb", "inv_freq")  # tables that the library computes, which older files hold


@dataclass(frozen=True)
class Architecture:
    """Facts of one ``model_type``; the default, of a type that is not known, takes every tensor for one of the model's.

    "The base" is the class without heads, whose last layer gives the token vectors.
    """

    prefix: str = ""  # of the base's tensors in files that hold a head as well
    parts: tuple[str, ...] = ()  # the first names of the base's tensors
    heads: tuple[str, ...] = ()  # the first names of what its classes with a head have besides
    unused: tuple[str, ...] = ()  # parts that a token vector does not pass through: poolers
    left_out: tuple[str, ...] = ()  # regular expressions of names that its class passes over in files
    turned: tuple[str, ...] = ()  # last names of layers whose weights lie as (in, out): GPT-2's
    limit: str = ""  # the entry of config.json for the most positions; rotary ones may be exceeded
    default_limit: int | None = None  # where config.json leaves it out
    table: str = ""  # the tensor with one row a position; "" where that is computed or there is none
    optional_table: bool = False  # whether files may hold it although its settings have none
    has_table: bool = False  # whether there is no position beyond the limit
    after_padding: bool = False  # whether positions begin behind the padding token's number
    padding: int = 0  # that number where config.json leaves it out
    own_padding: bool = False  # whether it is that number whatever config.json says

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """Return what the base calls its tensors among those of its files: stored name to own name, without heads.

        >>> Architecture("bert", ("encoder", "pooler"), ("cls",)).own_names(["bert.encoder.bias", "cls.bias"])
        {'bert.encoder.bias': 'encoder.bias'}
        """
        names, before = list(names), f"{self.prefix}."
        prefixed = self.prefix and any(
            name.startswith(before) and _first(name.removeprefix(before)) in self.parts for name in names
        )
        if prefixed:
            return {name: name.removeprefix(before) for name in names if name.startswith(before)}
        return {name: name for name in names if not self._is_head(name)}

    def own_name(self, name: str) -> str:
        """Return what the base calls a tensor or module of which only the name is known.

        >>> Architecture("bert", ("encoder",)).own_name("bert.encoder.layer.0"), Architecture().own_name("a.b")
        ('encoder.layer.0', 'a.b')
        """
        shorter = name.removeprefix(f"{self.prefix}.")
        return shorter if _first(shorter) in self.parts else name

    def passes(self, own_name: str) -> bool:
        """Return whether a token vector passes through a tensor of the base: not where it is a pooler or computed."""
        computed = any(piece in _COMPUTED for piece in own_name.split("."))
        left_out = any(re.search(pattern, own_name) for pattern in self.left_out)
        return not computed and not left_out and _first(own_name) not in self.unused and not self._is_head(own_name)

    def most_tokens(self, config: Mapping[str, Any], own_names: Collection[str]) -> int | None:
        """Return how many tokens the base has positions for; None where nothing ends them.

        ``own_names`` are those of its tensors: some architectures have a table of positions only by their settings.
        """
        stated = self.stated_limit(config)
        if stated is None or not self.has_table or (self.table and self.table not in own_names):
            return None
        padding = None if self.own_padding else config.get("pad_token_id")
        return stated - (padding if type(padding) is int else self.padding) - 1 if self.after_padding else stated

    def stated_limit(self, config: Mapping[str, Any]) -> int | None:
        """Return the most positions that config.json states, be there a table or not; None where it states none."""
        value = config.get(self.limit, self.default_limit) if self.limit else config.get("max_position_embeddings")
        return value if type(value) is int and value > 0 else None

    def _is_head(self, name: str) -> bool:
        return _first(name) in self.heads and _first(name) not in self.parts


UNKNOWN = Architecture()


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the facts of a model with this config.json; :data:`UNKNOWN` for a type that is not in the file.

    >>> architecture_of({"model_type": "xlm-roberta"}).prefix
    'roberta'
    """
    kind = str(config.get("model_type"))
    return _facts().get(_SAME.get(kind, kind), UNKNOWN)


@functools.cache
def _facts() -> dict[str, Architecture]:
    plain = json.loads(FACTS.read_text(encoding="utf-8"))
    return {name: from_facts(facts) for name, facts in plain.items()}


def from_facts(facts: Mapping[str, Any]) -> Architecture:
    """Return an architecture of its entry in the file."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
    return Architecture(**given)


def _first(name: str) -> str:
    return name.partition(".")[0]
