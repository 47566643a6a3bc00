"""The catalogue on the Models page: search, chips, table, and the way to Compare."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from numembed.core.wording import about, size
from numembed.models.catalogue.entries import FAMILIES_OF_MODELS, Row
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.models.encoders.interface import ModelCheck
from numembed.models.resolve import known_folder
from numembed.models.spec import HubWeights, ModelSpec
from numembed.paper.published import published
from numembed.studies.cost import Cost, cost_of
from numembed.studies.stored import previously_pinned
from ui.shared.frame import callback, result_store, settings
from ui.shared.table import Cell, Column, number, selected_rows, table

KINDS = {  # the chip, and how a sentence about such a model begins
    "encoder": ("Encoder", "An encoder, made for this task, which reads the whole text at once,"),
    "lora": ("LoRA", "A large language model, trained for this task through a small add-on (LoRA),"),
    "souping": ("Souping", "The average of several trained versions of one model (souping),"),
    "slerp": ("SLERP", "Several trained versions of one model, interpolated along an arc (SLERP),"),
    "llm": ("Large language model", "A large language model, trained further for this task,"),
    "static": ("Static", "A table with one vector for each token, without attention (static),"),
    "scratch": ("Made here", "A small model of this program, trained from scratch,"),
}
assert tuple(KINDS) == FAMILIES_OF_MODELS

_SIZES = {"small": "under 100 M", "medium": "100 M to 1 B", "large": "above 1 B"}
_LICENCES = {"open": "Apache-2.0 or MIT", "other": "with conditions"}
_ONLY = {"fits": "fits this machine", "here": "is here already", "paper": "in the paper"}
_KEYS = ("find_text", "find_kind", "find_size", "find_licence", "find_only")
_CHOSEN, _TURN = "model_chosen", "catalogue_turn"
_COLUMNS = (
    Column("Model"),
    Column("Kind", "How it was made: the paper's kinds, and static models.", "line"),
    Column("Parameters", "Number of parameters (weights); M stands for million, B for billion.", "number"),
    Column("Dimensions", "Dimension: how many numbers one vector has.", "number"),
    Column("Reads at most", "Longest input in tokens, the units that a model reads; more is truncated.", "number"),
    Column("Download", "What must be downloaded before the first run.", "number"),
    Column("Fits", "Whether this machine has enough memory for it."),
    Column("Licence"),
    Column("Check", "Whether the model, when loaded on this machine, behaved as its makers state.", "line"),
    Column("Paper's silhouette", "By the true families, from its Table 2; higher is better.", "number"),
)


@dataclass(frozen=True)
class Standing:
    """What this machine says of a catalogue model."""

    cost: Cost
    check: ModelCheck | None

    @property
    def is_here(self) -> bool:
        """True where nothing has to be fetched or trained."""
        return self.cost.download_bytes == 0 and not self.cost.training_seconds


def find_models() -> list[Row]:
    """Draw the search field and the chips; return the rows that they leave."""
    with st.container(horizontal=True, key="search"):
        st.text_input(
            "Search",
            key="find_text",
            type="search",
            placeholder="Name, owner or kind",
            icon=":material/search:",
            live=True,
            max_chars=100,
            persist_state="session",
        )
        _chips("Only what", "find_only", _ONLY)
    with st.container(horizontal=True, key="chips"):
        _chips(
            "Kind of model",
            "find_kind",
            {name: KINDS[name][0] for name in FAMILIES_OF_MODELS},
            "Encoders read the whole text at once. LoRA, souping and SLERP are ways of training and merging. Static "
            "models are tables. Those made here belong to this program.",
        )
        _chips("Parameters", "find_size", _SIZES, "Number of weights (parameters) of a model, in millions or billions.")
        _chips("Licence", "find_licence", _LICENCES, "Apache-2.0 and MIT allow nearly everything.")
    rows = [row for row in CATALOGUE.values() if all(keeps(row) for keeps in _filters())]
    with st.container(horizontal=True, vertical_alignment="center", key="counted"):
        st.caption(f"{len(rows)} of {len(CATALOGUE)} models", width="content")
        if any(st.session_state.get(key) for key in _KEYS):
            st.button("Clear the filters", key="clear", on_click=_clear, type="tertiary", icon=":material/close:")
    return rows


def catalogue_table(rows: Sequence[Row]) -> None:
    """Draw the rows; a selected one shows its card."""
    if not rows:
        st.info(
            "No model matches. Remove a filter, use fewer search words, or enter your own model below.",
            icon=":material/search_off:",
        )
        return
    names = [row.name for row in rows]
    chosen = st.session_state.get(_CHOSEN, "")
    known = standings()
    # rows are identified by number: another list is another table, or a click on the number chosen before would be lost
    key = f"catalogue-{st.session_state.get(_TURN, 0)}-{zlib.crc32(' '.join(names).encode())}"
    table(
        _COLUMNS,
        [_cells(row, known[row.name]) for row in rows],
        key=key,
        label="Models, one a row",
        selected=[names.index(chosen)] if chosen in names else [],
        on_select=lambda: _remember(key, names),
        muted=[i for i, row in enumerate(rows) if row.refused],
        height=400,
    )
    if chosen not in names:
        st.caption("Click a model to read its card. Click a heading to sort.")


def shown_model(rows: Sequence[Row]) -> Row | None:
    """Return the selected row where the filters leave it."""
    return next((row for row in rows if row.name == st.session_state.get(_CHOSEN)), None)


@callback
def show_model(name: str) -> None:
    """Select a row and take away the filters that may hide it."""
    _clear()
    st.session_state[_CHOSEN] = name
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1


def spec_of(row: Row) -> ModelSpec:
    """Return the row as a model, also where it is refused."""
    return ModelSpec(row.name, HubWeights(row.repo, row.revision)) if row.refused else model(row.name)


def standings() -> dict[str, Standing]:
    """Return what this machine says of every catalogue model, by name; at most ten seconds old."""
    packaged = tuple(row.name for row in CATALOGUE.values() if row.package and _lies_here(row))
    return _standings(str(settings().app_db), packaged)


def _lies_here(row: Row) -> bool:
    return known_folder(model(row.name).weights, settings()) is not None


def checked(check: ModelCheck | None) -> str:
    """Return the badge of a check."""
    return "not checked yet" if check is None else "✓ passed" if check.ok else "⚠ failed"


def parameters(millions: float) -> str:
    """Return a number of parameters.

    >>> parameters(22.7), parameters(7241.7)
    ('22.7 M', '7.2 B')
    """
    return f"{millions:.1f} M" if millions < 1000 else f"{millions / 1000:.1f} B"


def is_allowed(row: Row) -> bool:
    """Return True where a row needs no program code, or the operator has allowed what it needs."""
    if not row.loading.remote_code:
        return True
    allowed = settings().code.get(row.repo)
    return allowed is not None and f"{allowed.repo}@{allowed.revision}" == row.loading.remote_code


def _chips(label: str, key: str, titles: dict[str, str], text: str | None = None) -> None:
    st.pills(
        label,
        list(titles),
        selection_mode="multi",
        key=key,
        format_func=titles.__getitem__,
        help=text,
        wrap=True,
        persist_state="session",
    )


def _filters() -> list[Callable[[Row], bool]]:
    """Return what a row must be: one of the chosen chips in each group, and everything of the last group."""
    words = str(st.session_state.get("find_text") or "").casefold().split()
    kinds, sizes, licences, only = (st.session_state.get(key) or () for key in _KEYS[1:])
    known = standings() if only else {}
    return [
        lambda row: all(word in _searched(row) for word in words),
        lambda row: not kinds or row.family in kinds,
        lambda row: not sizes or _size_of(row) in sizes,
        lambda row: not licences or ("open" if row.licence in ("Apache-2.0", "MIT") else "other") in licences,
        lambda row: "fits" not in only or known[row.name].cost.fits is True,
        lambda row: "here" not in only or known[row.name].is_here,
        lambda row: "paper" not in only or published(row.paper_name) is not None,
    ]


def _searched(row: Row) -> str:
    return " ".join((row.name, row.repo, row.mirror, row.family, KINDS[row.family][0], row.paper_name)).casefold()


def _size_of(row: Row) -> str:
    return "small" if row.parameters_millions < 100 else "medium" if row.parameters_millions < 1000 else "large"


def _cells(row: Row, known: Standing) -> list[Cell]:
    scored = published(row.paper_name)
    by_request = Cell(f"{row.licence}, by request", note="Its owner decides who may download it.")
    return [
        Cell(row.name, row.name.casefold()),
        Cell(KINDS[row.family][0]),
        Cell(parameters(row.parameters_millions), row.parameters_millions),
        Cell(f"{row.dimension:,}", row.dimension),
        Cell("no limit", 1e12) if row.max_tokens is None else Cell(f"{row.max_tokens:,}", row.max_tokens),
        _download_cell(known.cost),
        Cell({None: "unknown", True: "yes", False: "no"}[known.cost.fits]),
        by_request if row.gated else Cell(row.licence or "unknown"),
        _check_cell(row, known.check),
        number(scored.silhouette_families if scored else None, note="The paper does not have this model."),
    ]


def _download_cell(cost: Cost) -> Cell:
    fetched = cost.download_bytes
    if cost.training_seconds:
        return Cell("trained here", 0, note=f"At first use, in {about(cost.training_seconds)}.")
    return Cell("unknown" if fetched is None else size(fetched) if fetched else "is here", fetched)


def _check_cell(row: Row, check: ModelCheck | None) -> Cell:
    if row.refused:
        return Cell("not run here", note=row.refused)
    if not is_allowed(row):
        return Cell("needs program code", note="Run only where the operator has allowed it.")
    return Cell(checked(check), note=check.sentence if check else "It is checked whenever it is loaded for a run.")


@st.cache_data(ttl=10, show_spinner=False)
def _standings(home: str, packaged: tuple[str, ...]) -> dict[str, Standing]:
    """Both are there for the cache's key alone: another installation, and one that got a model, stand otherwise."""
    standings = {}
    with result_store(own=True) as results:
        for row in CATALOGUE.values():
            spec = spec_of(row)
            pinned = previously_pinned(spec, results)
            cost = cost_of(pinned or spec, characters=0, settings=settings(), results=results)
            standings[row.name] = Standing(cost, results.check(pinned) if pinned else None)
    return standings


def _remember(key: str, names: list[str]) -> None:
    rows = selected_rows(key)
    st.session_state[_CHOSEN] = names[rows[-1]] if rows else ""


@callback
def _clear() -> None:
    for key in _KEYS:
        st.session_state[key] = "" if key == "find_text" else []
