"""A bundle: finished results in one zip file that another home can read. Nothing in it is unpacked or run.

Version 1, which stays readable: ``bundle.json`` says what it is (:class:`About`), ``results/<sha256 of the key>.json``
holds one result each as ``{"key": …, "value": …}``, and ``digests.json`` the sha256 of every other file.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice
from numembed.core.serialization import canonical_json

VERSION = 1
_FORMAT = "numembed bundle"
_ABOUT, _DIGESTS = "bundle.json", "digests.json"
_NAME = re.compile(r"bundle\.json|digests\.json|results/[0-9a-f]{64}\.json")
_MOST_FILES, _MOST_FILE, _MOST_BYTES = 20_000, 16_000_000, 200_000_000  # once they are unpacked
_MOST_NAME = 40
_DAY = (1980, 1, 1, 0, 0, 0)  # of every file in it: equal results make equal bundles


@dataclass(frozen=True)
class About:
    """What a bundle says of itself."""

    made: str  # the day: 2026-12-03
    program: str  # version of numembed
    versions: Mapping[str, str] = field(default_factory=dict)  # of the libraries that decide results
    requests: tuple[Mapping[str, Any], ...] = ()  # studies and merging experiments, as their JSON values


class Bundle:
    """The results of a bundle by key, read from ``path`` one by one, each checked against its digest.

    Raises BadChoice where ``path`` is no bundle, or one of another version, too large or changed.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name[:80]
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise self._refused(f"it cannot be opened as a zip file ({error})") from None
        infos = self._zip.infolist()
        if len({info.filename for info in infos}) < len(infos) or len(infos) > _MOST_FILES:
            raise self._refused("it lists a file twice, or too many files")
        if strange := [info.filename for info in infos if not _NAME.fullmatch(info.filename)]:
            raise self._refused(f"it holds another file, {strange[0][:80]!r}")
        if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
            raise self._refused("it is packed in another way")
        if max((info.file_size for info in infos), default=0) > _MOST_FILE or _size(infos) > _MOST_BYTES:
            raise self._refused("it is too large")
        self._digests: dict[str, str] = self._json(_DIGESTS, "")
        if not isinstance(self._digests, dict) or {info.filename for info in infos} - {_DIGESTS} != set(self._digests):
            raise self._refused("its list of files is another one")
        if not all(re.fullmatch("[0-9a-f]{64}", str(digest)) for digest in self._digests.values()):
            raise self._refused("one of its digests is none")
        about = self._json(_ABOUT, str(self._digests.get(_ABOUT)))
        if not isinstance(about, dict) or about.pop("format", "") != _FORMAT:
            raise self._refused("it holds something else")
        if type(version := about.pop("version", 0)) is not int or version != VERSION:
            raise self._refused(f"it is of version {str(version)[:20]}, and this program reads version {VERSION}")
        self.about = self._about(about)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result that is stored under ``key``, or None; raises BadChoice where it was changed."""
        if (member := _member(key)) not in self._digests:
            return None
        entry = self._json(member, self._digests[member])
        if not isinstance(entry, dict) or entry.get("key") != key or not isinstance(entry.get("value"), dict):
            raise self._refused("one of its results is of another key")
        value: dict[str, Any] = entry["value"]
        return value

    def __contains__(self, key: str) -> bool:
        return _member(key) in self._digests

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every key with its result; each file is read and checked for that."""
        for member, digest in self._digests.items():
            if member != _ABOUT:
                entry = self._json(member, digest)
                key = str(entry.get("key")) if isinstance(entry, dict) else ""
                if _member(key) != member or (value := self.get(key)) is None:
                    raise self._refused("one of its results is of another key")
                yield key, value

    def _about(self, plain: dict[str, Any]) -> About:
        try:
            about = About(**plain | {"requests": tuple(plain.get("requests", ()))})
            datetime.date.fromisoformat(about.made)
        except (TypeError, ValueError):
            raise self._refused("what it says of itself cannot be read") from None
        named = [about.program, *about.versions, *about.versions.values()] if isinstance(about.versions, dict) else [0]
        if not all(isinstance(one, str) and len(one) <= _MOST_NAME for one in named):
            raise self._refused("the versions that it names cannot be read")
        if not all(isinstance(one, dict) for one in about.requests):
            raise self._refused("what was run for it cannot be read")
        return about

    def _json(self, member: str, digest: str) -> Any:
        """Return what a file holds; its digest is checked where one is given."""
        try:
            with self._zip.open(member) as file:
                text = file.read(_MOST_FILE + 1)
            if len(text) > _MOST_FILE or (digest and hashlib.sha256(text).hexdigest() != digest):
                raise self._refused(f"its file {member} was changed")
            return json.loads(text)
        except (KeyError, OSError, ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise self._refused(f"its file {member} cannot be read ({str(error)[:80]})") from None

    def _refused(self, why: str) -> BadChoice:
        return BadChoice(f"{self._name!r} is no bundle of this program: {why}. Nothing of it was used.")


def write_bundle(path: Path, about: About, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a bundle to ``path`` in one step; equal results give equal bytes. Raises OSError."""
    described = {"format": _FORMAT, "version": VERSION} | vars(about)
    texts = {_ABOUT: canonical_json(described)}
    texts |= {_member(key): canonical_json({"key": key, "value": value}) for key, value in sorted(results.items())}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    draft = path.with_name(path.name + ".part")
    with zipfile.ZipFile(draft, "w") as archive:
        for name, text in ({_DIGESTS: canonical_json(digests)} | texts).items():
            archive.writestr(zipfile.ZipInfo(name, _DAY), text, zipfile.ZIP_DEFLATED, 9)
    os.replace(draft, path)


def _member(key: str) -> str:
    return f"results/{hashlib.sha256(key.encode()).hexdigest()}.json"


def _size(infos: list[zipfile.ZipInfo]) -> int:
    return sum(info.file_size for info in infos)
