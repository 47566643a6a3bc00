"""One model of a merging experiment to keep: saved, compared, or used as the next base."""

from __future__ import annotations

import json
import math
import os
import shlex
from dataclasses import replace

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.progress import WAITING
from numembed.core.wording import decimal, percent
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import Path
from numembed.merge_experiment.results import Candidate
from numembed.merge_experiment.save_model import MOST_NAME, Saving, proposed_name, saved_reference
from numembed.models.catalogue.names import reference_of
from numembed.models.resolve import known_folder
from numembed.models.spec import LocalWeights, LoraWeights, MergedWeights, ModelSpec, Weights, origin_of
from numembed.runs.job import Job
from ui.merge.progress import cancel_button
from ui.merge.splits import SPLIT_TITLES
from ui.shared.frame import callback, download, fragment, job_table, settings
from ui.shared.run_progress import poll_seconds, start
from ui.shared.study_choice import first_study, put_choice, take_to_compare
from ui.shared.text import md_text

_OPTIONS = ("t", "scale", "density", "fallback")  # that the command line takes
_MOST_TRIES = 50  # for a name that is free


def keep_one(result: ExperimentResult, *, came: bool = False) -> None:
    """Draw the choice of one model of the experiment and its scores; unless it ``came`` along, what to do with it."""
    st.subheader("Which one do you want to keep?", anchor=False)
    paths = {path.id: path for path in result.experiment.drawn if path.name != "base" and result.path(path.id)}
    if not paths:
        st.caption("The adapters are being scored.")
        return
    with st.container(border=True, key="keep"):
        left, right = st.columns(2)
        chosen = str(
            left.selectbox(
                "Path",
                list(paths),
                key="keep_path",
                format_func=lambda name: paths[name].title,
                persist_state="session",
            )
        )
        candidates = {candidate.at: candidate for candidate in result.path(chosen)}
        with right:
            candidate = candidates[_place(paths[chosen], list(candidates))]
        st.markdown(_scores(candidate))
        if candidate.model.weights == result.base.weights:
            st.caption("This is the base itself.")
        else:
            if not came:
                _saving(result, candidate)
                _command(candidate)
        download(
            "All numbers of the experiment (JSON)",
            lambda: json.dumps(result.as_json()),
            "numembed-ladder.json",
            key="save ladder",
        )


def _place(path: Path, places: list[float]) -> float:
    """Draw the choice of t or the scale where there is one."""
    if len(places) == 1:
        return places[0]
    usual = 0.5 if path.sweeps == "t" else 1.0
    nearest = min(places, key=lambda at: abs(at - usual))
    return float(
        st.select_slider(
            "t" if path.sweeps == "t" else "Scale",
            places,
            nearest,
            key=f"keep_at_{path.id}_{len(places)}",
            format_func=lambda at: f"{at:.3g}",
        )
    )


def _scores(candidate: Candidate) -> str:
    splits = {title: candidate.splits[name] for name, title in SPLIT_TITLES.items() if name in candidate.splits}
    texts = [f"{title} **{decimal(own.silhouette)}**" for title, own in splits.items()]
    kept, update = decimal(candidate.retention.spearman), percent(candidate.update_relative, 2)
    scores = f"{md_text(candidate.title)}. Silhouette: {' · '.join(texts)}."
    kept = f"**{kept}**" if math.isfinite(candidate.retention.spearman) else "undefined"
    return f"{scores} Retention {kept}. Norm of the update: {update} of the base’s weights."


def _saving(result: ExperimentResult, candidate: Candidate) -> None:
    """Draw the name and the button that saves a model, its progress, and what one can do once it is saved."""
    key = f"keep_name_{result.experiment.key[:12]}_{candidate.path}_{candidate.at:g}"
    if key not in st.session_state:
        st.session_state[key] = _free_name(result, candidate)
    with st.container(horizontal=True, vertical_alignment="bottom", key="keep_ask"):
        name = st.text_input(
            "Save it under the name",
            key=key,
            max_chars=MOST_NAME,
            width=420,
            persist_state="session",
            help="Letters, digits and - _ . only. The folder contains the model and a card with its parts, their "
            "licences and its scores.",
        )
        pressed = st.empty()  # the button: next to the name, drawn once the name is checked
        scaled = isinstance(candidate.model.weights, LoraWeights)  # a merge has no name before it is saved
        if scaled and st.button("Compare without saving", key="keep_compare", icon=":material/scatter_plot:"):
            _compare(reference_of(candidate.model))
    try:
        saving = Saving(name or "", result.experiment, candidate.path, candidate.at)
    except NumembedError as error:
        _save_button(pressed, None)
        st.error(md_text(str(error)), icon=":material/error:")
        return
    with job_table() as jobs:
        job = jobs.latest(saving)
    there, active = os.path.lexists(saving.folder(settings())), job is not None and job.active
    _save_button(pressed, None if there or active else saving)
    if job is not None and active:
        fragment(_live, run_every=poll_seconds())(job.id)
    elif job is not None and there and job.state == "done":
        _saved(saving, candidate)
    elif there:
        text = f"A model {saving.name!r} is already saved. Choose another name."
        st.warning(md_text(text), icon=":material/folder:")
    elif job is not None:
        _ended(job)


def _save_button(place: st.delta_generator.DeltaGenerator, saving: Saving | None) -> None:
    place.button(
        "Save this model",
        key="keep_save",
        type="primary",
        icon=":material/save:",
        disabled=saving is None,
        on_click=start,
        args=(saving,),
    )


def _free_name(result: ExperimentResult, candidate: Candidate) -> str:
    """Return the name under which this model is already saved, else a proposed one that no model has."""
    first = proposed_name(result.experiment, candidate)
    with job_table() as jobs:
        for number in range(1, _MOST_TRIES):
            name = first if number == 1 else f"{first}-{number}"
            saving = Saving(name, result.experiment, candidate.path, candidate.at)
            job = jobs.latest(saving)
            if not os.path.lexists(saving.folder(settings())) or (job is not None and job.state == "done"):
                return saving.name
    return first


def _live(job_id: str) -> None:
    with job_table() as jobs:
        job = jobs.get(job_id)
    if not job.active:
        st.rerun()
    step = job.progress[0] if job.progress else None
    share = step.done / step.total if step is not None and step.total else 0.0
    waits = step is None or step.stage == WAITING
    with st.container(horizontal=True, vertical_alignment="center", key="keep_running"):
        st.progress(share, text="Waiting for its turn." if waits else f"Writing the model: {percent(share)}")
        cancel_button(job, "keep_cancel")


def _saved(saving: Saving, candidate: Candidate) -> None:
    """Draw the folder of a saved model, and buttons that use it."""
    st.success(
        f"**{md_text(saving.name)}** is saved, with a card (README.md) that states its recipe, licences and scores.",
        icon=":material/check:",
    )
    reference = saved_reference(saving, candidate, settings())
    with st.container(horizontal=True, key="keep_on"):
        if st.button("Compare it", key="keep_compare_saved", icon=":material/scatter_plot:"):
            _compare(reference)
        st.button(
            "Use it as a base",
            key="keep_base",
            on_click=_as_base,
            args=(reference, saving.name),
            icon=":material/foundation:",
            help="Puts it into the field Base above, for a new merging experiment.",
        )
    st.caption(md_text(str(saving.folder(settings()))))


def _ended(job: Job) -> None:
    if job.state == "failed":
        st.error(md_text(job.error), icon=":material/error:")
    elif job.state == "cancelled":
        st.info("Saving was stopped; nothing of the model was kept.", icon=":material/stop_circle:")


def _compare(reference: str) -> None:
    if "chosen" not in st.session_state:  # this page was the visit's first
        put_choice(first_study())
    take_to_compare(reference)


@callback
def _as_base(reference: str, name: str) -> None:
    st.session_state["merge_base"] = reference
    st.toast(f"The base is now {md_text(name)}.", icon=":material/foundation:")


def _command(candidate: Candidate) -> None:
    """Draw the command that writes the same model to another folder."""
    if command := save_command(candidate.model):
        with st.expander("As a command", key="keep_command"):
            st.code(command, language="bash", wrap_lines=True)
            st.caption("Writes the same weights to the folder my-model, on any machine.")


def save_command(spec: ModelSpec) -> str:
    """Return the command that writes an adapted or merged model to the folder my-model, with its card."""
    words = ["python", "-m", "numembed", "merge"]
    match spec.weights:
        case LoraWeights(base, adapter, scale):
            words += ["fold", "--parts", _folder(adapter), "--base", _named(spec, base), "--scale", f"{scale:.6g}"]
        case MergedWeights(method, parts, base, space, scope, weights, options):
            words += [method, "--parts", *map(_folder, parts), "--base", _named(spec, base or origin_of(parts[0]))]
            words += ["--space", space] if space else []
            words += ["--flat"] if scope == "flat" else []
            words += ["--weights", *(f"{one:.6g}" for one in weights)] if weights else []
            for name, value in options:
                words += [f"--{name}", f"{value:.6g}"] if name in _OPTIONS else []
        case _:
            return ""  # the base itself
    return shlex.join([*words, "--out", "my-model"])


def _folder(weights: Weights) -> str:
    """Return the folder of a part on this machine; of an adapted model that of its adapter."""
    part = weights.adapter if isinstance(weights, LoraWeights) else weights
    known = None if isinstance(part, LocalWeights) else known_folder(part, settings())
    return str(known) if known is not None else str(getattr(part, part.named_by, ""))


def _named(spec: ModelSpec, base: Weights) -> str:
    return reference_of(replace(spec, weights=base))
