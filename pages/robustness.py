"""One model under stress: what moves its score, and how far its vectors move."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/robustness.py")
st.title("What changes the score?", anchor=False)
st.markdown("Texts, digits, order, windows, prompts and the score itself are changed one at a time.")

from numembed.examinations.stress.compute import Stress, texts_of
from ui.robustness.stress import drift, moved, one_change, redrawn
from ui.shared.examination import choose_model, examined

study, result = choose_model("robustness")
if study is not None and result is not None:
    stress = examined(
        study,
        result,
        "stress",
        Stress,
        texts=texts_of(study),
        button="Run the stress tests",
        text="One click tries every change on this model's sequences and shows what each does to the score.",
    )
    if stress is not None:
        moved(stress)
        one_change(study, stress)
        drift(stress)
        redrawn(study, result, stress)
