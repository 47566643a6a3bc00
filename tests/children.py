"""Processes to be killed. Each is a copy of one that has loaded the libraries and done nothing.

A copy of the test's own process would share the locks that its threads hold, and might wait for ever. A kill at a
moment drawn by chance may come too early or too late on another machine; one at a numbered step of writing does not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_WRITING = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}  # audit events
_READING = {"r", "rb"}  # modes of opening; there is none where a file is opened to be put on the disk
LIBRARIES = ("numembed.models.training.train", "torch", "transformers", "sentence_transformers", "peft")


def started(work: Callable[..., object], *given: Any) -> BaseProcess:
    """Return a process that does ``work``, a function of a test module, with what is given."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(LIBRARIES))
    child = made.Process(target=work, args=given)
    child.start()
    return child


def killed(child: BaseProcess) -> None:
    """Kill ``child`` as a power cut would; it may have ended by itself."""
    assert child.pid is not None
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join()


def killed_writing(step: int, below: Path, work: Callable[..., object], *given: Any) -> bool:
    """Do ``work`` in a process that is killed just before its ``step``-th step of writing below a folder.

    The first is 1. A step is a file that is opened to be written or put on the disk, or a name that is made, moved or
    deleted; locks are none. Returns False where ``work`` ended before, with fewer steps.
    """
    child = started(_work_until, step, below, work, *given)
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL), f"it ended with {child.exitcode}"
    return child.exitcode != 0


def _work_until(step: int, below: Path, work: Callable[..., object], *given: Any) -> None:
    left = step

    def noted(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in _WRITING or (event == "open" and arguments[1] in _READING):
            return
        name = str(arguments[0])
        if name.startswith(f"{below}/") and not name.endswith(".lock"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(noted)
    work(*given)
