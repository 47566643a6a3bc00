"""Random damages of one file: what is asked of it then raises sentences alone, and no answer is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from numembed.core.errors import NumembedError

KINDS = ("bit", "cut", "zeroed page", "random bytes", "header")
_PAGE = 32_768
_RUN_ID = re.compile(r"\b[0-9a-f]{8}\b")


@dataclass
class Damages:
    """What a number of damages led to; each of ``raw`` and ``wrong`` names the damage that it came after."""

    rounds: int = 0
    set_aside: int = 0
    unreadable: int = 0  # answers that are missing because of a damage
    sentences: Counter[str] = field(default_factory=Counter)
    raw: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All that may not be."""
        return self.raw + self.wrong


class Asked:
    """One file, and all that is asked of it after a damage."""

    def __init__(self, path: Path, found: Damages) -> None:
        self.path, self.found, self.opened = path, found, False

    def open(self) -> None:
        """Open the file."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it, where it is open."""
        raise NotImplementedError

    def questions(self) -> tuple[Callable[[str], None], ...]:
        """Return what is asked, each with the name of the damage; a wrong answer is noted in ``found``."""
        raise NotImplementedError

    def back_up(self) -> None:
        """Back the file up, where that belongs to it."""

    def command(self, verb: str) -> None:
        """Let the program check or repair the file."""
        from numembed.cli import main  # here: writers that are killed again and again import this file too

        home = {"NUMEMBED_HOME": str(self.path.parent)}
        with _environment(home), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(["store", verb])

    def ask(self, name: str) -> None:
        """Open the file where it is not open, and ask everything; what is raised is noted."""
        if not self.opened:
            with self.told(name):
                self.open()
                self.opened = True
        if self.opened:
            for question in self.questions():
                with self.told(f"{name}: {question.__name__}"):
                    question(name)

    @contextmanager
    def told(self, name: str) -> Iterator[None]:
        """Note what the block raises: a sentence, or what is none."""
        try:
            yield
        except NumembedError as error:
            self.found.sentences[_RUN_ID.sub("ID", str(error).replace(str(self.path.parent), "HOME"))] += 1
        except Exception as error:
            self.found.raw.append(f"{name}: {error!r}")


Maker = Callable[[Path, Damages], Asked]


def damaged_files(made: Callable[[Path], Maker], rounds: int, folder: Path, *, seed: int = 0) -> Damages:
    """Return what ``rounds`` random damages of five kinds led to; every second one has a backup to go back to.

    ``made`` writes a whole file and returns what asks a copy of it. Half of the damages happen under an open file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole"
    maker, found, dice = made(whole), Damages(rounds), random.Random(seed)
    for number in range(rounds):
        home = folder / f"damage-{number}"
        home.mkdir()
        name, kind = f"{number}: {KINDS[number % len(KINDS)]}", KINDS[number % len(KINDS)]
        place = maker(home, found)
        shutil.copyfile(whole, place.path)
        if number // len(KINDS) % 2:
            place.back_up()
        if dice.random() < 0.5:
            place.ask(name)
        damage(place.path, kind, dice)
        for verb in [(), ("check",), ("check", "repair")][dice.randrange(3)]:
            with place.told(f"{name}: {verb}"):
                place.command(verb)
        place.ask(name)
        place.close()
        found.set_aside += bool(list(home.glob("*.corrupt-*")))
        shutil.rmtree(home)
    return found


def damage(path: Path, kind: str, dice: random.Random) -> None:
    """Damage a file in place, as a bad disk does."""
    size = path.stat().st_size
    begins = {"header": dice.randrange(100), "zeroed page": dice.randrange(size // _PAGE) * _PAGE}
    at = begins.get(kind, dice.randrange(size))
    with path.open("r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return
        file.seek(at)
        before = file.read(1)[0]
        most = {"zeroed page": _PAGE, "random bytes": 64, "header": 100 - at if dice.random() < 0.3 else 1}.get(kind, 1)
        put = dice.randbytes(min(most, size - at)) if kind != "zeroed page" else bytes(_PAGE)
        file.seek(at)
        file.write(put if kind != "bit" else bytes([before ^ 1 << dice.randrange(8)]))


@contextmanager
def _environment(names: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(names)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
