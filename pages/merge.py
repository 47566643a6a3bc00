"""Train one base from several seeds, merge what comes out, and see what it gains and loses."""

import streamlit as st

from ui.shared.frame import inside_app

inside_app("pages/merge.py")
st.title("Does merging give back what training takes away?", anchor=False)
st.markdown(
    "A model is trained to tell families of numbers apart, from several seeds. Then what training changed is scaled, "
    "averaged and joined along arcs (SLERP). Each step is scored twice: how well it separates numbers, and how much "
    "of the base's ordinary language it has kept."
)

from ui.merge.choice import choose, found_so_far, price
from ui.merge.progress import watch_ladder
from ui.shared.run_progress import start

ladder = choose()
if ladder is not None:
    found = found_so_far(ladder)
    with st.container(horizontal=True, vertical_alignment="center", key="ask"):
        st.button(
            "Climb the ladder", type="secondary" if found and found.complete else "primary", key="climb",
            on_click=start, args=(ladder,), icon=":material/stairs:",
        )  # fmt: skip
        price(ladder, found)
    watch_ladder(ladder)
    if found is not None and found.arms:
        from ui.merge.results import show_ladder
        from ui.merge.save_model import keep_one

        show_ladder(found)
        keep_one(found)
