"""The merging experiment as a visitor meets it: one click, curves, a verdict, a map that moves, and a model to keep."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from safetensors.numpy import load_file

from numembed.cli import main
from tests import tiny
from tests.browser.conftest import Server
from tests.browser.test_journeys import settled

pytestmark = pytest.mark.slow
MINUTES = 600_000
SMALL = "seeds=2&steps=12&stages=1&points=3"


def test_one_click_climbs_the_whole_ladder_and_its_models_can_be_kept(
    server: Server, new_page: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.write_model(tmp_path / "base")
    page = new_page()
    page.goto(f"{server.url}/merge?base={base}&{SMALL}")
    expect(page.get_by_text("24 training steps · up to")).to_be_visible()
    page.get_by_role("button", name="Run the merging experiment").click()
    expect(page.locator(".stProgress")).to_have_count(1)
    expect(page.get_by_text(re.compile("paths scored"))).to_be_visible(timeout=MINUTES)  # a part of it, as it comes
    expect(page.get_by_role("heading", name="What came out")).to_be_visible(timeout=MINUTES)
    expect(page.locator(".stProgress")).to_have_count(0)
    expect(page.get_by_text(re.compile("SLERP and Linear differ by")).first).to_be_visible()
    settled(page)

    # the map moves only when the slider does
    point = page.locator("[class*=st-key-morph] .scatterlayer .points path").first
    slider = page.locator("[class*=st-key-morph] .slider-rail-touch-rect")
    slider.scroll_into_view_if_needed()
    page.wait_for_timeout(1_000)
    before = point.get_attribute("transform")
    page.wait_for_timeout(1_000)
    assert point.get_attribute("transform") == before, "it plays by itself"
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.98 * box["width"], box["y"] + box["height"] / 2)
    expect(page.locator("[class*=st-key-morph] .slider-label").first).to_contain_text("1.5")
    page.wait_for_timeout(1_000)
    assert point.get_attribute("transform") != before

    # the link alone brings it back, on a phone too, and nothing is wider than the screen
    phone = new_page(width=390, scheme="dark")
    phone.goto(page.url)
    expect(phone.get_by_role("heading", name="What came out")).to_be_visible()
    expect(phone.get_by_role("heading", name="Which one do you want to keep?")).to_be_attached()
    settled(phone)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390

    # a merge is saved by a click, and what was saved is the next base
    _choose(page, "SLERP of updates, seeds 0 and 1")
    expect(page.get_by_role("textbox", name="Save it under the name")).to_have_value("base-slerp-task-0-1-t0.5")
    page.get_by_role("button", name="Save this model").click()
    expect(page.get_by_text(re.compile("is saved, with a card"))).to_be_visible(timeout=MINUTES)
    saved = server.home / "models" / "base-slerp-task-0-1-t0.5"
    assert (saved / "model.safetensors").is_file() and "## Scores" in (saved / "README.md").read_text(encoding="utf-8")

    # the command makes the same weights
    page.get_by_text("As a command").click()
    command = shlex.split(page.locator(".stCode code").inner_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMEMBED_HOME", str(server.home))
    assert main(command[3:]) == 0
    written, clicked = (load_file(folder / "model.safetensors") for folder in (tmp_path / "my-model", saved))
    assert all(np.abs(written[name] - clicked[name]).max() < 1e-5 for name in written)

    page.get_by_role("button", name="Use it as a base").click()
    expect(page.get_by_role("combobox", name="Base")).to_have_value(str(saved))
    expect(page.get_by_role("heading", name="What came out")).to_have_count(0)
    expect(page.get_by_role("button", name="Run the merging experiment")).to_be_enabled()

    # an adapter goes to Compare as it is, a saved merge by its folder
    page.goto(f"{server.url}/merge?base={base}&{SMALL}")
    expect(page.get_by_role("heading", name="Which one do you want to keep?")).to_be_attached()
    _choose(page, "LoRA, seed 1")
    page.get_by_role("button", name="Compare without saving").click()
    expect(page.get_by_role("heading", name="How do embedding models see numbers?")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("adapter=")).first).to_be_visible()
    page.goto(f"{server.url}/merge?base={base}&{SMALL}")
    expect(page.get_by_role("heading", name="Which one do you want to keep?")).to_be_attached()
    _choose(page, "SLERP of updates, seeds 0 and 1")
    page.get_by_role("button", name="Compare it").click()
    expect(page.get_by_role("heading", name="How do embedding models see numbers?")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("base-slerp-task-0-1")).first).to_be_visible()


def _choose(page: Page, path: str) -> None:
    """Choose the path of the model to keep; the list draws only the options that can be seen."""
    settled(page)
    box = page.get_by_role("combobox", name="Path")
    box.click()
    box.fill(path)
    page.get_by_role("option", name=path, exact=True).click()
    settled(page)
