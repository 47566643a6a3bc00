"""What was computed from vectors, by key: scores with their clusters, and maps. Lives in app.db."""

from __future__ import annotations

import base64
import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from numembed.analysis.maps.families import MapSilhouette
from numembed.analysis.scores import Score, ScoreKind, score_kinds
from numembed.core.arrays import Points
from numembed.core.errors import BadChoice
from numembed.core.gains import gained
from numembed.core.serialization import as_plain, from_plain
from numembed.models.embedding import Work
from numembed.models.encoders.interface import ModelCheck
from numembed.models.spec import ModelSpec
from numembed.storage.bundle import Bundle
from numembed.storage.damage import Kept
from numembed.storage.sqlite import Store, steady, transaction
from numembed.studies.keys import check_key, lasting_of

Value = TypeVar("Value")
APP_SCHEMA = (
    """CREATE TABLE results (key TEXT PRIMARY KEY, checksum BLOB NOT NULL, payload TEXT NOT NULL);
    CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL,
        study TEXT NOT NULL, asked_by TEXT NOT NULL, asked_at REAL NOT NULL, started_at REAL, seconds REAL,
        state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0,
        progress TEXT NOT NULL DEFAULT '[]', error TEXT NOT NULL DEFAULT '');
    CREATE UNIQUE INDEX one_active_job_a_key ON jobs (key) WHERE state IN ('queued', 'running')""",
    """CREATE TABLE works (number INTEGER PRIMARY KEY, model TEXT NOT NULL, device TEXT NOT NULL,
        parameters INTEGER NOT NULL, texts INTEGER NOT NULL, characters INTEGER NOT NULL, seconds REAL NOT NULL,
        load_seconds REAL NOT NULL);
    CREATE INDEX works_of_model ON works (model)""",
    """ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'study';
    UPDATE jobs SET kind = 'ladder' WHERE ltrim(study, '{ ' || char(10)) LIKE '"ladder"%';
    UPDATE jobs SET kind = 'saving' WHERE ltrim(study, '{ ' || char(10)) LIKE '"saving"%'""",
    "ALTER TABLE jobs ADD COLUMN checksum BLOB",  # NULL in rows of earlier versions
    "ALTER TABLE jobs ADD COLUMN in_vain INTEGER NOT NULL DEFAULT 0",  # starts since it last gained something
    """ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'light';
    UPDATE jobs SET lane = 'model' WHERE kind IN ('ladder', 'saving');
    ALTER TABLE jobs ADD COLUMN visitor TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN expected REAL;
    ALTER TABLE jobs ADD COLUMN notes TEXT NOT NULL DEFAULT ''""",
)
APP_KEPT = Kept("The list of runs and results", "UPDATE jobs SET state = 'queued' WHERE state = 'running'")


@dataclass(frozen=True)
class FamilySilhouette:
    """The mean silhouette of one family's own sequences, held against shuffled families."""

    family: str  # its reference
    value: float
    p: float  # not adjusted for the number of families
    least_p: float  # that so few sequences can have
    within: bool  # whether families were shuffled inside each window only


@dataclass(frozen=True)
class SilhouetteDetail:
    """What stands behind one silhouette: that of each family, and the score without each sequence in turn (n,)."""

    families: tuple[FamilySilhouette, ...] = ()  # () where the whole is not above 0 or not more than chance
    without: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How much of a study's texts a model reads."""

    cut: int  # texts that are longer than it reads
    texts: int
    read: int  # of the numbers of one text, those that it reads at least
    numbers: int  # in that text

    @property
    def sentence(self) -> str:
        """What is cut off, or ""."""
        if not self.cut:
            return ""
        texts = "its only text" if self.texts == 1 else f"{self.cut:,} of {self.texts:,} texts"
        return (
            f"reads {texts} only in part: of one it reads {self.read:,} of {self.numbers:,} numbers, "
            "and its scores rest on these"
        )


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One model's scores and KMeans clusters (n,) for a study's sequences; d is the width of its vectors."""

    model: ModelSpec
    dimension: int
    scores: tuple[Score, ...]
    clusters: NDArray[np.int64]
    check: ModelCheck | None = None  # None for baselines and where it was not kept
    designs: Mapping[ScoreKind, tuple[float, ...]] = field(default_factory=dict)  # scores of redrawn windows
    detail: SilhouetteDetail | None = None  # None where it was not computed
    reading: Reading | None = None  # None where nobody knows how its tokenizer splits the texts

    def score(self, metric: str, labels: str) -> Score:
        """Return the score of one metric with one labelling."""
        return next(score for score in self.scores if score.kind == (metric, labels))


def badged(result: ModelResult) -> str:
    """Return the model's name as every chart shows it: with a warning where it ran although its check failed."""
    failed = result.check is not None and not result.check.ok
    return f"⚠ {result.model.name} (check failed)" if failed else result.model.name


@dataclass(frozen=True, eq=False)
class Projection:
    """A map: points (n, 2) or (n, 3) and the values that made it."""

    points: Points
    method: str
    used: dict[str, Any]
    families: MapSilhouette | None = None  # None also in maps of earlier versions
    equal: tuple[tuple[int, ...], ...] = ()  # the rows of equal vectors, two or more together; () also in earlier maps


class AppStore(Store):
    """A connection to ``app.db``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, APP_SCHEMA, kept=APP_KEPT)


class ResultStore(AppStore):
    """Results by key in ``app.db``; a damaged row counts as absent.

    What is not there is looked for in ``beside``, results that were computed elsewhere.
    """

    def __init__(self, path: Path, *, beside: Bundle | None = None) -> None:
        super().__init__(path)
        self.beside = beside

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was stored under ``key``, here or beside, or None."""
        own = self.own(key)
        return own if own is not None else self.prepared(key)

    def prepared(self, key: str) -> dict[str, Any] | None:
        """Return what was computed elsewhere under ``key``, or None; what was damaged since counts as absent."""
        with contextlib.suppress(BadChoice):
            return None if self.beside is None else self.beside.get(lasting_of(key))
        return None

    def is_prepared(self, key: str) -> bool:
        """Return whether ``get`` answers with what was computed elsewhere."""
        return self.beside is not None and self.own(key) is None and self.prepared(key) is not None

    @contextlib.contextmanager
    def alone_with(self, key: str) -> Iterator[None]:
        """Let the block read own results only where there is an own one of ``key``: both are never mixed."""
        beside = self.beside
        self.beside = None if beside is None or self.own(key) is not None else beside
        try:
            yield
        finally:
            self.beside = beside

    @steady
    def own(self, key: str) -> dict[str, Any] | None:
        """Return what was stored here under ``key``, or None."""
        row = self._connection.execute("SELECT checksum, payload FROM results WHERE key = ?", (key,)).fetchone()
        if row is None or row[0] != result_checksum(key, row[1]):
            return None
        payload: dict[str, Any] = json.loads(row[1])
        return payload

    @property
    @steady
    def state(self) -> tuple[object, ...]:
        """What is another value after every writing of a result: how many there are, and which was written last."""
        last = "SELECT rowid, checksum, (SELECT count(*) FROM results) FROM results ORDER BY rowid DESC LIMIT 1"
        return tuple(self._connection.execute(last).fetchone() or ())

    @steady
    def put(self, key: str, value: dict[str, Any]) -> None:
        """Store a JSON value under ``key``."""
        payload = json.dumps(value, separators=(",", ":"))
        row = (result_checksum(key, payload), payload, key)
        with transaction(self._connection) as connection:
            replaced = connection.execute("DELETE FROM results WHERE key = ?", (key,)).rowcount
            connection.execute("INSERT INTO results (checksum, payload, key) VALUES (?, ?, ?)", row)
        gained(not replaced)

    def model_result(self, model: ModelSpec, key: str) -> ModelResult | None:
        """Return the scores that :meth:`put_model_result` stored."""
        stored = self.get(key)
        if stored is None:
            return None
        scores = from_plain(tuple[Score, ...], stored["scores"])
        return ModelResult(model, stored["dimension"], scores, np.asarray(stored["clusters"], dtype=np.int64))

    def put_model_result(self, key: str, result: ModelResult) -> None:
        """Store the scores and clusters of one model."""
        plain = {"dimension": result.dimension, "scores": result.scores, "clusters": result.clusters.tolist()}
        self.put(key, as_plain(plain))

    def check(self, model: ModelSpec) -> ModelCheck | None:
        """Return what the latest load of ``model`` found, or None."""
        stored = self.get(check_key(model)) if not model.is_baseline else None
        return from_plain(ModelCheck, stored) if stored else None

    def put_check(self, model: ModelSpec, check: ModelCheck) -> None:
        """Store what a load of ``model`` found."""
        self.put(check_key(model), as_plain(check))

    @steady
    def add_work(self, model_key: str, work: Work) -> None:
        """Store what encoding took."""
        with transaction(self._connection) as connection:
            connection.execute(
                """INSERT INTO works (model, parameters, device, texts, characters, seconds, load_seconds)
                    VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (model_key, *vars(work).values()),
            )

    @steady
    def works(self, model_key: str | None = None, *, limit: int = 200) -> tuple[Work, ...]:
        """Return the latest works of one model, or of all, newest first."""
        query = f"""SELECT parameters, device, texts, characters, seconds, load_seconds FROM works
            {"" if model_key is None else "WHERE model = ?"} ORDER BY number DESC LIMIT ?"""
        arguments = (limit,) if model_key is None else (model_key, limit)
        return tuple(Work(*row) for row in self._connection.execute(query, arguments) if is_work(row))

    def designs(self, key: str) -> dict[ScoreKind, tuple[float, ...]]:
        """Return the registered scores of redrawn designs that :meth:`put_designs` stored, or {}."""
        scores = (self.get(key) or {"scores": {}})["scores"]
        return {kind: tuple(map(_number, scores[str(kind)])) for kind in score_kinds() if str(kind) in scores}

    def put_designs(self, key: str, scores: Mapping[ScoreKind, Sequence[float]]) -> None:
        """Store the scores of redrawn designs."""
        plain = {str(kind): list(values) for kind, values in scores.items()}
        self.put(key, {"scores": as_plain(plain)})

    def projection(self, key: str) -> Projection | None:
        """Return the map that :meth:`put_projection` stored."""
        stored = self.get(key)
        if stored is None:
            return None
        points = np.frombuffer(base64.b64decode(stored["points"]), dtype="<f4").reshape(stored["shape"])
        families = from_plain(MapSilhouette, stored["families"]) if "families" in stored else None
        equal = tuple(map(tuple, stored.get("equal", ())))
        return Projection(points, stored["method"], stored["used"], families, equal)

    def put_projection(self, key: str, projection: Projection) -> None:
        """Store a map."""
        points = np.ascontiguousarray(projection.points, dtype="<f4")
        encoded = base64.b64encode(points.tobytes()).decode()
        plain = {"points": encoded, "shape": points.shape, "method": projection.method, "used": projection.used}
        if projection.families is not None:
            plain["families"] = as_plain(projection.families)
        if projection.equal:
            plain["equal"] = projection.equal
        self.put(key, plain)


def complete(stored: Mapping[str, Value]) -> dict[ScoreKind, Value]:
    """Return stored values of every registered score; {} where one is missing, as of a metric registered since."""
    kinds = score_kinds()
    return {kind: stored[str(kind)] for kind in kinds} if all(str(kind) in stored for kind in kinds) else {}


def is_work(row: Sequence[Any]) -> bool:
    """Return False for a damaged row of what encoding took: these carry no checksum."""
    device, rest = row[1], (row[0], *row[2:])
    return isinstance(device, str) and all(isinstance(value, int | float) and 0 <= value < 1e15 for value in rest)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def result_checksum(key: str, payload: object) -> bytes:
    """Return what a row must carry; the key is in it, so that a damaged index never serves another row."""
    return xxhash.xxh3_64_digest(f"{key} {payload}".encode())
