"""``python -m benchmarks --write``: the rows of what ran are replaced, all others stay."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

import pytest

import benchmarks.__main__ as program
import benchmarks.maps
from benchmarks.measure import Figure
from benchmarks.report import Ran, replaced, write_report
from tests.docs.documents import read

ORDER = list(program.TOPICS)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "benchmarks.md"
    file.write_text(read("docs/benchmarks.md"), encoding="utf-8")
    return file


def _rows(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]


def test_what_ran_is_written_with_its_machine_and_the_others_stay(report: Path) -> None:
    before = report.read_text(encoding="utf-8")
    figures = (Figure("a share | of all", 1234.5, 2000, at_most=True), Figure("a ratio", 0.5, 3))
    write_report(report, [Ran("wire", "What it compares.", figures)], ORDER)
    after = report.read_text(encoding="utf-8")
    first, second, run = _rows(after, "wire")
    assert first == "| `wire` | a share \\| of all | 1,234 | ≤ 2,000 | reached |"
    assert second == "| `wire` | a ratio | 0.5 | ≥ 3 | **missed** |"
    today, python = datetime.date.today().isoformat(), platform.python_version()
    assert "| What it compares. | `python -m benchmarks wire` |" in run
    assert today in run and f"Python {python}, numpy " in run and " cores, " in run
    assert [line for line in before.splitlines() if "`wire`" not in line] == [
        line for line in after.splitlines() if "`wire`" not in line
    ]
    write_report(report, [Ran("wire", "What it compares.", figures)], ORDER)
    assert report.read_text(encoding="utf-8") == after


def test_a_new_benchmark_takes_its_place_in_the_order(report: Path) -> None:
    write_report(report, [Ran("card", "A card.", (Figure("share", 0.5, 0.4),))], ORDER)
    names = [line.split("`")[1] for line in report.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    places = [ORDER.index(name) for name in names]
    figures, runs = places[: -len(set(places))], places[-len(set(places)) :]
    assert figures == sorted(figures) and runs == sorted(runs) and names.count("card") == 2


def test_a_benchmark_that_measured_nothing_leaves_its_rows(report: Path) -> None:
    write_report(report, [Ran("wire", "What it compares.", ())], ORDER)
    assert report.read_text(encoding="utf-8") == read("docs/benchmarks.md")


def test_the_program_writes_what_it_prints(
    report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wire() -> list[Figure]:
        """What a map costs."""
        return [Figure("bytes a point", 20, 16, at_most=True)]

    monkeypatch.setattr(benchmarks.maps, "wire", wire)
    assert program.main(["wire", "--write", str(report)]) == 1
    printed = capsys.readouterr().out
    assert "python -m benchmarks wire" in printed and "MISSED" in printed
    assert "| `wire` | bytes a point | 20 | ≤ 16 | **missed** |" in report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_real_benchmark_is_written(report: Path) -> None:
    program.main(["wire", "--write", str(report)])
    figure = next(line for line in _rows(report.read_text(encoding="utf-8"), "wire") if "≤ 16" in line)
    assert 10 < float(figure.split("|")[3]) < 20


def test_a_table_without_its_markers_is_not_overwritten() -> None:
    with pytest.raises(SystemExit, match="markers of the table 'figures'"):
        replaced("no table here", "figures", {}, ORDER)


def test_every_benchmark_is_documented() -> None:
    text = read("docs/benchmarks.md")
    assert [name for name in ORDER if f"`{name}`" not in text] == []
    assert {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")} <= set(ORDER)
