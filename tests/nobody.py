"""Processes of a user without a name, a home and rights: a container's arbitrary user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

USER = 12345
_READS_ALL = "-all,+dac_read_search"  # the interpreter may lie below /root


def given_to_nobody(folder: Path) -> Path:
    """Make ``folder`` and all in it the nameless user's own, where this process may do so."""
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, USER)
    return folder


def run_as_nobody(arguments: Sequence[str], *, folder: str = "/", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in ``folder``: HOME is the root of the disk, nothing but its own can be written.

    Where this process is no root, it has no more rights than such a user itself.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    rest = {"HOME": "/", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*_dropping(), sys.executable, *arguments],
        cwd=folder,
        env=kept | rest | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


@cache
def _dropping() -> tuple[str, ...]:
    """Return the command that gives up root's rights, or () where there are none."""
    if os.getuid() != 0:
        return ()
    drop = ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups")
    caps = tuple(word for kind in ("inh", "ambient") for word in (f"--{kind}-caps", _READS_ALL))
    able = (*drop, *caps, "--bounding-set", _READS_ALL)
    return able if subprocess.run([*able, sys.executable, "-c", ""], capture_output=True).returncode == 0 else drop
