"""Errors of a model's own code in words: while it is checked it is the model that fails, later it is one text."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

from numembed.core.errors import AcceleratorLost, ModelUnavailable, NumembedError, TextFailed, reason_of
from numembed.models.loading.loader import described_faults, is_lost, is_out_of_memory
from numembed.models.spec import ModelSpec

_SHOWN_CHARS = 40  # of a text


@contextlib.contextmanager
def text_failures(spec: ModelSpec, texts: Sequence[str]) -> Iterator[None]:
    """Raise TextFailed where the model's own code fails at ``texts`` inside the block, with the traceback in the log.

    A lack of memory is raised as it is, a lost graphics card as AcceleratorLost.
    """
    try:
        yield
    except NumembedError:
        raise
    except Exception as error:
        if is_lost(error):
            raise AcceleratorLost("The graphics card no longer responds.") from error
        if is_out_of_memory(error):
            raise
        logging.getLogger(__name__).info("%s could not read %d texts", spec.name, len(texts), exc_info=True)
        raise text_failed(spec, texts, error) from error


def text_failed(spec: ModelSpec, texts: Sequence[str], error: Exception) -> TextFailed:
    """Return the error that says which texts a model cannot read, with the library's own reason."""
    shown = f"{texts[0][:_SHOWN_CHARS]!r}" + ("…" if len(texts[0]) > _SHOWN_CHARS else "") if texts else "a text"
    what = shown if len(texts) <= 1 else f"one of {len(texts):,} texts, the first of them {shown}"
    return TextFailed(f"{spec.name} cannot read {what}: {reason_of(error)}")


@contextlib.contextmanager
def readable(spec: ModelSpec) -> Iterator[None]:
    """Raise ModelUnavailable where a model fails at the texts of its check, whatever its code raises."""
    try:
        with described_faults(spec):
            yield
    except TextFailed as failed:
        raise _unreadable(spec, failed.__cause__ or failed) from failed
    except NumembedError:
        raise
    except Exception as error:
        logging.getLogger(__name__).info("%s failed in its check", spec.name, exc_info=True)
        raise _unreadable(spec, error) from error


def _unreadable(spec: ModelSpec, error: BaseException) -> ModelUnavailable:
    reason = reason_of(error).rstrip(".")
    end = "" if reason.endswith("…") else "."
    return ModelUnavailable(
        f"{spec.name} was loaded but cannot read texts with the installed libraries: {reason}{end} Check that its "
        "files belong together, or choose another model."
    )


def refuse_beyond(token_ids: Sequence[Sequence[int]], rows: int) -> None:
    """Raise ValueError where a text has a token beyond the model's table, which a graphics card would not survive."""
    highest = max((max(ids, default=0) for ids in token_ids), default=0)
    if highest >= rows:
        raise ValueError(
            f"its tokenizer gives token {highest:,}, but the model has vectors for {rows:,} tokens only: the two do "
            "not belong together"
        )
