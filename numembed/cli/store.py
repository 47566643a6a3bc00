"""The verb ``store``: what vectors are stored, and the health, the backups and the repair of both files."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from numembed.cli.printing import print_rows
from numembed.core.errors import BadChoice, NumembedError
from numembed.core.settings import Settings
from numembed.core.wording import parse_size, size
from numembed.models.catalogue.names import random_init
from numembed.runs.job import Job
from numembed.runs.job_rows import is_whole_row
from numembed.runs.jobs import JobTable
from numembed.storage.backups import back_up, backup_called, backups_of, newest_good, version_of
from numembed.storage.failures import require_writable
from numembed.storage.pruning import prune
from numembed.storage.salvage import Row, RowChecks, look_through, rebuild, restore
from numembed.storage.vectors import VectorStore, vector_checksum
from numembed.studies.results import APP_KEPT, APP_SCHEMA, ResultStore, is_work, result_checksum


def store(options: argparse.Namespace, settings: Settings) -> int:
    """List what vectors are stored, after deleting those that the call names; or do what its action says."""
    if options.action:
        return ACTIONS[options.action](options, settings)
    with VectorStore(settings.cache_db) as vectors:
        if options.delete:
            keys = [stored.key for stored in vectors.models() if options.delete in (stored.name, stored.key, "all")]
            if not keys:
                raise BadChoice(f"The store holds nothing of {options.delete[:80]!r}. See: numembed store")
            gone = sum(vectors.delete(key) for key in keys)
            print(f"numembed: {gone:,} vectors deleted.", file=sys.stderr)
        return print_rows([dataclasses.asdict(stored) for stored in vectors.models()], options)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    """Print how many rows each table has and how many are damaged; return 1 where one is."""
    rows, hurt = [], []
    for path, checks in _files(settings).items():
        looked = look_through(path, checks)
        rows += [
            {"file": path.name, "table": table, "rows": count, "damaged": looked.damaged[table]}
            for table, count in looked.rows.items()
        ]
        if not looked.ok:
            hurt.append(path.name)
            print(f"numembed: {path.name} is damaged{looked.broken and f' ({looked.broken})'}.", file=sys.stderr)
    print_rows(rows, options)
    if hurt:
        print("numembed: To build what is damaged anew from its good rows: numembed store repair", file=sys.stderr)
    return 1 if hurt else 0


def _repair(options: argparse.Namespace, settings: Settings) -> int:
    """Build each damaged file anew from its good rows and the newest backup, or add the good rows of a file."""
    if options.file and not (given := settings.home / options.file).is_file():
        raise BadChoice(f"There is no file {options.file[:120]!r} in {settings.home}, whose rows could be added.")
    found = []
    for path, checks in _files(settings).items():
        added = [given] if options.file and given.name.startswith(path.name) else []
        if not added and look_through(path, checks).ok:
            continue
        kept = path == settings.app_db
        newest = newest_good(path, len(APP_SCHEMA)) if kept else None
        sources = [*added, *([newest] if newest else [])]
        rows, aside = rebuild(path, sources, ResultStore if kept else VectorStore, checks)
        found.append({"file": path.name, "rows": rows, "kept_aside": aside and aside.name})
    if not found:
        print("numembed: Nothing is damaged.", file=sys.stderr)
    return print_rows(found, options)


def _back_up(options: argparse.Namespace, settings: Settings) -> int:
    """Back app.db up now."""
    if not settings.app_db.exists():
        raise BadChoice(f"There is nothing to back up yet: no {settings.app_db.name} in {settings.home}.")
    require_writable(settings.app_db)
    return print_rows([_facts(back_up(settings.app_db, time.strftime("%Y-%m-%d-%H%M%S")))], options)


def _restore(options: argparse.Namespace, settings: Settings) -> int:
    """List the backups, or put one in the place of app.db, which is kept aside."""
    path = settings.app_db
    if not options.file:
        text = "To take one: numembed store restore newest, or its name. The present file is kept aside."
        print(f"numembed: {text if backups_of(path) else 'There is no backup yet.'}", file=sys.stderr)
        return print_rows([_facts(file) for file in backups_of(path)], options)
    backup = backup_called(path, options.file)
    if not 0 < version_of(backup) <= len(APP_SCHEMA):
        raise BadChoice(f"{backup.name} was written by a newer numembed. Update numembed, or choose another backup.")
    aside = restore(path, backup, APP_KEPT)
    words = f" The file before it is kept as {aside.name}." if aside else ""
    print(f"numembed: {backup.name} was taken. Runs after it are not in the list.{words}", file=sys.stderr)
    return 0


def _prune(options: argparse.Namespace, settings: Settings) -> int:
    """Delete the vectors of the least recently used models until cache.db is at most as large as ``--to``."""
    if not options.to:
        raise BadChoice("How large may the stored vectors be? For example: numembed store prune --to 5GB")
    most = parse_size(options.to)
    with JobTable(settings.app_db) as jobs, VectorStore(settings.cache_db) as vectors:
        needed = {name for job in jobs.active() for name in _models_of(job)}
        keep = [stored.key for stored in vectors.models() if stored.name in needed]
        gone, left = prune(vectors, most, keep), vectors.size_bytes()
    if left > most:
        why = "waiting and running runs need the rest" if keep else "an empty store takes that much"
        print(f"numembed: cache.db still has {size(left)}: {why}.", file=sys.stderr)
    return print_rows([dataclasses.asdict(stored) for stored in gone], options)


def _models_of(job: Job) -> Iterator[str]:
    """Yield the names under which the vectors of a run are stored."""
    with contextlib.suppress(NumembedError):  # one that cannot be read is not carried out
        request = job.request
        for spec in (*getattr(request, "models", ()), *([request.base] if hasattr(request, "base") else [])):
            untrained = random_init(spec)
            yield from (one.stored.name for one in (spec, untrained) if one is not None)


ACTIONS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "check": _check,
    "repair": _repair,
    "backup": _back_up,
    "restore": _restore,
    "prune": _prune,
}
HELP = (
    "Show which vectors are stored, or delete some. Actions: check (read both files through, exit code 1 for damage), "
    "repair [FILE] (build a damaged file anew from its good rows, those of FILE and the newest backup), "
    "backup (of app.db, now), restore [FILE] (list the backups, or take FILE or newest), "
    "prune --to SIZE (delete the vectors of the least recently used models)."
)


def _files(settings: Settings) -> dict[Path, RowChecks]:
    """Return the files that are there, and what a good row is in each of their tables."""
    files = {settings.app_db: _APP_ROWS, settings.cache_db: _CACHE_ROWS}
    return {path: checks for path, checks in files.items() if path.exists()}


def _is_result(row: Row) -> bool:
    return bool(row["checksum"] == result_checksum(row["key"], row["payload"]))


def _is_work(row: Row) -> bool:
    names = ("parameters", "device", "texts", "characters", "seconds", "load_seconds")
    return isinstance(row["model"], str) and is_work([row[name] for name in names])


def _is_vector(row: Row) -> bool:
    return isinstance(row["vector"], bytes) and bool(row["checksum"] == vector_checksum(row["vector"]))


def _is_model(row: Row) -> bool:
    return all(isinstance(row[name], str) and "\ufffd" not in row[name] for name in ("key", "name"))


_APP_ROWS: RowChecks = {"results": _is_result, "jobs": is_whole_row, "works": _is_work}
_CACHE_ROWS: RowChecks = {"models": _is_model, "vectors": _is_vector, "entries": _is_vector}


def _facts(backup: Path) -> dict[str, object]:
    state = backup.stat()
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.st_mtime))
    return {"backup": backup.name, "made": made, "size_bytes": state.st_size}
