"""Every error that a person can cause. Pages and the command line show the message as it stands.

A message says what was given, what is allowed and what to do. Anything that is not a
:class:`NumembedError` is a bug and is shown as one; inside one model's part of a run it is that model's failure, told
with :func:`reason_of`.
"""

from __future__ import annotations

import re

_LETTERS = r"[^\s'\"`,;:()<>\[\]/\\]*"  # of a part of a path that is not in quotation marks
_PATH = re.compile(rf"(?<![\w./:])(?:~|[A-Za-z]:)?[/\\](?:{_LETTERS}[/\\])*(?P<last>{_LETTERS})")
_QUOTED_PATH = re.compile(
    r"(?P<quote>['\"`])(?:~|[A-Za-z]:)?[/\\](?:[^'\"`\n]*[/\\])?(?P<last>[^'\"`\n/\\]*)(?P=quote)"
)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+")
_SHORTEST_REASON_CHARS, _MOST_REASON_CHARS = 12, 240


class NumembedError(Exception):
    """A sentence for the person at the page or terminal."""


class UnknownName(NumembedError):
    """No registered thing has this name."""


class BadChoice(NumembedError):
    """A value outside what is allowed."""


class TooLarge(NumembedError):
    """More than this installation computes; the limits stand in ``settings.LIMITS``."""


class ModelUnavailable(NumembedError):
    """A model that cannot be found, fetched or loaded."""


class BadSettings(NumembedError):
    """Something is wrong in what the operator has set."""


class CheckFailed(NumembedError):
    """A model was loaded and does not do what its makers say; its vectors would be wrong."""


class AcceleratorLost(NumembedError):
    """The graphics card no longer responds; only a new process can use it again."""


class RemoteFailed(NumembedError):
    """An endpoint gave no answer, or a wrong one; nothing of that batch was stored."""


class NonFiniteVectors(NumembedError):
    """A model answered with NaN or infinity; nothing of it was stored."""


class TrainingFailed(NumembedError):
    """A training cannot continue; saved stages are kept."""


class Diverged(TrainingFailed):
    """A training whose loss became NaN or infinite; other seeds may do better."""


class StoreFull(NumembedError):
    """The disk is full; what was stored before stays readable."""


class StoreUnreadable(NumembedError):
    """A file of the store cannot be read or was written by a newer version."""


class StoreReadOnly(StoreUnreadable):
    """The store's folder can only be read; what is stored can be shown."""


class Cancelled(NumembedError):
    """Somebody has stopped the run; what was done is kept."""


class TookTooLong(NumembedError):
    """A run has reached its time limit; what was done is kept."""


LIGHT, MODEL = "light", "model"  # lanes: the worker that loads no model, and the one that does


class Paused(NumembedError):
    """A run goes on later from what is stored: in the other lane, or in its own after a short run."""

    def __init__(self, lane: str, seconds: float | None = None) -> None:
        super().__init__(f"Goes on in the lane {lane}.")
        self.lane = lane
        self.seconds = seconds  # that its work there is expected to take; None where nobody knows


class TextFailed(NumembedError):
    """One text that a model cannot read; its other texts are not affected."""


ENDING = (Paused, Cancelled, TookTooLong, StoreFull, StoreUnreadable, AcceleratorLost)
"""They end a whole run, or its turn, not one model's part of it."""


def is_fault(error: BaseException) -> bool:
    """Return True for an exception, and for the panic of a Rust library, which is none in Python."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def without_places(text: str) -> str:
    """Return a text in one line, of a path only its last part, and without addresses."""
    words = " ".join(_ADDRESS.sub("", text).split())
    return _PATH.sub(r"\g<last>", _QUOTED_PATH.sub(r"\g<quote>\g<last>\g<quote>", words))


def reason_of(error: BaseException) -> str:
    """Return a library's own words in one line of at most 240 characters: of a path only its last part, no addresses.

    Secrets are left to ``Settings.redact``, which knows them.

    >>> reason_of(OSError("Cannot read /home/me/models/x/config.json, see https://example.org/help"))
    'Cannot read config.json, see'
    >>> reason_of(KeyError("sentence_lengths")), reason_of(ValueError())
    ("KeyError: 'sentence_lengths'", 'ValueError')
    """
    words = without_places(str(error))
    if isinstance(error, LookupError) or len(words) < _SHORTEST_REASON_CHARS:  # words such as 'a' mean nothing alone
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return words if len(words) <= _MOST_REASON_CHARS else words[: _MOST_REASON_CHARS - 1].rstrip() + "…"
