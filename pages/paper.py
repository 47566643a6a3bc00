"""The paper's tables and figures beside our own runs, and tests of its claims."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/paper.py")
st.title("Does the paper hold?", anchor=False)
st.markdown(
    "*Evaluating Embedding Generalization: How LLMs, LoRA, and SLERP Shape Representational Geometry* (S. Kabane) "
    "asks which of 14 models keep six families of number sequences apart. This page shows its numbers, ours for "
    "comparison, and tests of its claims."
)

from ui.paper.sections import claim_cards, findings, maps, our_runs, stored_runs
from ui.shared.glossary import words_used

own = stored_runs()
findings()
our_runs(own)
claim_cards(own)
maps(own)
words_used()
