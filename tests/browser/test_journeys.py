"""Whole stories in a real browser, from opening the page to the answer."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from numembed.runs.jobs import JobTable
from numembed.storage.vectors import VectorStore
from tests import tiny
from tests.browser.conftest import Server

pytestmark = pytest.mark.slow
BASELINES = "models=last_digits&models=string_length"
MINUTES = 300_000  # a cold worker compiles UMAP on its first use
LONG = "models=all-MiniLM-L6-v2&per_family=150&length=40"


def run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()


def settled(page: Page) -> None:
    """Wait until the server has answered the last click and the browser has drawn it."""
    expect(page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_attached()
    page.wait_for_timeout(500)


def finished(page: Page) -> None:
    expect(page.get_by_role("table", name="Scores of each model")).to_be_visible(timeout=MINUTES)
    expect(page.locator(".stProgress")).to_have_count(0, timeout=MINUTES)


def test_open_run_result_and_a_link_that_restores_it(server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(server.url)
    run(page)
    expect(page.locator(".stProgress").first).to_be_visible()
    finished(page)
    expect(page.get_by_role("heading", name="no more than chance was seen (silhouette −0.09")).to_be_visible()
    scores = page.get_by_role("table", name="Scores of each model")
    expect(scores.get_by_role("row")).to_have_count(2 + 8)
    expect(scores.get_by_role("row", name="all-MiniLM-L6-v2")).to_contain_text("3.10")
    expect(page.locator(".js-plotly-plot")).to_have_count(1 + 8)
    expect(page.get_by_text("t-SNE, perplexity 6 (paper: 10), 1,000 iterations")).to_be_visible()

    # sorting by a heading, selecting by a row
    scores.get_by_role("button", name="Silhouette").first.click()
    expect(scores.locator("tbody tr").first).to_contain_text("Last digits")
    scores.get_by_role("row", name="First differences").click()
    expect(scores.get_by_role("row", name="First differences")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".stMarkdown", has_text="First differences").first).to_be_visible()

    # a point in a map selects its sequence in the table, a row of the table lights its points in the maps
    settled(page)
    page.locator(".js-plotly-plot").first.locator(".points path").nth(5).click(force=True)
    expect(page.get_by_text("1 sequence selected")).to_be_visible()
    page.locator("summary", has_text="The sequences").click()
    items = page.get_by_role("table", name="The sequences")
    expect(items.locator('tr[aria-selected="true"]')).to_have_count(1)
    items.locator("tbody tr").nth(12).click()
    expect(page.get_by_text("1 sequence selected: Primes")).to_be_visible()
    faded = page.locator(".js-plotly-plot").nth(2).locator('.points path[style*="opacity: 0.15"]')
    expect(faded).to_have_count(23)
    page.get_by_role("button", name="Clear selection").click()
    expect(page.get_by_text("sequence selected")).to_have_count(0)

    # 3-D, UMAP, and the downloads
    page.get_by_role("radio", name="UMAP").click(force=True)
    expect(page.get_by_text("UMAP, 15 neighbours")).to_be_visible()
    page.get_by_role("radio", name="3-D").click(force=True)
    expect(page.locator(".js-plotly-plot .gl-container").first).to_be_attached()
    settled(page)  # a click on a button of the drawing before is refused: its data are no longer kept
    with page.expect_download() as download:
        page.get_by_role("button", name="Table (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(rows) == 8 * 6
    assert abs(float(rows[0]["value"]) - -0.0922) < 0.002
    with page.expect_download() as download:
        page.get_by_role("button", name="Maps (HTML)").click()
    whole = Path(download.value.path())
    offline = new_page()
    offline.goto(server.url)  # the watcher of requests then sees the file's own
    offline.set_content(whole.read_text(), wait_until="load")
    expect(offline.locator(".js-plotly-plot")).to_have_count(3)


def test_a_link_opened_elsewhere_restores_the_choice(server: Server, new_page: Callable[..., Page]) -> None:
    first = new_page()
    first.goto(f"{server.url}/?{BASELINES}&families=primes&families=even&length=20")
    run(first)
    finished(first)
    second = new_page()
    second.goto(first.url)
    finished(second)
    expect(second.get_by_role("table", name="Scores of each model").locator("tbody tr")).to_have_count(2)
    expect(second.get_by_text("8 sequences of 2 families").first).to_be_visible()


def test_a_reload_and_a_second_tab_find_the_run_and_cancel_keeps_what_is_done(
    server: Server, new_page: Callable[..., Page]
) -> None:
    first, second = new_page(), new_page()
    for page in (first, second):
        page.goto(f"{server.url}/?{LONG}")
    run(first)
    run(second)
    expect(first.get_by_text(re.compile(r"[1-9]\d* of 900"))).to_be_visible(timeout=MINUTES)
    with JobTable(server.home / "app.db") as jobs:
        assert [job.state for job in jobs.recent() if job.request.per_family == 150] == ["running"]
    first.reload()
    expect(first.get_by_text("of 900")).to_be_visible()
    first.get_by_role("link", name="Runs").click()
    expect(first.get_by_role("table", name="Runs, newest first").get_by_role("row", name="running")).to_be_visible()
    second.get_by_role("button", name="Cancel").click()
    expect(second.get_by_text("This run was stopped")).to_be_visible(timeout=60_000)
    with VectorStore(server.home / "cache.db") as vectors:
        kept = sum(model.vectors for model in vectors.models())
    assert kept > 24
    second.reload()
    expect(second.get_by_text("This run was stopped")).to_be_visible()


@pytest.mark.parametrize("path", ["sequences", "runs"])
def test_a_cold_deep_link_has_the_whole_frame(own_server: Server, new_page: Callable[..., Page], path: str) -> None:
    page = new_page()
    page.goto(f"{own_server.url}/{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Compare")).to_be_visible()
    expect(page).to_have_title("numembed")
    assert page.url.endswith(path)


def test_a_cold_deep_link_keeps_every_model_that_it_names(own_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{own_server.url}/compare?models=last_digits&models=string_length&families=primes&families=even")
    expect(page.get_by_text("8 sequences of 2 families").first).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_sees_every_page_without_scrolling_sideways(
    server: Server, new_page: Callable[..., Page], scheme: str
) -> None:
    page = new_page(width=390, height=844, scheme=scheme)
    for path in (
        f"?{BASELINES}&families=primes&families=even&length=20",
        "explain",
        "generalise",
        "robustness",
        "maps",
        "sequences",
        "runs",
    ):
        page.goto(f"{server.url}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.querySelector('.stMain').scrollWidth") <= 390


def test_the_keyboard_alone_reaches_a_map(server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{server.url}/?{BASELINES}&families=primes&families=even&length=20")
    finished_or_run = page.get_by_role("button", name="Run", exact=True)
    finished_or_run.focus()
    page.keyboard.press("Enter")
    finished(page)
    row = page.get_by_role("table", name="Scores of each model").get_by_role("row", name="String length")
    row.focus()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("aria-selected", "true")
    expect(page.locator(".stMarkdown", has_text="String length").first).to_be_visible()


def test_a_name_is_never_markup(server: Server, new_page: Callable[..., Page], tmp_path: Path) -> None:
    name = "<img src=http://evil.example/x onerror=window.PWN=1> ![a](http:evil.example) [b](http:evil.example)"
    folder = tiny.write_model(tmp_path / name.replace("/", "∕"))
    page = new_page()
    page.goto(server.url)
    settled(page)
    page.locator('[data-testid="stMultiSelect"] input').first.fill(str(folder))
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    run(page)
    expect(page.locator(".stProgress").first).to_be_visible()
    finished(page)
    scores = page.get_by_role("table", name="Scores of each model")
    scores.locator("tbody tr", has_text="<img").click()
    page.wait_for_timeout(1500)
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("table", name="Runs, newest first")).to_be_visible()
    assert page.evaluate("window.PWN") is None
    assert page.locator('a[href*="evil"], img[src*="evil"]').count() == 0


def test_server_and_worker_killed_in_the_middle_of_a_run_lose_nothing(
    own_server: Server, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = new_page()
    page.goto(f"{own_server.url}/?models=all-MiniLM-L6-v2&models=last_digits&per_family=20&length=30")
    run(page)
    expect(page.get_by_text(re.compile(r"[1-9]\d* of 120"))).to_be_visible(timeout=MINUTES)
    worker = next(
        child for child in psutil.Process(own_server.process.pid).children() if "worker" in str(child.cmdline())
    )
    own_server.kill()
    os.kill(worker.pid, signal.SIGKILL)
    with VectorStore(own_server.home / "cache.db") as vectors:
        before = sum(model.vectors for model in vectors.models())
    own_server.start()
    page.goto(f"{own_server.url}/?models=all-MiniLM-L6-v2&models=last_digits&per_family=20&length=30")
    finished(page)
    with JobTable(own_server.home / "app.db") as jobs, VectorStore(own_server.home / "cache.db") as vectors:
        assert [job.state for job in jobs.recent()] == ["done"]
        kept = {model.name: model.vectors for model in vectors.models()}
        assert kept == {"all-MiniLM-L6-v2": 120, "all-MiniLM-L6-v2 weights=random": 120} and before <= 240
