"""The catalogue of models, the card of each, and models of one's own."""

import streamlit as st

from ui.frame import inside_app

inside_app("pages/models.py")
st.title("Which model?", anchor=False)
st.markdown("Find a model, read what is known about it, and take it to Compare.")

from ui.catalogue import catalogue_table, find_models, shown_model  # noqa: E402  the title stands first
from ui.choice import seed_choice  # noqa: E402
from ui.model_card import model_card  # noqa: E402
from ui.own_model import own_model  # noqa: E402

seed_choice("models")
found = find_models()
catalogue_table(found)
chosen = shown_model(found)
if chosen is not None:
    model_card(chosen)
st.subheader("A model of your own", anchor=False)
own_model()
