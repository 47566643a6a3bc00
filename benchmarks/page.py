"""What a visitor waits for, in a real browser, beside an empty Streamlit app on the same machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import Figure

Log = int | IO[bytes]
ROOT = Path(__file__).parents[1]
ROUNDS = 7
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
EMPTY = "import streamlit as st\nst.write('READY')\n"


@contextlib.contextmanager
def app(script: Path, home: Path) -> Iterator[tuple[str, int]]:
    """Serve a Streamlit script; yield its address and process number."""
    server, url = served(script, home)
    try:
        yield url, server.pid
    finally:
        server.terminate()
        server.wait()


def served(
    script: Path, home: Path, *, log: int | IO[bytes] = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a Streamlit script; return its process and its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "NUMEMBED_HOME": str(home), "HF_HUB_OFFLINE": "1", "NUMEMBED_PREWARM": "0"}
    choices = {"port": str(port), "headless": "true", "fileWatcherType": "none"}
    flags = [word for name, value in choices.items() for word in (f"--server.{name}", value)]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", script.name, *flags, "--browser.gatherUsageStats", "false"],
        cwd=script.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
            break
        time.sleep(0.1)
    return server, f"http://127.0.0.1:{port}"


def waited(browser: Any, url: str, *locators: str) -> list[float]:
    """Return the seconds from going to ``url`` until each locator is seen, in a new browser context."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began, seen = time.perf_counter(), []
    page.goto(url)
    for locator in locators:
        page.locator(locator).first.wait_for(timeout=60_000)
        seen.append(time.perf_counter() - began)
    context.close()
    return seen


def reruns_cpu(browser: Any, url: str, process: Any, count: int = 20) -> float:
    """Return the server's CPU seconds for one rerun: a click on a widget beside a full page of results."""
    page = browser.new_page()
    page.goto(url)
    page.locator(".js-plotly-plot").first.wait_for()
    page.wait_for_timeout(2_000)
    before = sum(process.cpu_times()[:2])
    for i in range(count):
        page.get_by_role("radio", name=("UMAP", "PCA")[i % 2]).click(force=True)
        page.get_by_text(("UMAP, 15 neighbours", "PCA, shows")[i % 2]).first.wait_for()
    spent = sum(process.cpu_times()[:2]) - before
    page.close()
    return float(spent / count)


def page() -> list[Figure]:
    """First text and first map beside an empty app's first text; memory of the server; CPU of a rerun."""
    import psutil
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "empty.py").write_text(EMPTY)
        subprocess.run(
            [sys.executable, "-m", "numembed", "run"],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "NUMEMBED_HOME": name, "HF_HUB_OFFLINE": "1"},
        )
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        empty, first, mapped = [], [], []
        with app(folder / "empty.py", folder) as (empty_url, empty_pid), app(ROOT / "app.py", folder) as (url, pid):
            for _ in range(ROUNDS + 1):
                empty += waited(browser, empty_url, "text=READY")
                shown, drawn = waited(browser, url, "h1", ".js-plotly-plot .points path")
                first.append(shown)
                mapped.append(drawn)
            memory = [psutil.Process(number).memory_info().rss / 2**20 for number in (empty_pid, pid)]
            rerun = reruns_cpu(browser, url, psutil.Process(pid))
        browser.close()
    base, shown, drawn = (statistics.median(values[1:]) for values in (empty, first, mapped))
    print(f"empty app: text {base:.2f} s (first visit {empty[0]:.2f}), {memory[0]:.0f} MB")
    print(
        f"Compare:   text {shown:.2f} s (first visit {first[0]:.2f}), map {drawn:.2f} s "
        f"(first visit {mapped[0]:.2f}), {memory[1]:.0f} MB, rerun {rerun * 1000:.0f} ms of server CPU"
    )
    return [
        Figure("page first text", shown / base, 1.5, at_most=True),
        Figure("page first text, first visit of a server", first[0] / empty[0], 1.5, at_most=True),
        Figure("page first map", drawn / base, 3.0, at_most=True),
        Figure("page memory beyond the empty app, MB", memory[1] - memory[0], 60, at_most=True),
        Figure("page CPU of a rerun, ms", rerun * 1000, 80, at_most=True),
    ]
