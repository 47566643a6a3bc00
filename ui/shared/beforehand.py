"""What is said of results that came with the program: when they were computed, and what running them here needs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import streamlit as st

from numembed.core.wording import listed
from numembed.models.packaged.models import packaged_model
from numembed.models.spec import ModelSpec, PackagedWeights
from numembed.runs.kinds import Request
from numembed.studies.keys import library_versions
from ui.shared.frame import callback, prepared, settings, whole_page
from ui.shared.run_progress import start
from ui.shared.text import md_text


def absent(specs: Sequence[ModelSpec]) -> list[str]:
    """Return a sentence for each of the models that has to be got before it can be run here."""
    packaged = [packaged_model(spec.weights.name) for spec in specs if isinstance(spec.weights, PackagedWeights)]
    return [sentence for one in packaged if (sentence := one.absent(settings()))]


def tell_prepared(
    request: Request, specs: Sequence[ModelSpec], *, key: str, named: Sequence[str] = (), told: bool = False
) -> None:
    """Say that what follows was computed beforehand, all of it or the models ``named``; with the button that runs it.

    Where none of the models ``specs`` can run yet, it says what they need instead, unless the page has ``told`` that.
    """
    if (bundle := prepared()) is None:
        return
    day, here = datetime.date.fromisoformat(bundle.about.made), library_versions()
    sentence = f"Computed beforehand ({day.day} {day:%B %Y}, came with numembed {bundle.about.program})"
    sentence += f": {listed(list(named))}." if named else "."
    if other := [f"{name} {one}" for name, one in bundle.about.versions.items() if here.get(name) != one]:
        sentence += f" With other versions than on this machine: {listed(other)}."
    models = [spec for spec in specs if not spec.is_baseline]
    needs = absent(models)
    with st.container(horizontal=True, vertical_alignment="center", key=f"beforehand {key}"):
        st.caption(
            f":material/inventory_2: {md_text(' '.join([sentence, *([] if told else needs)]), most=1_000)}",
            width="content",
        )
        if len(needs) < len(models) or not models:
            title, icon = "Run it here", ":material/play_arrow:"
            st.button(title, key=f"here {key}", type="tertiary", icon=icon, on_click=_run, args=(request,))


@callback
def _run(request: Request) -> None:
    start(request)
    whole_page()
