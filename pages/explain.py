"""One model: what its clusters encode."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/explain.py")
st.title("What do the clusters encode?", anchor=False)
st.markdown(
    "KMeans groups a model's vectors without knowing the families. This page shows what the members of each group "
    "have in common."
)

from ui.explain.clusters import (
    family_tree,
    followed,
    misplaced,
    mixed,
    neighbours,
    similarity_map,
    stored_or_asked,
    to_save,
    variance,
)
from ui.explain.grouping import grouping_runs, other_ways
from ui.explain.placement import free_query
from ui.shared.examination import choose_model, numbers_download

study, result = choose_model("explain")
if study is not None and result is not None:
    explanation = stored_or_asked(study, result)
    if explanation is not None:
        followed(study, result, explanation)
        variance(study, result, explanation)
        mixed(study, result, explanation)
        neighbours(study, explanation)
        family_tree(study, result, explanation)
        other_ways(study, result, explanation)
        free_query(study, waits=grouping_runs(study, result))
        misplaced(study, explanation)
        similarity_map(study, explanation)
        numbers_download(study, result, "explanation", to_save(explanation))
