"""Where models run, and how the memory that they took is given back."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from numembed.core.errors import ModelUnavailable

_BFLOAT16 = re.compile(r"^flags\s*:.*\b(?:amx_bf16|avx512_bf16)\b", re.MULTILINE)


def device_of(wanted: str) -> str:
    """Return where models run: what the operator says, else the best there is. Raises ModelUnavailable."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, available in there.items() if available)
    if not there[wanted]:
        raise ModelUnavailable(f"NUMEMBED_DEVICE asks for {wanted}, which this machine does not have. Leave it out.")
    return wanted


def device_memory(wanted: str) -> tuple[str, str, int]:
    """Return (device, its name, its memory in bytes); 0 bytes for a processor, whose memory is the machine's."""
    import torch

    device = device_of(wanted)
    if device == "cuda":
        facts = torch.cuda.get_device_properties(0)
        return device, str(facts.name), int(facts.total_memory)
    return device, device.upper(), int(torch.mps.recommended_max_memory()) if device == "mps" else 0


def has_bfloat16(device: str) -> bool:
    """Return True where a device has units that multiply bfloat16: on a processor AMX or AVX512-BF16, as Linux says."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    with contextlib.suppress(OSError):
        return device == "cpu" and bool(_BFLOAT16.search(Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    return False


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums that several share end in other digits on some processors."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle_threads() -> None:
    """Bring torch's libraries into the state in which :func:`one_thread` leaves them.

    Before the first such call they choose their threads themselves, and sums end in other digits.
    """
    import torch

    torch.set_num_threads(torch.get_num_threads())


def give_back_memory() -> None:
    """Return freed memory to the system; C libraries and graphics cards keep it otherwise."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def available_memory() -> int | None:
    """Return the bytes of memory that a process may still take, by the machine and its container; None if unknown."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        facts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        used = int((group / "memory.current").read_text(encoding="ascii")) - int(facts.get("inactive_file", 0))
        limits += [int(limit) - used] if limit.isdigit() else []
    except (OSError, ValueError, IndexError):
        pass  # no Linux, or no container: what is known counts
    return min(limits, default=None)
