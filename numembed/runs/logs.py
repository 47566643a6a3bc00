"""The worker's log: without secrets, and limited in size."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from pathlib import Path

from numembed.core.settings import Settings

MOST_LOG_BYTES = 10_000_000
KEPT_LOGS = 4  # older ones
_log = logging.getLogger(__name__)


def log_to_stderr(settings: Settings) -> None:
    """Send log lines and uncaught errors to standard error, without secrets."""
    lines = logging.StreamHandler()
    lines.setFormatter(Redacting(settings))
    logging.basicConfig(handlers=[lines], level=logging.INFO)
    for chatty in ("httpx2", "httpcore2"):  # they tell every request
        logging.getLogger(chatty).setLevel(logging.WARNING)
    threading.excepthook = lambda text: _log.critical("a thread ended", exc_info=text[:3])  # type: ignore[arg-type]
    sys.excepthook = lambda kind, error, trace: _log.critical("ended", exc_info=(kind, error, trace))


def note(settings: Settings, line: str) -> None:
    """Append a line to the worker's log: what the pages were asked to do with a job, without its texts."""
    record = logging.LogRecord("numembed.pages", logging.INFO, __file__, 0, line, None, None)
    with (
        contextlib.suppress(OSError),
        (settings.home / "worker.log").open("a", encoding="utf-8", errors="replace") as log,
    ):
        log.write(Redacting(settings).format(record) + "\n")


def limit(log: Path, *, most_bytes: int = MOST_LOG_BYTES) -> None:
    """Move what is in ``log`` to ``NAME.1`` where it is larger, and that to ``NAME.2``, …; the last one goes.

    The file itself is emptied, not renamed: the libraries of the process that appends to it hold it open.
    """
    with contextlib.suppress(OSError):  # no log may end what it tells of
        if log.stat().st_size <= most_bytes:
            return
        for number in range(KEPT_LOGS, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                _numbered(log, number - 1).replace(_numbered(log, number))
        try:
            shutil.copyfile(log, _numbered(log, 1))
        finally:  # also where the disk has no room for the copy
            os.truncate(log, 0)


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


class Redacting(logging.Formatter):
    """Keeps secrets out of the log, tracebacks included."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._settings = settings

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self._settings.redact(super().format(record))
