"""The parts of the Sequences page: what is chosen, its strings, and the list of all families."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.wording import plural
from numembed.models.catalogue.names import BUNDLED, reference_of
from numembed.models.encoders.tokens import count_tokens
from numembed.models.spec import ModelSpec
from numembed.sequences.families.family import FAMILIES, family
from numembed.studies.study import Study
from ui.shared.cache import cached
from ui.shared.frame import download, settings
from ui.shared.large import LARGE, shown_of
from ui.shared.study_choice import chosen_study, family_picker, seed_choice, sequence_details
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_MOST_ROWS = 200
_STRINGS = (
    Column("Family"),
    Column("Window", "Number of the window within the family, from 1.", "number"),
    Column("First term", "Index of its first term in the family, from 1.", "number"),
    Column("Characters", kind="number"),
    Column("Tokens", "As all-MiniLM-L6-v2 reads it.", "number"),
    Column("What the models read", kind="line"),
)
_LIST = (
    Column("Family"),
    Column("OEIS", "Its number in the On-Line Encyclopedia of Integer Sequences."),
    Column("First terms", kind="line"),
    Column("What it is", kind="wide"),
    Column("Name", "For the command line and for links."),
)


def choose_sequences() -> Study | None:
    """Draw the choice of sequences, shared with Compare; return it, or None after saying what is wrong."""
    seed_choice("sequences")
    with st.container(border=True, key="choice"):
        family_picker()
        sequence_details()
    try:
        return chosen_study()
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return None


def shown_beginning(study: Study | None) -> Study | None:
    """Return what this page shows of ``study`` and say where that is not all of it; None where it is nothing."""
    shown = shown_of(study) if study is not None else None
    if study is not None and shown is None:
        st.info(LARGE, icon=":material/info:")
    elif study is not None and shown is not None and shown != study:
        beginning = plural(shown.per_family, "sequence")
        equal = "" if shown.matched == study.matched else " before anything is made equal"
        st.info(f"{LARGE} Shown here are the first {beginning} of each family{equal}.", icon=":material/info:")
    return shown


def strings(study: Study) -> None:
    """Draw the very strings, with characters and tokens, and the way to Compare."""
    sequences, rows = study.sequences, []
    shown = sequences.texts[:_MOST_ROWS]
    for i, (text, tokens) in enumerate(zip(shown, token_counts(study), strict=True)):
        item = sequences.items[i]
        rows.append(
            [
                Cell(family(item.family).title),
                number(int(sequences.windows[i]) + 1 + study.first_window, 0),
                number(item.offset + 1, 0),
                number(len(text), 0),
                number(tokens, 0),
                Cell(text if len(text) <= 120 else text[:119] + "…"),
            ]
        )
    table(_STRINGS, rows, key="strings", label="The strings that the models read", height=420)
    if len(sequences) > len(shown):
        st.caption(f"The first {len(shown):,} of {len(sequences):,} are listed.")
    with st.container(horizontal=True):
        if st.button("Compare models on these", type="primary", key="compare", icon=":material/scatter_plot:"):
            st.switch_page("pages/compare.py")
        download("All strings (text)", lambda: _lines(sequences.texts), "numembed-strings.txt", quiet=False)


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(text.replace("\n", " ") for text in texts)


@cached(entries=64)
def token_counts(study: Study, most: int = _MOST_ROWS) -> list[int]:
    """Return the tokens of the first ``most`` texts, as the bundled model reads them."""
    bundled = ModelSpec("", BUNDLED)
    counted = count_tokens(bundled, study.sequences.texts[:most], settings())
    assert counted is not None, reference_of(bundled)
    return list(counted.counts)


def family_list() -> None:
    """Draw all families with their numbers in the encyclopedia."""
    table(_LIST, [list(row) for row in _families()], key="families_list", label="All families", height=520)


@st.cache_data(show_spinner="Computing the first terms …")
def _families() -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for entry in FAMILIES:
        chosen = family(entry.name)
        terms = ", ".join(str(term) for term in chosen.terms(0, 10))
        summary = chosen.summary.split(":")[0]
        rows.append(tuple(map(Cell, (chosen.title, chosen.oeis or "–", terms, summary, entry.name))))
    return tuple(rows)
