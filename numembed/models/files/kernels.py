"""Settings of a folder with which a library would fetch program code: kernels of the model hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

_KINDS = ("attn_implementation", "experts_implementation")
OWN = ("eager", "sdpa", "flex_attention", "paged|eager", "paged|sdpa", "grouped_mm", "batched_mm")
FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4")
_SWITCHES = ("use_kernels", "allow_all_kernels", "kernel_config")


def foreign_kernel(config: Any) -> str:
    """Return the first setting in a config, nested or not, that names program code elsewhere; "" where none does.

    >>> foreign_kernel({"text_config": {"_attn_implementation": "owner/kernel"}}), foreign_kernel({"a": ["sdpa"]})
    ("_attn_implementation='owner/kernel'", '')
    """
    return next(_foreign(config), "")


def _foreign(config: Any) -> Iterator[str]:
    waiting: list[tuple[str, Any]] = [("", config)]  # a list of what is to be looked at: it may be nested deeply
    while waiting:
        of, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(of, one) for one in value]
        elif isinstance(value, dict):
            waiting += [(of or (str(name) if _names_code(name) else ""), one) for name, one in value.items()]
        elif (of in _SWITCHES and value) or (of and of not in _SWITCHES and value is not None and not _is_own(value)):
            yield f"{of[:40]}={value!r:.60}"


def _names_code(name: Any) -> bool:
    return name in _SWITCHES or any(kind in str(name) for kind in _KINDS)


def _is_own(text: Any) -> bool:
    """Return whether the library has it; without its package it fetches the kernel of flash attention instead."""
    may_fetch = importlib.util.find_spec("kernels") and not importlib.util.find_spec("flash_attn")
    return text in OWN or (str(text).removeprefix("paged|") in FLASH and not may_fetch)
