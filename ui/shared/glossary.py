"""The words that pages use, with the field's standard terms: read from glossary.toml beside this file."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import streamlit as st

from ui.shared.table import Cell, Column, table

_TITLES = {"plain": "Word", "term": "Standard term", "meaning": "Meaning"}


@functools.cache
def words() -> tuple[dict[str, str], ...]:
    """Return the entries in the order of the file: plain word, term, meaning, and identifier in the code."""
    file = Path(__file__).with_name("glossary.toml")
    return tuple(tomllib.loads(file.read_text(encoding="utf-8"))["word"])


def words_used() -> None:
    """Draw the table of words, folded away."""
    with st.expander("Words used here, and the standard terms", key="words"):
        columns = [Column(title, kind="wide" if name == "meaning" else "text") for name, title in _TITLES.items()]
        rows = [[Cell(word[name], word[name]) for name in _TITLES] for word in words()]
        table(columns, rows, key="glossary", label="Words and standard terms")
