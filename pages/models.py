"""The catalogue of models, the card of each, and models of one's own."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/models.py")
st.title("Which model?", anchor=False)
st.markdown("Find a model, read its facts, and add it to Compare.")

from ui.models.card import model_card
from ui.models.catalogue import catalogue_table, find_models, shown_model
from ui.models.own_model import own_model
from ui.shared.study_choice import seed_choice

seed_choice("models")
rows = find_models()
catalogue_table(rows)
chosen = shown_model(rows)
if chosen is not None:
    model_card(chosen)
st.subheader("Your own model", anchor=False)
own_model()
