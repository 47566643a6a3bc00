"""Merges of folders: whole or absent after any death, and streamed, so that memory holds a few tensors."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.core.errors import Cancelled
from numembed.models.files.publish import is_whole
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
from tests.models.merging.weight_files import SHARD_BYTES, write_sharded, write_weights

ROOT = Path(__file__).parents[3]
SLERP, SOUP = Merge("slerp"), Merge("soup")
ENDLESS = """
import sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below = Path(sys.argv[1])
(below / "ready").touch()
for number in range(100_000):
    merge_folders(Merge("soup"), [below / "a", below / "b"], below / f"out-{number}")
"""
SELF_KILLED = """
import os, signal, sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below, last, steps = Path(sys.argv[1]), int(sys.argv[2]), [0]
def die(done, total, note):
    steps[0] += 1
    if steps[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)
merge_folders(Merge("soup"), [below / "a", below / "b"], below / "out", progress=die)
"""
FULL_DISK = """
import resource, sys
from pathlib import Path
from numembed.core.errors import StoreFull
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    merge_folders(Merge("soup"), [below / "a", below / "b"], below / "out")
except StoreFull as error:
    print(error)
"""
PEAK = """
import sys
from pathlib import Path
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
below, merge = Path(sys.argv[1]), Merge(sys.argv[2], scope=sys.argv[3])
def peak():  # getrusage would tell the peak of the process that has started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
merge_folders(merge, [below / "small-a", below / "small-b"], below / "small-out")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is there now
before = peak()
merge_folders(merge, [below / "a", below / "b"], below / "out")
print(peak() - before)
"""


def _python(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_a_stopped_merge_leaves_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    before, seen = sorted(tmp_path.iterdir()), []

    def stop(done: int, total: int, note: str) -> None:
        seen.append((done, total, note))
        if done > total / 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        merge_folders(SOUP, two, tmp_path / "out", progress=stop)
    assert len(seen) > 2 and sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_full_disk_is_reported_in_a_sentence_and_leaves_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = _python(FULL_DISK, tmp_path)
    assert done.stdout.startswith("The disk is full: 'out' could not be saved"), done.stderr[-2_000:]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 30, 40])
def test_a_merge_killed_at_any_step_leaves_no_model_and_the_next_one_sweeps(
    two: tuple[Path, Path], tmp_path: Path, step: int
) -> None:
    assert _python(SELF_KILLED, tmp_path, step).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".tmp-out").is_dir() and not is_whole(tmp_path / ".tmp-out")
    assert is_whole(merge_folders(SOUP, two, tmp_path / "out").folder)
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b", "out"}


@pytest.mark.slow
def test_kills_at_random_moments_leave_only_whole_models(two: tuple[Path, Path], tmp_path: Path) -> None:
    whole = 0
    moments = random.Random(5)
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr.read() if process.stderr else ""
        assert process.stderr is not None
        process.stderr.close()
        for folder in tmp_path.glob("out-*"):
            assert is_whole(folder), folder
            whole += 1
            shutil.rmtree(folder)
        (tmp_path / "ready").unlink()
    assert whole > 12


@pytest.mark.slow
@pytest.mark.parametrize(("method", "scope"), [("soup", "tensor"), ("slerp", "flat")])
def test_memory_holds_a_few_tensors_and_not_the_models(tmp_path: Path, method: str, scope: str) -> None:
    random_numbers = np.random.default_rng(0)
    for name, count in (("small-a", 1), ("small-b", 1), ("a", 24), ("b", 24)):
        tensors = {
            f"w{n}": ("F32", random_numbers.standard_normal((1024, 1024), dtype=np.float32)) for n in range(count)
        }
        write_weights(tmp_path / name, tensors)
    done = _python(PEAK, tmp_path, method, scope)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert 2**20 < int(done.stdout) < 24 * 2**20, "four tensors more than for one, of 96 MiB a model"


@pytest.mark.slow
def test_shards_of_bfloat16_need_no_more_memory_than_parts_and_one_shard(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_sharded(tmp_path / f"small-{name}", seed=seed, shapes=[(4, 4)])
        for file in write_sharded(tmp_path / name, seed=seed).glob("*.safetensors"):
            assert SHARD_BYTES <= file.stat().st_size < SHARD_BYTES + 4_096
    done = _python(PEAK, tmp_path, "slerp", "flat")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert SHARD_BYTES // 4 < int(done.stdout) < 3 * SHARD_BYTES
