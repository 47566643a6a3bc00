"""One model: what its clusters encode."""

import streamlit as st

from ui.frame import inside_app

inside_app("pages/explain.py")
st.title("What do the clusters encode?", anchor=False)
st.markdown("KMeans groups a model's vectors without knowing the families. Here is what its groups have in common.")

from numembed.study import stored_explanation  # noqa: E402  the title stands before anything else is imported
from ui.examining import choose_model  # noqa: E402
from ui.explain import astray, followed, look_alike, mixed, variance  # noqa: E402
from ui.frame import result_store  # noqa: E402

study, result = choose_model("explain")
if study is not None and result is not None:
    with result_store() as results:
        found = stored_explanation(study, result.model, results)
    if found is None:
        st.info("This model was run before its clusters were looked at. Press Run on Compare once more.")
    else:
        followed(result, found)
        variance(found)
        mixed(study, found)
        astray(study, found)
        look_alike(study, found)
