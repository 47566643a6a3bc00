"""Processes to be killed. Each is a copy of one that has loaded the libraries and done nothing.

A copy of the test's own process would share the locks that its threads hold, and might wait for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

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
