"""Running and past runs, and what is stored."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/runs.py")
st.title("What was run?", anchor=False)
st.markdown("Runs go on when a page is closed. What they computed is kept and shared by everybody on this machine.")

from ui.runs.history import any_active, live_run_list, run_list, stored_vectors

if any_active():
    st.fragment(live_run_list, run_every=2.0)()
else:
    run_list()
st.subheader("What is stored")
stored_vectors()
