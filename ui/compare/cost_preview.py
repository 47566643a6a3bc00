"""What a run will read and cost, said before it is started."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

from numembed.core.wording import about, duration, plural, size
from numembed.models.encoders.tokens import TokenCount, count_tokens
from numembed.models.resolve import as_known, known_folder, makers_sentences, not_looked_at
from numembed.models.spec import ModelSpec, named_folders
from numembed.sequences.families.family import family
from numembed.studies.cost import Cost, cost_of
from numembed.studies.stored import previously_pinned
from numembed.studies.study import Study
from ui.shared.cache import cached
from ui.shared.frame import result_store, settings, vector_store
from ui.shared.large import LARGE, characters_of, shown_of
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_COUNTED_CHARS = 300_000  # tokens of longer sets are counted on the first sequences only
_MOST_PIECES = 120  # of one text
_NOT_YET = "not looked at yet"  # what a page knows of a folder before a run
_ON_ITS_SERVER = "on its server"  # what this machine neither does nor knows
_LOOK_AGAIN_SECONDS = 10.0  # for files that may have arrived
_COLUMNS = (
    Column("Model"),
    Column("In the store", "Texts whose vectors are stored and are not computed again.", "number"),
    Column(
        "Reads at most", "Longest input in tokens, the units that a model reads. Longer texts are truncated.", "number"
    ),
    Column("Download", "What must be downloaded first.", "number"),
    Column("Memory", "Memory for the weights, in the format in which they are loaded, and for one batch.", "number"),
    Column("Fits", "Whether this machine has enough memory."),
    Column(
        "Takes",
        "Time to encode what is not stored, estimated from earlier runs on this machine. The same architecture with "
        "random weights, which is run afterwards for models of up to one billion parameters, takes the same time "
        "again.",
        "number",
    ),
)
_SPLIT = (
    Column("Model"),
    Column("Digits per token", "Average number of digits in one token.", "number"),
    Column("Tokens per number", "Average number of tokens for one number.", "number"),
    Column("Numbers read", "In the longest text: how many of its numbers the model reads before truncation.", "number"),
    Column("The text as tokens", "Each box is one token. ✂ marks where the model stops reading.", "pieces"),
)


def preview(study: Study) -> None:
    """Say how much will be computed; the numbers of each model are folded away, and made when they are looked at."""
    strings, families = plural(study.texts, "sequence"), plural(len(study.families), "family", "families")
    models = plural(len(study.models), "model or baseline", "models and baselines")
    sentence = f"{strings} of {families} · {models}"
    help_text = "What will be computed and what it costs"
    with st.popover(sentence, help=help_text, type="tertiary", key="cost", on_change="rerun") as folded:
        if folded.open:
            if shown_of(study) != study:
                st.caption(f"{LARGE} What they cost is estimated from their beginning.")
            table(_COLUMNS, _rows(study), key="before", label="What will be computed for each model, and what it costs")


def _rows(study: Study) -> list[list[Cell]]:
    shown, rows = shown_of(study), []
    texts = shown.sequences.texts if shown == study else ()
    characters = sum(map(len, set(texts))) if texts else characters_of(study)
    with vector_store() as vectors, result_store() as results:
        for spec in study.models:
            if spec.is_baseline:
                rows.append([Cell(spec.name), Cell("not needed"), *(Cell("–") for _ in _COLUMNS[2:])])
                continue
            pinned = previously_pinned(spec, results) or spec
            stored, distinct = vectors.count(pinned.stored.key, texts) if pinned.resolved else 0, len(set(texts))
            cost = _cost(spec, round(characters * (1 - stored / distinct)) if texts else characters)
            share = Cell(f"{stored:,} of {distinct:,}", stored) if texts else Cell("unknown before Run")
            limit, costs = _limit(_tokens(study, spec)), _cost_cells(cost, bool(texts) and stored == distinct)
            if not_looked_at(spec, settings()):
                limit, costs = Cell(_NOT_YET), [Cell("unknown"), *costs[1:]]
            if _is_remote(spec):
                limit, costs = Cell(_ON_ITS_SERVER), [*(Cell(_ON_ITS_SERVER) for _ in costs[:-1]), costs[-1]]
            rows.append([Cell(spec.name), share, limit, *costs])
    return rows


def warn(study: Study, *, asked: bool) -> None:
    """Say which models will not read the whole texts or hardly fit into memory, and what their makers have set.

    Also whose folders are unknown until a run, unless one was ``asked`` for.
    """
    folders = tuple(_folder(spec) for spec in study.models if not spec.is_baseline)
    warnings, notes = _warnings(study, shown_of(study), folders)
    for sentence, icon in warnings:
        st.warning(sentence, icon=icon)
    unseen = [spec.name for spec in study.models if not spec.is_baseline and not_looked_at(spec, settings())]
    if unseen and not asked:
        names = f"{_NOT_YET[0].upper()}{_NOT_YET[1:]}: {', '.join(unseen)}."
        notes = [md_text(f"{names} A run looks first; the Models page can do it now.", most=800), *notes]
    for sentence in notes:
        st.caption(sentence)


@cached(entries=64, seconds=_LOOK_AGAIN_SECONDS)
def _warnings(
    study: Study, shown: Study | None, folders: tuple[Path | None, ...]
) -> tuple[list[tuple[str, str]], list[str]]:
    """``folders`` lets models that have arrived be looked at again."""
    warnings, notes = [], []
    for spec in (spec for spec in study.models if not spec.is_baseline):
        cost, counted = _cost(spec, 0), _tokens(study, spec)
        if cost.fits is False and cost.memory_bytes:
            sentence = (
                f"{spec.name} needs about {size(cost.memory_bytes)} of memory, more than this machine has. "
                "Choose a smaller model, or one behind an endpoint."
            )
            warnings.append((md_text(sentence), ":material/memory:"))
        if counted and counted.truncated:
            cut = plural(counted.truncated, "text is", "texts are")
            looked = f"of the first {len(counted.counts):,} texts, " if len(counted.counts) < study.texts else ""
            read, of = min(zip(counted.numbers_read, counted.numbers, strict=True))
            sentence = (
                f"{spec.name} reads at most {counted.max_tokens:,} tokens: {looked}{cut} longer and will be cut "
                f"off. Of one text it reads {read:,} of {of:,} numbers."
            )
            warnings.append((md_text(sentence), ":material/content_cut:"))
        if sentences := makers_sentences(spec, settings()):
            notes.append(md_text(f"{spec.name}: {' '.join(sentences)}", most=800))
    return warnings, notes


def reading(study: Study) -> None:
    """Show how each model splits the texts, for every model whose tokenizer is on this machine."""
    models = [spec for spec in study.models if not spec.is_baseline]
    if not models:
        return
    with st.expander("How the models read the text", key="reading", on_change="rerun") as folded:
        if not folded.open:
            return
        shown = shown_of(study)
        if shown is None:
            st.caption(LARGE)
            return
        sequences = shown.sequences
        firsts = {name: sequences.families.index(name) for name in sequences.families}
        chosen = st.selectbox(
            "Which text", firsts, key="read_family", format_func=lambda name: f"{family(name).title}, first window"
        )
        row = sequences.labels.tolist().index(firsts[chosen])
        table(
            _SPLIT,
            [_split_row(shown, spec, row) for spec in models],
            key="split",
            label="How each model splits the text into tokens",
        )


def _split_row(study: Study, spec: ModelSpec, row: int) -> list[Cell]:
    counted, one = _tokens(study, spec), _pieces(study, spec, row, _folder(spec))
    if counted is None or one is None:
        missing = _NOT_YET if not_looked_at(spec, settings()) else "unknown until its files are on this machine"
        why = _ON_ITS_SERVER if _is_remote(spec) else missing
        return [Cell(spec.name), *(Cell("–") for _ in range(3)), Cell(why)]
    read, of = min(zip(counted.numbers_read, counted.numbers, strict=True), default=(0, 0))
    pieces = list(one.pieces[0])
    if one.max_tokens and len(pieces) > one.max_tokens:
        pieces = [*pieces[: one.max_tokens], "✂", *pieces[one.max_tokens :]]
    more = [" …"] if len(pieces) > _MOST_PIECES else []
    return [
        Cell(spec.name),
        number(counted.digits_per_token),
        number(counted.tokens_per_number),
        Cell(f"{read:,} of {of:,}", read),
        Cell(json.dumps(pieces[:_MOST_PIECES] + more), len(pieces)),
    ]


def _is_remote(spec: ModelSpec) -> bool:
    return spec.weights.runner == "endpoint"


def _limit(counted: TokenCount | None) -> Cell:
    if counted is None:
        return Cell("unknown")
    return number(counted.max_tokens, 0) if counted.max_tokens else Cell("no limit")


def _cost_cells(cost: Cost, all_stored: bool) -> list[Cell]:
    download = "unknown" if cost.download_bytes is None else "is here" if not cost.download_bytes else ""
    if cost.training_seconds:
        download = f"none; is trained here at first use: {about(cost.training_seconds)}"
    fits = {None: "unknown", True: "yes", False: "no"}[cost.fits]
    takes = "nothing" if all_stored else "unknown" if cost.seconds is None else duration(cost.seconds)
    return [
        Cell(download or size(cost.download_bytes or 0), cost.download_bytes),
        Cell(size(cost.memory_bytes) if cost.memory_bytes else "unknown", cost.memory_bytes),
        Cell(fits),
        Cell(takes, 0.0 if all_stored else cost.seconds),
    ]


def _tokens(study: Study, spec: ModelSpec) -> TokenCount | None:
    shown = shown_of(study)
    return _counted(shown, spec, _folder(spec)) if shown is not None else None


def _folder(spec: ModelSpec) -> Path | None:
    return known_folder(spec.weights, settings()) if named_folders(spec.weights) else _fetched(spec)


@cached(entries=256, seconds=_LOOK_AGAIN_SECONDS)
def _fetched(spec: ModelSpec) -> Path | None:
    return known_folder(spec.weights, settings())


@cached(entries=256, seconds=_LOOK_AGAIN_SECONDS)
def _cost(spec: ModelSpec, characters: int) -> Cost:
    with result_store() as results:
        return cost_of(
            previously_pinned(spec, results) or spec, characters=characters, settings=settings(), results=results
        )


@cached(entries=64)
def _counted(study: Study, spec: ModelSpec, folder: Path | None) -> TokenCount | None:
    """``folder`` lets a model that has arrived be counted again."""
    texts: list[str] = []
    chars = 0
    for text in study.sequences.texts:
        chars += len(text)
        if texts and chars > _COUNTED_CHARS:
            break
        texts.append(text)
    return count_tokens(as_known(spec, settings()), texts, settings())


@cached(entries=256)
def _pieces(study: Study, spec: ModelSpec, row: int, folder: Path | None) -> TokenCount | None:
    return count_tokens(as_known(spec, settings()), [study.sequences.texts[row]], settings(), pieces_of=1)
