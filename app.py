"""Table of contents: the pages, the worker's supervisor and the one place where errors are shown."""

from pathlib import Path

import streamlit as st

from ui.shared.frame import calm, error_boundary, settings, settle, supervise, tell_store
from ui.shared.rights import tell_lookers

st.set_page_config(page_title="numembed", page_icon=Path(__file__).with_name("ui") / "icon.png", layout="wide")
calm()
if "pages" not in st.session_state:
    st.session_state["pages"] = [
        st.Page("pages/compare.py", title="Compare", icon=":material/scatter_plot:", default=True),
        st.Page("pages/explain.py", title="Explain", icon=":material/lightbulb:"),
        st.Page("pages/generalise.py", title="Generalise", icon=":material/model_training:"),
        st.Page("pages/robustness.py", title="Robustness", icon=":material/tune:"),
        st.Page("pages/maps.py", title="Maps", icon=":material/map:"),
        st.Page("pages/merge.py", title="Merge", icon=":material/call_merge:"),
        st.Page("pages/models.py", title="Models", icon=":material/deployed_code:"),
        st.Page("pages/sequences.py", title="Sequences", icon=":material/format_list_numbered:"),
        st.Page("pages/paper.py", title="Paper", icon=":material/article:"),
        st.Page("pages/runs.py", title="Runs", icon=":material/history:"),
    ]
page = st.navigation(st.session_state["pages"], position="top")
if "wanted" in st.session_state:  # a deep link was the first visit: its page sent us here
    page_file, query = st.session_state.pop("wanted")
    st.switch_page(page_file, query_params=query)

with error_boundary():
    tell_store(settings())
    tell_lookers()
    try:
        page.run()
    finally:  # after the page, because it waits for nothing; also where the page stopped early
        supervise(settings())
settle()
