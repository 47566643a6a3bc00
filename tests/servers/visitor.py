"""A visitor of the app without a browser: it speaks Streamlit's protocol over a websocket."""

from __future__ import annotations

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol


def visit(url: str, query: str, *, seconds: float = 60.0) -> str:
    """Open a link in a session of its own and leave; return all that the server sent, as one text.

    Raises TimeoutError where the page is not there in time.
    """
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    protocols = [Subprotocol("streamlit")]
    with connect(address, subprotocols=protocols, origin=url, max_size=None) as session:  # type: ignore[arg-type]
        message = BackMsg()
        message.rerun_script.query_string = query
        session.send(message.SerializeToString())
        return _page(session, seconds)


def _page(session: ClientConnection, seconds: float) -> str:
    """Return what comes until the page is drawn; a link is opened within the frame, in a second run."""
    seen: list[str] = []
    while True:
        message = ForwardMsg()
        message.ParseFromString(session.recv(timeout=seconds))  # type: ignore[arg-type]
        seen.append(str(message))
        if message.WhichOneof("type") == "script_finished" and message.script_finished == 0:
            return "\n".join(seen)
