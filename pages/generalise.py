"""One model: does it know the families, or only the sequences it was shown?"""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/generalise.py")
st.title("Does the model know the families, or only these sequences?", anchor=False)
st.markdown(
    "Simple classifiers learn from some windows or families and are asked about others that they have not seen."
)

from numembed.examinations.generalisation.result import Generalisation, far_texts
from numembed.examinations.generalisation.text import verdict
from ui.generalise.probes import far, near, single, unseen
from ui.shared.examination import choose_model, examined, numbers_download
from ui.shared.text import md_text

study, result = choose_model("generalise")
if study is not None and result is not None:
    found = examined(
        study,
        result,
        "probes",
        Generalisation,
        button="Find out",
        text="Holds out windows and families, and asks about windows far away.",
        texts=far_texts(study),
    )
    if found is not None:
        st.subheader(md_text(verdict(result.model.name, found)), anchor=False)
        near(found)
        far(found)
        unseen(found)
        single(found)
        numbers_download(study, result, "probes", found)
