"""The paper's Table 2 as data, against a verbatim copy of the table."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from numembed.paper.published import TABLE_2, PublishedScore, published

TABLE = Path(__file__).parents[1] / "golden" / "table2.csv"
HEAVY = {"pandas", "torch", "sklearn", "transformers", "sentence_transformers", "streamlit", "plotly"}


def _lines() -> list[list[str]]:
    with TABLE.open(encoding="utf-8", newline="") as opened:
        return list(csv.reader(opened))


def test_the_copy_has_the_columns_that_the_fields_stand_for() -> None:
    printed = [name.replace("_families", "_true") for name in PublishedScore.__dataclass_fields__]
    assert printed[:5] == _lines()[0] and all(astuple(line)[5:] == (None, None, None) for line in TABLE_2)


def test_the_table_is_transcribed_number_by_number_and_in_order() -> None:
    printed = [[line.model, *(f"{value:.4f}" for value in astuple(line)[1:5])] for line in TABLE_2]
    assert printed == _lines()[1:] and len(printed) == 14


@pytest.mark.parametrize("line", TABLE_2, ids=[line.model for line in TABLE_2])
def test_a_published_line_is_found_by_the_papers_name(line: PublishedScore) -> None:
    assert published(line.model) is line


@pytest.mark.parametrize("name", ["", "all-MiniLM-L6-v2", "GritLM", "gritlm-7b"])
def test_a_model_that_the_paper_does_not_have_has_no_line(name: str) -> None:
    assert published(name) is None


def test_the_best_line_is_the_one_that_the_paper_names() -> None:
    assert max(TABLE_2, key=lambda line: line.silhouette_families) is published("Qwen3 Embedding(8B)")
    assert min(TABLE_2, key=lambda line: line.davies_bouldin_families) is published("Qwen3 Embedding(8B)")


def test_reading_the_table_imports_nothing_heavy() -> None:
    printed = "import sys, numembed.paper; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True, check=True, timeout=240)
    assert not HEAVY & set(done.stdout.split())
