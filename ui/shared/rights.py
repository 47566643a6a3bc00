"""Who may start, stop and delete: on this machine everybody; at another address what the operator says."""

from __future__ import annotations

import ipaddress

import streamlit as st

from numembed.core.errors import BadChoice
from ui.shared.frame import settings

_LOOK_ONLY = (
    "This app is shared for looking only: stored results are shown, and nothing can be started, stopped or deleted. "
    "Its operator can allow that to everybody with open = true in operator.toml."
)
_EVERYBODY = "Everybody who can open this page can start, stop and delete all runs and stored vectors, yours too."


def is_shared() -> bool:
    """Return True where the server listens at another address than this machine's own."""
    address = st.get_option("server.address") or "0.0.0.0"  # Streamlit's default: all
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address != "localhost"


def looks_only() -> bool:
    """Return True where visitors can only look at what is stored."""
    return is_shared() and not settings().open


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
