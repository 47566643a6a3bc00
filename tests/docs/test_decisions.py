"""Every decision has its record in one form, a number of its own, and a row in the index."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import DOCUMENTS, read

RECORDS = [name for name in DOCUMENTS if re.search(r"/decisions/\d", name)]


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_has_its_three_parts_and_its_row(record: str) -> None:
    text, file = read(record), record.rpartition("/")[2]
    title, *parts = re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in parts] == ["Context", "Decision", "When to revisit"]
    assert all(len(part.partition("\n")[2].strip()) > 20 for part in parts)
    number, _, name = title.strip().partition(". ")
    assert file.startswith(f"{number}-")
    assert f"| {number} | [{name}]({file}) |" in read("docs/decisions/README.md").splitlines()


def test_the_numbers_are_one_to_the_last_and_each_row_has_a_record() -> None:
    numbers = [int(name.rpartition("/")[2][:3]) for name in RECORDS]
    assert numbers == list(range(1, len(RECORDS) + 1)) and len(RECORDS) >= 25
    assert len(re.findall(r"^\| \d{3} ", read("docs/decisions/README.md"), re.MULTILINE)) == len(RECORDS)
