"""Links to large studies neither fill the memory of the web process nor hold up its pages."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from numembed.models.catalogue.names import model
from numembed.sequences import kept
from numembed.studies.study import Study, beginning_of
from tests.browser.conftest import Server
from tests.servers.visitor import visit

LARGEST = "families=primes&families=even&per_family=1000&length=2000&first_window="


@pytest.mark.slow
def test_links_to_the_largest_studies_do_not_fill_the_web_process(home: Path) -> None:
    server = Server(home)
    try:
        visit(server.url, "families=primes&families=even")
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        pages = [visit(server.url, f"{LARGEST}{window}") for window in range(12)]
        grown = (process.memory_info().rss - before) / 2**20
    finally:
        server.stop()
    assert grown < 60, f"{grown:.0f} MiB"  # each of the studies has sequences of 190 MiB
    assert all("2,000 sequences of 2 families" in page and "internal error" not in page for page in pages)


def _study(**choices: object) -> Study:
    return Study(("even", "odd"), (model("last_digits"),), **choices)  # type: ignore[arg-type]


def test_sequences_are_kept_by_size_and_the_last_ones_whatever_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_kept", kept.OrderedDict())
    monkeypatch.setattr(kept, "KEPT_BYTES", 100_000)
    small, other = _study(per_family=2, length=10), _study(per_family=2, length=10, seed=3)
    assert small.sequences is other.sequences  # the same sequences of another study
    for window in range(9):
        _ = _study(per_family=10, length=20, first_window=window).sequences
        assert kept.kept_bytes() <= 100_000
    assert 1 < len(kept._kept) < 9 and small.windows not in kept._kept
    large = _study(per_family=100, length=50)
    assert large.sequences is large.sequences and list(kept._kept) == [large.windows]


@pytest.mark.parametrize(
    ("families", "choices"),
    [
        (("even", "primes"), {"per_family": 100, "length": 100}),
        (("even", "primes"), {"per_family": 2_000, "length": 2}),
        (("powers_of_2", "fibonacci"), {"per_family": 4, "length": 20, "first_window": 500}),
    ],
)
def test_their_memory_is_foretold(families: tuple[str, ...], choices: dict[str, int]) -> None:
    windows = Study(families, (model("last_digits"),), **choices).windows  # type: ignore[arg-type]
    foretold, made = windows.expected_bytes, kept._bytes_of(kept.sequences_of(windows))
    assert made / 2 < foretold < 2 * made


def test_a_large_study_is_known_by_its_terms_and_by_its_memory() -> None:
    assert not _study(per_family=1_000, length=100).large and _study(per_family=1_000, length=101).large
    long = Study(("powers_of_2", "fibonacci"), (model("last_digits"),), per_family=400, length=25)
    assert long.large and long.texts * long.length < 200_000
    few = beginning_of(_study(per_family=1_000, length=2_000))
    assert few is not None and few.texts * few.length <= 20_000
    sixty = tuple(f"geometric:ratio=2,first={first}" for first in range(1, 61))
    assert beginning_of(Study(sixty, (model("last_digits"),), per_family=1, length=2_000, first_window=5)) is None
