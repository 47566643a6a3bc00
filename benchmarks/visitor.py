"""A visitor of a page without a browser: it speaks Streamlit's protocol over a websocket."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_FINISHED = (0, 3)  # the whole page, a fragment: ForwardMsg.ScriptFinishedStatus


class Visitor:
    """One session of a server: it keeps what a browser keeps, and answers as a browser does."""

    def __init__(
        self,
        url: str,
        path: str = "",
        query: str = "",
        *,
        timeout: float = 60,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        self.messages: list[Any] = []  # of the newest run
        self.elements: dict[str, Any] = {}  # widgets by their key, of all runs
        self.received, self.cut = 0, 0  # bytes; runs that another one ended
        self._fragments: dict[str, str] = {}  # the part of the page that a widget's click runs alone, by key
        self._states: dict[str, dict[str, Any]] = {}
        self._hashes: dict[str, int] = {}
        self._page, self._query, self._timeout, self._run = "", query, timeout, 0
        address = f"ws://{urlsplit(url).netloc}/_stcore/stream"
        self.socket = connect(
            address,
            subprotocols=[Subprotocol("streamlit")],
            additional_headers=headers,
            max_size=None,
            compression=None,
            proxy=None,
            legacy=True,
        )
        self.rerun(page=path)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def rerun(
        self, changed: Mapping[str, Mapping[str, Any]] | None = None, *, page: str = "", fragment: str = ""
    ) -> float:
        """Send the widgets that ``changed`` (by id) and wait for the page; return the seconds until it was finished."""
        began = time.perf_counter()
        self.send(changed or {}, page=page, fragment=fragment)
        self.messages = list(self.answers())
        return time.perf_counter() - began

    def send(self, changed: Mapping[str, Mapping[str, Any]], *, page: str = "", fragment: str = "") -> None:
        """Send the widgets that ``changed`` (by id), and wait for nothing."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        self._states.update({name: dict(state) for name, state in changed.items()})
        self._run += 1
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash, state.page_name = self._query, "" if page else self._page, page
        state.fragment_id = fragment
        state.context_info.timezone, state.context_info.color_scheme = "UTC", "light"
        for name, values in self._states.items():
            _set(state.widget_states.widgets.add(id=name), values)
        # a browser forgets what two further runs did not show
        self._hashes = {name: run for name, run in self._hashes.items() if run >= self._run - 3}
        state.cached_message_hashes.extend(self._hashes)
        self.socket.send(message.SerializeToString())
        self._states = {name: state for name, state in self._states.items() if "trigger_value" not in state}

    def click(self, key: str, **values: Any) -> float:
        """Give the widget that has this key a value, as ``string_value="…"``; return the seconds until all is drawn."""
        return self.rerun({self.elements[key].id: values}, fragment=self._fragments[key])

    def place_of(self, key: str) -> str:
        """Return the part of the page that a click on this widget runs alone; "" where it runs the whole page."""
        return self._fragments[key]

    @property
    def text(self) -> str:
        """All words of the newest run, as they were sent."""
        return "\n".join(str(message) for message in self.messages)

    @property
    def raw_errors(self) -> list[str]:
        """What the newest run shows that is no sentence: an exception, or that the program has an internal error."""
        deltas = (message.delta.new_element for message in self.messages if message.WhichOneof("type") == "delta")
        raw = [str(one.exception) for one in deltas if one.WhichOneof("type") == "exception"]
        return raw + (["internal error"] if "internal error" in self.text else [])

    def answers(self) -> Iterator[Any]:
        """Yield what comes until the page, or a part of it, is finished."""
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        while True:
            raw = self.socket.recv(timeout=self._timeout)
            self.received += len(raw)
            message = ForwardMsg.FromString(raw)
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self._page = message.new_session.page_script_hash
            elif kind == "ref_hash":
                self._hashes[message.ref_hash] = self._run
            elif message.metadata.cacheable:
                self._hashes[message.hash] = self._run
            if kind == "delta":
                self._remember(message.delta)
            yield message
            self.cut += kind == "script_finished" and message.script_finished not in _FINISHED
            if kind == "script_finished" and message.script_finished in _FINISHED:
                return

    def _remember(self, delta: Any) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        made = getattr(element, element.WhichOneof("type"))
        name = getattr(made, "id", "")
        if name:
            key = name.split("-", 2)[-1]  # $$ID-digest-key
            self.elements[key], self._fragments[key] = made, delta.fragment_id


def _set(state: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, list):
            getattr(state, name).data.extend(value)
        else:
            setattr(state, name, value)
