"""The table of facts on a catalogue model's card."""

from __future__ import annotations

from numembed.core.wording import size
from numembed.models.catalogue.entries import Row
from numembed.models.encoders.memory import BYTES
from ui.models.catalogue import KINDS, parameters
from ui.shared.table import Cell, Column, table

ATTENTION = {"bidirectional": "both directions", "causal": "one direction (causal)", "none": "none", "": "unknown"}
POOLING = {"mean": "mean of all tokens", "cls": "first token", "lasttoken": "last token", "": "unknown"}
_YES = {True: "yes", False: "no", None: "unknown"}


def facts_table(row: Row) -> None:
    """Draw all facts of a row; what no source confirms is marked."""
    short = ", ".join(map(str, row.matryoshka)) or row.matryoshka_note or "none known"
    file_bytes = row.download_gb * 1e9 or row.parameters_millions * 1e6 * BYTES[row.stored_dtype]
    unsure = {"matryoshka" if field == "matryoshka_note" else field for field in row.unsure}
    facts = (
        ("Repository", "repo", row.repo or _without_repo(row)),
        *([("Loaded from", "mirror", f"{row.mirror}, its newest commit when it is first used")] if row.mirror else []),
        ("Commit", "revision", _pin_of(row)),
        ("Kind", "family", KINDS[row.family][0]),
        ("Parameters", "parameters_millions", parameters(row.parameters_millions)),
        ("Numbers in a vector", "dimension", f"{row.dimension:,}"),
        ("Reads at most", "max_tokens", "no limit" if row.max_tokens is None else f"{row.max_tokens:,} tokens"),
        ("Licence", "licence", row.licence or "unknown"),
        ("Files only by request", "gated", _YES[row.gated]),
        ("Files", "download_gb", _files(row, file_bytes)),
        ("Loaded in", "dtype", row.dtype + (f", never {', '.join(row.unfit_dtypes)}" if row.unfit_dtypes else "")),
        ("Architecture", "architecture", row.architecture or "unknown"),
        ("Vector made from", "pooling", POOLING[row.pooling]),
        ("Each token sees", "attention", ATTENTION[row.attention]),
        ("Text ends with a token", "ends_with_eos", _YES[row.ends_with_eos]),
        ("Vectors of length 1", "normalizes", _YES[row.normalizes]),
        ("Trained to be shortened to", "matryoshka", short),
        ("Its own prompts", "prompts", ", ".join(row.prompts) or "none known"),
    )
    rows = [[Cell(title), Cell(value + " · not verified" * (name in unsure))] for title, name, value in facts]
    table((Column("Fact", kind="line"), Column(row.name)), rows, key="facts", label=f"Facts about {row.name}")


def _files(row: Row, file_bytes: float) -> str:
    if row.package:
        return f"{size(file_bytes)} in 4 bits, converted to {row.stored_dtype}"
    return f"{size(file_bytes)} in {row.stored_dtype}"


def _without_repo(row: Row) -> str:
    if row.package:
        return f"none: it lies in the Python package {row.package.distribution} {row.package.version}"
    return "none: this program makes it"


def _pin_of(row: Row) -> str:
    if row.package:
        return f"sha256 {row.package.weights_sha256[:12]} of its weights"
    if not row.repo:
        return "none: identified by the digest of its files"
    return row.revision[:12] + (", of the original" if row.mirror else "") or "unknown; the newest at its first use"
