"""The catalogue of models, the card of each, and models of one's own."""

import streamlit as st

from ui.frame import inside_app

inside_app("pages/models.py")
st.title("Which model?", anchor=False)
st.markdown("Find a model, read what is known about it, and take it to Compare.")

from ui.catalogue import catalogue_table, find_models, shown_model
from ui.choice import seed_choice
from ui.model_card import model_card
from ui.own_model import own_model

seed_choice("models")
found = find_models()
catalogue_table(found)
chosen = shown_model(found)
if chosen is not None:
    model_card(chosen)
st.subheader("A model of your own", anchor=False)
own_model()
