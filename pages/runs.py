"""Running and past runs, and what is stored."""

import streamlit as st

from ui.shared.frame import fragment, inside_app

inside_app("pages/runs.py")
st.title("Which runs are there?", anchor=False)
st.markdown("Runs continue when a page is closed. Their results are kept and shared by all users of this machine.")

from ui.runs.history import any_active, live_run_list, run_list, stored_vectors
from ui.shared.rights import tell_everybody

tell_everybody()
if any_active():
    fragment(live_run_list, run_every=2.0)()
else:
    run_list()
st.subheader("What is stored")
stored_vectors()
