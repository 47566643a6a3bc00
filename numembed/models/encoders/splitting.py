"""Batches in which a text fails, split until it is alone: one text costs only itself."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from numembed.core.arrays import Matrix
from numembed.core.errors import NonFiniteVectors, NumembedError, TextFailed, TooLarge, is_fault, reason_of
from numembed.models.encoders.interface import Encoder
from numembed.models.loading.loader import is_lost

_OF_ONE_TEXT = (TextFailed, NonFiniteVectors, TooLarge)
_HOPELESS = 8  # single texts that fail before any text has succeeded
_EXCERPT_CHARS = 40
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class SplittingEncoder:
    """Encodes texts batch by batch; ``failed`` holds those that the model cannot read, with the reason.

    Where the first texts all fail, the model is at fault: their error is raised. So is at once what concerns the whole
    machine, model or endpoint.
    """

    encoder: Encoder
    failed: dict[str, str] = field(default_factory=dict)
    _succeeded: bool = False

    def batches(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield the readable ones of ``texts`` in batches of similar length."""
        for some, batches in self._apart(self.encoder.batches, texts):
            yield from ([some[i] for i in batch] for batch in batches)

    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[str], Matrix]]:
        """Yield the readable ones of ``texts`` with their vectors, at once where none fails."""
        for some, vectors in self._apart(self.encoder.encode, texts):
            self._succeeded = True
            yield some, vectors

    def refuse_failed(self, name: str, total: int) -> None:
        """Raise TextFailed where the model ``name`` could not read all ``total`` texts."""
        if self.failed:
            text, reason = next(iter(self.failed.items()))
            begins = text[:_EXCERPT_CHARS] + "…" * (len(text) > _EXCERPT_CHARS)
            which = f"{len(self.failed):,} of {total:,} texts, the first is" if total > 1 else "the text"
            raise TextFailed(
                f"{name} cannot read {which} {begins!r}: {reason.rstrip('.')}. The vectors of all other texts are kept."
            )

    def _apart(self, action: Callable[[Sequence[str]], T], texts: Sequence[str]) -> Iterator[tuple[Sequence[str], T]]:
        """Yield what ``action`` gives for all texts, or for each part of them in which none fails."""
        try:
            given = action(texts)
        except BaseException as error:
            if not _is_of_texts(error):
                raise
            if len(texts) == 1:
                _log.info("a text of %s characters failed", f"{len(texts[0]):,}", exc_info=True)
                self.failed[texts[0]] = _reason(error)
                if len(self.failed) >= _HOPELESS and not self._succeeded:
                    raise
        else:
            yield texts, given
            return
        if len(texts) > 1:
            middle = len(texts) // 2
            yield from self._apart(action, texts[:middle])
            yield from self._apart(action, texts[middle:])


def _reason(error: BaseException) -> str:
    """Return why one text failed, in the library's own words where they are known."""
    if isinstance(error, TextFailed) and error.__cause__ is not None:
        return reason_of(error.__cause__)
    return str(error) if isinstance(error, NumembedError) else reason_of(error)


def _is_of_texts(error: BaseException) -> bool:
    if isinstance(error, NumembedError):
        return isinstance(error, _OF_ONE_TEXT)
    return is_fault(error) and not isinstance(error, sqlite3.Error) and not is_lost(error)
