"""Each line of .streamlit/config.toml, against a live server that reads this very file."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.visitor import Visitor
from tests.browser.conftest import ROOT, Server

pytestmark = pytest.mark.slow
FILE = ROOT / ".streamlit" / "config.toml"
APP = """
import gc
import time
import streamlit as st
st.session_state.setdefault("n", 3)
st.number_input("n", value=1, key="n")
st.text("long " * 400)
what = st.text_input("what", key="what")
st.file_uploader("file", key="file")
drawn = st.session_state.setdefault("drawn", [])
drawn.append(what or "nothing")
if what == "slow":
    time.sleep(0.4)
    drawn.append("slept")
if what == "large":
    st.text("x" * 51_000_000)
if what == "fails":
    raise RuntimeError("words of a fault")
st.text(f"collected {gc.get_stats()[2]['collections']}.")
st.text("drawn: " + ", ".join(drawn[-3:]))
"""
WARNING = "was created with a default value"  # in the log, once a server


def _lines() -> dict[str, Any]:
    """Return the options of the file with their values."""
    found: dict[str, Any] = {}

    def walk(name: str, part: Any) -> None:
        for key, value in part.items():
            if isinstance(value, dict):
                walk(f"{name}{key}.", value)
            else:
                found[f"{name}{key}"] = value

    walk("", tomllib.loads(FILE.read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of another app under the same file."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(FILE.parent, folder / ".streamlit")
    (folder / "app.py").write_text(APP)
    (folder / "static").mkdir()
    (folder / "static" / "own.txt").write_text("of a visitor")
    started = Server(folder / "home", folder)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def visitor(served: Server) -> Iterator[Visitor]:
    with Visitor(served.url) as one:
        yield one


def _session(visitor: Visitor) -> Any:
    visitor.rerun()
    return next(message.new_session for message in visitor.messages if message.HasField("new_session"))


def _answer(visitor: Visitor, what: str) -> list[Any]:
    """Return the messages of a run in which the page does ``what``."""
    visitor.click("what", string_value=what)
    answers = visitor.messages
    visitor.click("what", string_value="")
    return answers


def _status(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def only_this_machine(served: Server, visitor: Visitor) -> None:
    found = psutil.Process(served.process.pid).net_connections()
    listening = [one for one in found if one.status == psutil.CONN_LISTEN]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def foreign_hosts_are_refused(served: Server, visitor: Visitor) -> None:
    own, port = f"127.0.0.1:{served.port}", served.port
    hosts = (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
    )
    hosts += ("0.0.0.0", "10.0.0.1", "[::1]", "127.0.0.1@evil.example", "")
    origins = ("http://evil.example", "https://evil.example", "null", "file://", "http://127.0.0.1.evil.example")
    origins += (f"http://evil.example:{port}", "http://localhost.evil.example", "chrome-extension://evil")
    cases = [{"Host": host, "Origin": f"http://{host}"} for host in hosts]
    cases += [{"Host": own, "Origin": origin} for origin in origins]
    assert len(cases) == 18
    accepted = [case for case in cases if not _refused(served.url, case)]
    assert not accepted
    for host in (own, f"localhost:{port}"):
        assert not _refused(served.url, {"Host": host, "Origin": f"http://{host}"})


def _refused(url: str, headers: dict[str, str]) -> bool:
    asking = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    asking.putrequest("GET", "/_stcore/stream", skip_host=True)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for name, value in (headers | upgrade | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}).items():
        asking.putheader(name, value)
    asking.endheaders()
    status = asking.getresponse().status
    asking.close()
    return status != 101


def large_uploads_are_refused(served: Server, visitor: Visitor) -> None:
    session = _session(visitor).initialize.session_id

    def put(size: int) -> int:
        head, end = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n', b"\r\n--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"} | _xsrf(served)
        connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=30)
        connection.putrequest("PUT", f"/_stcore/upload_file/{session}/one")
        for name, value in (kind | {"Content-Length": str(len(head) + size + len(end))}).items():
            connection.putheader(name, value)
        connection.endheaders()
        if size < 2 * 2**20:  # a larger one is refused by its announced length, and the connection closed at once
            connection.send(head + bytes(size) + end)
        return connection.getresponse().status

    assert (put(1_900_000), put(3 * 2**20)) == (204, 413)


def _xsrf(served: Server) -> dict[str, str]:
    with urllib.request.urlopen(f"{served.url}/_stcore/health") as answer:
        cookie = str(answer.headers.get("Set-Cookie", "")).split(";")[0]
    return {"Cookie": cookie, "X-Xsrftoken": cookie.partition("=")[2]} if cookie else {}


def large_messages_are_not_sent(served: Server, visitor: Visitor) -> None:
    answers = _answer(visitor, "large")
    assert max(message.ByteSize() for message in answers) < 1_000_000
    assert any("maxMessageSize" in str(message) for message in answers)


def no_file_is_served(served: Server, visitor: Visitor) -> None:
    for path in ("/app/static/own.txt", "/static/own.txt"):
        try:
            with urllib.request.urlopen(served.url + path) as answer:
                assert b"of a visitor" not in answer.read()
        except urllib.error.HTTPError:
            continue


def changed_files_reload_nothing(served: Server, visitor: Visitor) -> None:
    os.utime(served.folder / "app.py")
    (served.folder / "app.py").write_text(APP + "\n# changed\n")
    heard, ends = [], time.monotonic() + 1.5
    with contextlib.suppress(TimeoutError):
        while (left := ends - time.monotonic()) > 0:
            heard.append(ForwardMsg.FromString(visitor.socket.recv(timeout=left)))
    assert not any(message.HasField("session_event") for message in heard)


def the_first_start_asks_nothing(served: Server, visitor: Visitor) -> None:
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        own = {**os.environ, "HOME": home, "DISPLAY": ":9", "PATH": ""}  # as on a desktop, where it would ask
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        pipe = subprocess.PIPE
        started = subprocess.Popen(command, cwd=served.folder, env=own, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                    return
                time.sleep(0.1)
            raise AssertionError("it waits for an answer")
        finally:
            started.terminate()
            started.communicate()


def values_by_key_and_default(served: Server, visitor: Visitor) -> None:
    with Visitor(served.url) as new:
        assert new.elements["n"].value == 3
    assert WARNING not in served.log.read_text(encoding="utf-8")


def unchanged_parts_are_not_sent_again(served: Server, visitor: Visitor) -> None:
    visitor.rerun()
    assert "long long" not in visitor.text
    assert any(message.HasField("ref_hash") for message in visitor.messages)


def a_click_waits_for_the_page(served: Server, visitor: Visitor) -> None:
    state = {"string_value": "slow"}
    with Visitor(served.url) as new:
        new.send({new.elements["what"].id: state})
        time.sleep(0.2)
        new.send({new.elements["what"].id: {"string_value": ""}})
        while ", nothing" not in new.text:
            new.messages = list(new.answers())
        assert "drawn: slow, slept, nothing" in new.text


def clicks_do_not_collect_what_all_visitors_hold(served: Server, visitor: Visitor) -> None:
    def collected() -> int:
        visitor.click("what", string_value="")
        return int(visitor.text.partition("collected ")[2].partition(".")[0])

    before = collected()
    for _ in range(20):
        last = collected()
    assert last - before < 10


def faults_are_not_shown(served: Server, visitor: Visitor) -> None:
    answers = "\n".join(map(str, _answer(visitor, "fails")))
    assert "exception {" in answers
    assert "words of a fault" not in answers
    assert 'app.py", line' not in answers and 'stack_trace: "' not in answers


def told(name: str, value: Any) -> Callable[[Server, Visitor], None]:
    """Return the test of what the browser is told when a session begins."""

    def check(served: Server, visitor: Visitor) -> None:
        found: Any = _session(visitor)
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value

    return check


TESTS: dict[str, Callable[[Server, Visitor], None]] = {
    "server.address": only_this_machine,
    "server.allowedHosts": foreign_hosts_are_refused,
    "server.maxUploadSize": large_uploads_are_refused,
    "server.maxMessageSize": large_messages_are_not_sent,
    "server.enableStaticServing": no_file_is_served,
    "server.fileWatcherType": changed_files_reload_nothing,
    "server.showEmailPrompt": the_first_start_asks_nothing,
    "global.disableWidgetStateDuplicationWarning": values_by_key_and_default,
    "global.minCachedMessageSize": unchanged_parts_are_not_sent_again,
    "runner.fastReruns": a_click_waits_for_the_page,
    "runner.postScriptGC": clicks_do_not_collect_what_all_visitors_hold,
    "client.showErrorDetails": faults_are_not_shown,
    "client.toolbarMode": told("config.toolbar_mode", 3),
    "client.disableDataExport": told("config.disable_data_export", True),
    "client.showSidebarNavigation": told("config.hide_sidebar_nav", True),
    "browser.gatherUsageStats": told("config.gather_usage_stats", False),
    "theme.baseRadius": told("custom_theme.base_radius", "medium"),
    "theme.light.primaryColor": told("custom_theme.light.primary_color", "#0B62A4"),
    "theme.dark.primaryColor": told("custom_theme.dark.primary_color", "#2A7AB9"),
    "theme.dark.linkColor": told("custom_theme.dark.link_color", "#5CB3F0"),
}


def test_every_line_has_its_test() -> None:
    assert sorted(_lines()) == sorted(TESTS)


@pytest.mark.parametrize("line", TESTS)
def test_a_line_does_what_it_says(line: str, served: Server, visitor: Visitor) -> None:
    TESTS[line](served, visitor)
