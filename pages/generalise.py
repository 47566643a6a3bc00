"""One model: does it know the families, or only the sequences it was shown?"""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/generalise.py")
st.title("Does the model generalise, or know only these sequences?", anchor=False)
st.markdown(
    "Simple classifiers are trained on some windows or families and tested on held-out ones: windows, or families, "
    "that they have not seen."
)

from numembed.examinations.generalisation.result import Generalisation, far_texts
from numembed.examinations.generalisation.text import verdict
from ui.generalise.probes import far, near, single, unseen
from ui.shared.examination import choose_model, examined, numbers_download
from ui.shared.text import md_text

study, result = choose_model("generalise")
if study is not None and result is not None:
    generalisation = examined(
        study,
        result,
        "probes",
        Generalisation,
        button="Test the model",
        text="Trains without the held-out windows and families, then tests on them and on windows far away.",
        texts=far_texts(study),
    )
    if generalisation is not None:
        st.subheader(md_text(verdict(result.model.name, generalisation)), anchor=False)
        near(generalisation)
        far(generalisation)
        unseen(generalisation)
        single(generalisation)
        numbers_download(study, result, "probes", generalisation)
