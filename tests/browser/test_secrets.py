"""The operator's keys never travel to a browser: every frame of the websocket is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.test_journeys import MINUTES, run
from tests.faults.test_secrets import KEY, SECRETS, planted
from tests.servers import embeddings as servers
from tests.servers.embeddings import EmbeddingServer

pytestmark = pytest.mark.slow


def test_no_frame_to_the_browser_holds_a_secret(
    tmp_path: Path, new_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    home, frames = tmp_path / "home", list[bytes]()
    home.mkdir()
    with EmbeddingServer(otherwise=servers.echoing(401)) as refusing:
        told = f'[endpoints.lab]\nurl = "{refusing.url}"\nkey_env = "MY_ENDPOINT_KEY"\n'
        (home / "operator.toml").write_text(told)
        server = Server(home)
        try:
            page = new_page()
            page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(_bytes(frame))))
            page.goto(f"{server.url}/?models=endpoint:lab&families=primes&families=even&length=5")
            run(page)
            expect(page.get_by_text(re.compile("401|refused")).first).to_be_visible(timeout=MINUTES)
            for name in ("Models", "Runs"):
                page.get_by_role("link", name=name, exact=True).click()
                expect(page.get_by_role("heading").first).to_be_visible()
                page.wait_for_timeout(1_000)
        finally:
            server.stop()
    assert any(f"Bearer {KEY}" in str(request.headers) for request in refusing.requests)  # it was really sent
    sent = b"".join(frames)
    assert len(sent) > 10_000 and b"endpoint:lab" in sent and not planted(sent)


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
