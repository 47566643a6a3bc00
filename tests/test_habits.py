"""The tests' own rules: no file is long, and their folders are those of what they test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 400
EXTRAS = {  # folders of tests that are no folders of the product
    *("benchmarks", "browser", "contracts", "docs", "faults", "fixtures", "golden", "pages", "servers"),
}


def _lengths() -> dict[str, int]:
    files = (ROOT / "tests").rglob("*.py")
    return {file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in files}


def _without_a_counterpart(files: list[str]) -> list[str]:
    """Return the folders of ``files`` that mirror no folder of numembed/ or ui/ and are none of EXTRAS."""
    folders = {"/".join(file.split("/")[1:-1]) for file in files}
    return sorted(
        folder
        for folder in folders
        if folder.split("/")[0] not in EXTRAS
        and not any((ROOT / top / folder / "__init__.py").is_file() for top in ("numembed", "ui"))
    )


def test_no_test_file_is_long() -> None:
    assert {file: length for file, length in _lengths().items() if length > LONGEST} == {}


def test_folders_of_tests_are_those_of_the_product() -> None:
    files = list(_lengths())
    assert len(files) > 100 and _without_a_counterpart(files) == []


def test_the_rules_can_fail() -> None:
    made = ["tests/models/hub/test_card.py", "tests/ladder/test_run.py", "tests/hub/test_card.py", "tests/test_docs.py"]
    assert _without_a_counterpart([*made, "tests/browser/test_merge.py"]) == ["hub", "ladder"]
