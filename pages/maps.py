"""One model: do its maps show what is there?"""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/maps.py")
st.title("Does the map show what is there?", anchor=False)
st.markdown("A flat map of vectors with hundreds of dimensions must bend the truth. Here is how far each map bends it.")

from numembed.examinations.maps.compute import Maps
from ui.maps.faithfulness import kept, method_and_numbers, scored, show_noise, six_seeds, verdict
from ui.shared.examination import choose_model, examined, numbers_download

study, result = choose_model("maps")
if study is not None and result is not None:
    found = examined(
        study,
        result,
        "maps",
        Maps,
        button="Check the maps",
        text="Holds each map against the vectors, draws it from six seeds, and draws maps of pure noise beside it: "
        + ("some seconds." if len(study.sequences) <= 100 else "a minute or two."),
    )
    if found is not None:
        verdict(result, found)
        kept(found)
        scored(found)
        six_seeds(study, result, found)
        show_noise(study, result, found)
        method_and_numbers(found)
        numbers_download(study, result, "maps", found)
