"""What a run will compute, said before it is started."""

from __future__ import annotations

import streamlit as st

from numembed.models.tokens import TokenCount, count_tokens
from numembed.study import Study, pinned_before
from ui.choice import cached_study
from ui.frame import result_store, vector_store
from ui.table import Cell, Column, number, table
from ui.words import md_text, plural

_COUNTED_CHARS = 300_000  # tokens of longer sets are counted on the first sequences only
_COLUMNS = (
    Column("Model"),
    Column("In the store", "Texts whose vectors are there already and need no computing.", "number"),
    Column("Tokens", "The pieces that a model reads a text in: the shortest and the longest text.", "number"),
    Column("Reads at most", "Tokens; what is longer is cut off.", "number"),
    Column("Cut off", "Texts that are longer than the model reads.", "number"),
)


def preview(study: Study) -> None:
    """Say how much will be computed; the numbers of each model are folded away."""
    sequences, rows = study.sequences, []
    with vector_store() as vectors, result_store() as results:
        for spec in study.models:
            if spec.is_baseline:
                rows.append([Cell(spec.name), Cell("not needed"), Cell("–"), Cell("–"), Cell("–")])
                continue
            pinned = pinned_before(spec, results)
            stored = vectors.count(pinned.key, sequences.texts) if pinned else 0
            share = Cell(f"{stored:,} of {len(set(sequences.texts)):,}", stored)
            rows.append([Cell(spec.name), share, *_token_cells(_tokens(study.to_json(), spec.name))])
    texts, families = plural(len(sequences), "sequence"), plural(len(sequences.families), "family", "families")
    models = plural(len(study.models), "model or baseline", "models and baselines")
    with st.popover(f"{texts} of {families} · {models}", help="What will be computed", type="tertiary"):
        table(_COLUMNS, rows, key="before", label="What will be computed for each model")


def warn(study: Study) -> None:
    """Say which models will not read the whole texts."""
    for spec in study.models:
        counted = None if spec.is_baseline else _tokens(study.to_json(), spec.name)
        if counted and counted.truncated:
            cut = plural(counted.truncated, "text is", "texts are")
            st.warning(
                md_text(f"{spec.name} reads at most {counted.max_tokens:,} tokens: {cut} longer and will be cut off."),
                icon=":material/content_cut:",
            )


def _token_cells(counted: TokenCount | None) -> list[Cell]:
    if counted is None:
        return [Cell("unknown"), Cell("unknown"), Cell("unknown")]
    low, high = min(counted.counts), max(counted.counts)
    read = number(counted.max_tokens, 0) if counted.max_tokens else Cell("no limit")
    return [Cell(f"{low:,} – {high:,}", high), read, number(counted.truncated, 0)]


@st.cache_data(show_spinner=False, max_entries=256)
def _tokens(study_json: str, name: str) -> TokenCount | None:
    study = cached_study(study_json)
    spec = next(spec for spec in study.models if spec.name == name)
    texts: list[str] = []
    chars = 0
    for text in study.sequences.texts:
        chars += len(text)
        if texts and chars > _COUNTED_CHARS:
            break
        texts.append(text)
    return count_tokens(spec, texts)
