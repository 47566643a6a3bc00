"""The families of sequences and the very strings that models read."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/sequences.py")
st.title("Which sequences are there?", anchor=False)
st.markdown("Choose families to see how they grow and which texts the models read.")

from numembed.figures.maps import growth_figure
from ui.sequences.families import choose_sequences, family_list, shown_beginning, strings
from ui.sequences.leakage import give_away
from ui.shared.figure import figure

study = shown_beginning(choose_sequences())
if study is not None:
    sequences = study.plain_sequences
    figure(lambda look: growth_figure(sequences, theme=look), "growth", "Growth of the families")
    strings(study)
    give_away(study)
st.subheader("All families")
family_list()
