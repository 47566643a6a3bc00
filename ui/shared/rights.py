"""Who may start, stop and delete: on this machine everybody; at another address what the operator says."""

from __future__ import annotations

import ipaddress

import streamlit as st

from numembed.core.errors import BadChoice
from numembed.core.settings import RunLimits
from ui.shared.frame import settings

_LOOK_ONLY = (
    "This app is shared for looking only: stored results are shown, and nothing can be started, stopped or deleted. "
    "Its operator can allow that to everybody with open = true in operator.toml."
)
_EVERYBODY = "Everybody who can open this page can start, stop and delete all runs and stored vectors, yours too."


def is_shared() -> bool:
    """Return True where the server listens at another address than this machine's own."""
    return not _is_loopback(st.get_option("server.address") or "0.0.0.0")  # Streamlit's default: all


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def looks_only() -> bool:
    """Return True where visitors can only look at what is stored."""
    return is_shared() and not settings().open


def may_get() -> bool:
    """Return True where visitors can get models of packages, which takes room on this machine."""
    return not is_shared() or (settings().open and settings().allow_get)


def requester() -> tuple[str, RunLimits | None]:
    """Return whose turn a visitor's runs take in the queue, and the limits for them; on this machine there are none.

    It is the name of the sign-in, else the address: behind a proxy the last one in the header that the operator names.
    """
    if name := st.user.get("email") or st.user.get("name"):
        return str(name), settings().limits
    header = settings().visitor_header
    address = st.context.headers.get(header, "").split(",")[-1].strip() if header else st.context.ip_address
    if not address or _is_loopback(address):
        return "", None
    return address, settings().limits


def refuse_lookers() -> None:
    """Raise BadChoice where visitors can only look; called before anything is started, stopped or deleted."""
    if looks_only():
        raise BadChoice("Nothing was changed: this app is shared for looking only.")


def tell_lookers() -> None:
    """Say above every page that visitors can only look, where that is so."""
    if looks_only():
        st.info(_LOOK_ONLY, icon=":material/visibility:")


def tell_everybody() -> None:
    """Say where everything is everybody's; before a visitor leaves something here."""
    if is_shared() and settings().open:
        st.caption(_EVERYBODY)
