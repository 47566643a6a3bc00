"""One part of a run, such as one model or one of its maps: where it fails, the rest goes on."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from numembed.core.errors import ENDING, AcceleratorLost, NumembedError, StoreUnreadable, is_fault, reason_of
from numembed.core.settings import Settings
from numembed.core.wording import listed
from numembed.models.loading.loader import is_lost, is_out_of_memory
from numembed.studies.results import ResultStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a part of a run failed, without secrets and without the error itself, which would hold memory."""

    reason: str  # a sentence, or the library's own words
    is_sentence: bool

    def of_model(self, name: str, *, alone: bool) -> str:
        """Return the sentence of a model that could not run; ``alone`` where it is the only one."""
        if self.is_sentence:
            return self.reason
        others = "Details" if alone else "The others are not affected; details"
        return f"{name} could not run: {_ended(self.reason)} {others} are in the log."


@dataclass(frozen=True)
class Gap:
    """What is missing of a model that ran."""

    what: str  # "UMAP map"
    model: str
    reason: str


@contextlib.contextmanager
def part(name: str, settings: Settings, failed: Callable[[Failure], None]) -> Iterator[None]:
    """Carry out the block; where it fails, keep its traceback in the log and give the failure to ``failed``.

    What no other part could survive is raised: a stop, a full disk, a lost graphics card, a fault of the store.
    """
    try:
        yield
    except ENDING:
        raise
    except sqlite3.Error as error:
        raise StoreUnreadable(
            f"The store in {settings.home} cannot be read or written ({reason_of(error)}). What was stored before is "
            "kept. Check the disk and that no other program holds the file, and run again."
        ) from error
    except BaseException as error:
        if not is_fault(error):
            raise
        if is_lost(error):
            raise AcceleratorLost("The graphics card no longer responds.") from error
        failure = _failure(error, settings)
        _log.log(logging.INFO if failure.is_sentence else logging.ERROR, "%s failed", name, exc_info=True)
        failed(failure)


def gap_sentences(gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Return a sentence for each reason, with what is missing and of which models.

    >>> gap_sentences([Gap("UMAP map", "A", "No room."), Gap("UMAP map", "B", "No room."), Gap("scores", "", "why")])
    ('Missing: the UMAP map of A and B. No room.', 'Missing: the scores. why.')
    """
    own: dict[tuple[str, str], list[str]] = {}  # what a model lacks for one reason
    for gap in gaps:
        own.setdefault((gap.model, gap.reason), []).append(gap.what)
    alike: dict[tuple[str, str], list[str]] = {}  # and the models that lack the same
    for (model, reason), whats in own.items():
        alike.setdefault((listed(list(dict.fromkeys(whats))), reason), []).append(model)
    return tuple(
        f"Missing: the {what}{f' of {listed(models)}' if any(models) else ''}. {_ended(reason)}"
        for (what, reason), models in alike.items()
    )


def keep_reason(results: ResultStore, key: str, failure: Failure) -> None:
    """Store why there is no result under ``key``, for the pages that would show it."""
    results.put(_reason_key(key), {"reason": failure.reason})


def kept_reason(results: ResultStore, key: str) -> str:
    """Return why the newest attempt at a result failed, as a sentence; "" where none failed. A result is newer."""
    reason = str((results.get(_reason_key(key)) or {"reason": ""})["reason"])
    return reason and _ended(reason)


def _reason_key(key: str) -> str:
    return "failed:" + key


def _failure(error: BaseException, settings: Settings) -> Failure:
    if isinstance(error, NumembedError):
        return Failure(settings.redact(str(error)), is_sentence=True)
    if is_out_of_memory(error):
        return Failure("it does not fit into the memory of this machine", is_sentence=False)
    return Failure(settings.redact(reason_of(error)), is_sentence=False)


def _ended(reason: str) -> str:
    return reason if reason.endswith((".", "…", "!", "?")) else f"{reason}."
