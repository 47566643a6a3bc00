"""What the operator sets and how much one visitor may ask for. Read from the environment once, at the rim."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path, user_data_path


@dataclass(frozen=True)
class Limits:
    """The most that one study may ask for; above it, a sentence with the limit, never a truncation."""

    models: int = 24
    families: int = 60
    per_family: int = 2_000
    length: int = 2_000
    first_window: int = 100_000
    texts: int = 20_000
    terms: int = 4_000_000  # of all sequences together; each takes some 40 bytes
    separator_chars: int = 20
    text_chars: int = 20_000  # section 4.1 of the paper
    term_digits: int = 4_000  # Python refuses to print integers above 4,300 digits
    study_chars: int = 20_000  # of a link or a saved study
    reference_chars: int = 500  # of one model's or family's name


LIMITS = Limits()


@dataclass(frozen=True)
class Settings:
    """Where things are kept and what this machine may do."""

    home: Path  # app.db, cache.db, worker.lock, worker.log
    offline: bool  # never ask the model hub
    prewarm: bool  # the worker imports the libraries while it waits

    @property
    def compiled(self) -> Path:
        """Compiled code, shared by all homes of this user; may be deleted at any time."""
        return user_cache_path("numembed") / "compiled"

    @property
    def app_db(self) -> Path:
        """Jobs and results."""
        return self.home / "app.db"

    @property
    def cache_db(self) -> Path:
        """Vectors; may be deleted at any time."""
        return self.home / "cache.db"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of ``environ``: NUMEMBED_HOME, HF_HUB_OFFLINE, NUMEMBED_PREWARM."""
    home = environ.get("NUMEMBED_HOME")
    return Settings(
        home=Path(home).expanduser().absolute() if home else user_data_path("numembed"),
        offline=environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"},
        prewarm=environ.get("NUMEMBED_PREWARM", "1") != "0",
    )
