"""A model is found, read about, changed and compared, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from numembed.models.catalogue.names import CATALOGUE
from tests import tiny
from tests.browser.conftest import Server
from tests.browser.test_journeys import finished, run, settled

pytestmark = pytest.mark.slow


def test_a_model_is_found_shortened_and_compared(server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{server.url}/models")
    models = page.get_by_role("table", name="Models, one a row")
    expect(models.locator("tbody tr")).to_have_count(len(CATALOGUE))
    page.get_by_role("button", name="is here already").click()
    expect(models.locator("tbody tr")).to_have_count(2)  # and number-lm
    models.get_by_role("row", name="all-MiniLM-L6-v2").click()
    expect(page.get_by_role("heading", name="all-MiniLM-L6-v2")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Compare this model").click()
    expect(page.get_by_role("heading", name="How do embedding models see numbers?")).to_be_visible()
    expect(page.get_by_text("all-MiniLM-L6-v2").first).to_be_visible()


def test_options_work_on_stored_vectors_and_every_load_is_checked(
    server: Server, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    models = "models=all-MiniLM-L6-v2&models=all-MiniLM-L6-v2%20dim%3D32&models=all-MiniLM-L6-v2%20precision%3Dbinary"
    page.goto(f"{server.url}/?{models}")
    run(page)
    finished(page)
    scores = page.get_by_role("table", name="Scores of each model")
    expect(scores.get_by_role("row", name="all-MiniLM-L6-v2 dim=32")).to_contain_text("✓")
    page.locator("summary", has_text="How the models read the text").click()
    split = page.get_by_role("table", name="How each model splits the text into tokens")
    expect(split.get_by_text("[CLS]").first).to_be_visible()
    expect(split.get_by_role("row").nth(1)).to_contain_text("50 of 50")
    page.get_by_role("button", name="24 sequences of 6 families").click()
    cost = page.get_by_role("table", name="What will be computed for each model")
    expect(cost.get_by_role("row", name="all-MiniLM-L6-v2 dim=32")).to_contain_text("24 of 24")


def test_a_model_that_fails_its_check_runs_only_when_asked_and_says_so(
    server: Server, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    folder = tiny.write_model(tmp_path / "unlisted")
    (folder / "modules.json").unlink()
    page = new_page()
    page.goto(f"{server.url}/?models=last_digits&models={folder}&per_family=3")
    run(page)
    expect(page.get_by_text("unlisted did not pass its check and was not run")).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Run them anyway").click()
    finished(page)
    expect(page.get_by_text("unlisted ran although its check failed")).to_be_visible()
    row = page.get_by_role("table", name="Scores of each model").get_by_role("row", name="unlisted")
    expect(row).to_contain_text("⚠ failed")
    row.click()
    expect(page.locator(".stMarkdown", has_text="⚠ unlisted (check failed)").first).to_be_visible()
