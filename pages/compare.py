"""Choose models and families, run, and see the scores beside the maps."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/compare.py")
st.title("How do embedding models see numbers?", anchor=False)
st.markdown(
    "Sequences such as the primes become text, a model turns each text into a vector, and the scores say "
    "whether sequences of one family lie together."
)

from ui.compare.cost_preview import preview, reading, warn
from ui.compare.results import show_results
from ui.shared.run_progress import newest_run, start, watch
from ui.shared.study_choice import choose

study = choose()
if study is not None:
    with st.container(horizontal=True, vertical_alignment="center", key="ask"):
        st.button("Run", type="primary", key="run", on_click=start, args=(study,), icon=":material/play_arrow:")
        preview(study)
    with st.container():  # whatever is said here, the results keep their place, so that no click on them is lost
        job = newest_run(study)
        warn(study, asked=job is not None)
        reading(study)
        watch(study, job)
    show_results(study)
