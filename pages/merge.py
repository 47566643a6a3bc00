"""Train one base from several seeds, merge what comes out, and see what it gains and loses."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/merge.py")
st.title("Does merging restore what training loses?", anchor=False)
st.markdown(
    "A model is trained to tell families of numbers apart, from several seeds. Then what training changed is scaled, "
    "averaged and interpolated along arcs (SLERP). Each model is scored twice: how well it separates numbers, and "
    "how much of the base's behaviour on ordinary language it retains."
)

from numembed.models.catalogue.names import facts_of
from ui.merge.choice import choose, price, results_shown
from ui.merge.progress import watch_experiment, with_designs
from ui.merge.robustness import with_robustness
from ui.models.get import get_it
from ui.shared.beforehand import absent, tell_prepared
from ui.shared.run_progress import newest_run, start

experiment = choose()
if experiment is not None:
    job = newest_run(experiment, with_designs(experiment), with_robustness(experiment))
    experiment_result, came = results_shown(experiment)
    if (row := facts_of(experiment.base)) is not None:
        get_it(row)
    with st.container(horizontal=True, vertical_alignment="center", key="ask"):
        st.button(
            "Run the merging experiment",
            type="secondary" if experiment_result and experiment_result.complete else "primary",
            key="climb",
            on_click=start,
            args=(experiment,),
            icon=":material/stairs:",
            disabled=bool(absent([experiment.base])),
        )
        price(experiment, experiment_result)
    watch_experiment(experiment, job)
    if came:
        tell_prepared(experiment, (experiment.base,), key="merge", told=True)
    if experiment_result is not None and experiment_result.candidates:
        from ui.merge.results import show_experiment
        from ui.merge.save_model import keep_one

        show_experiment(experiment_result, came=came)
        keep_one(experiment_result, came=came)
