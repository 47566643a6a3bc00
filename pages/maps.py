"""One model: do its maps show what is there?"""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/maps.py")
st.title("Does the map show what is there?", anchor=False)
st.markdown(
    "A flat map cannot preserve all distances between vectors of hundreds of dimensions. This page measures how far "
    "each map distorts them."
)

from numembed.examinations.maps.compute import Maps
from ui.maps.faithfulness import kept, method_and_numbers, scored, show_noise, six_seeds, verdict
from ui.shared.examination import choose_model, examined, numbers_download

study, result = choose_model("maps")
if study is not None and result is not None:
    faithfulness = examined(
        study,
        result,
        "maps",
        Maps,
        button="Check the maps",
        text="Compares each map with the vectors, draws it from six seeds, and adds maps of pure noise for comparison: "
        + ("some seconds." if len(study.sequences) <= 100 else "a minute or two."),
    )
    if faithfulness is not None:
        verdict(result, faithfulness)
        kept(faithfulness)
        scored(faithfulness)
        six_seeds(study, result, faithfulness)
        show_noise(study, result, faithfulness)
        method_and_numbers(faithfulness)
        numbers_download(study, result, "maps", faithfulness)
