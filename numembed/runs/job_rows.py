"""Which rows of the job table are whole: what never changes in a row has a checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import xxhash

ACTIVE = ("queued", "running")
STATES = (*ACTIVE, "done", "failed", "cancelled")
UNREADABLE = "What this run was to carry out cannot be read from the store. Start it again."


def job_checksum(fixed: Sequence[object]) -> bytes:
    """Return what a job's row must carry: of its id, kind, request, and by whom and when it was requested.

    These never change. Progress is written several times a second, and each of its writes is one column.
    """
    return xxhash.xxh3_64_digest(repr(tuple(fixed)).encode(errors="replace"))


def is_whole_row(row: Mapping[str, Any]) -> bool:
    """Return False for a row of the table that damage has changed."""
    fixed = [row[name] for name in ("id", "kind", "study", "asked_by", "asked_at")]
    return row["state"] in STATES and is_whole(row.get("checksum"), fixed)


def close_damaged(connection: sqlite3.Connection) -> None:
    """Close the waiting jobs whose rows are damaged: nobody knows what they were to carry out."""
    rows = connection.execute(
        "SELECT number, checksum, id, kind, study, asked_by, asked_at FROM jobs WHERE state = 'queued'"
    ).fetchall()
    for number, checksum, *fixed in rows:
        if not is_whole(checksum, fixed):
            connection.execute("UPDATE jobs SET state = 'failed', error = ? WHERE number = ?", (UNREADABLE, number))


def is_whole(checksum: object, fixed: Sequence[object]) -> bool:
    """Return False for a damaged row; those of earlier versions have no checksum and are taken as they are."""
    if checksum is None:
        return all(isinstance(value, str) for value in fixed[:-1]) and isinstance(fixed[-1], float)
    return checksum == job_checksum(fixed)


def number_in(value: object) -> float | None:
    """Return a stored number, or None where damage has left something else."""
    return value if isinstance(value, int | float) and 0 <= value < 1e11 else None
