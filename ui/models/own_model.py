"""A model of the visitor's own on the Models page: a folder, or an id on the model hub."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from numembed.core.errors import ModelUnavailable, NumembedError
from numembed.core.settings import LIMITS
from numembed.core.wording import moment, size
from numembed.models.catalogue.defaults import told_settings
from numembed.models.catalogue.names import facts_of, model, reference_of
from numembed.models.encoders.tokens import max_tokens
from numembed.models.files.folders import read_json
from numembed.models.files.outlines import Outline, outline_of
from numembed.models.files.settings import SETTINGS_FILE, OwnSettings, own_settings, width_of
from numembed.models.hub.card import HubCard, prompts_in
from numembed.models.hub.card import card as hub_card
from numembed.models.resolve import makers_sentences
from numembed.models.spec import HubWeights, LocalWeights, LoraWeights, ModelSpec, named_folders
from numembed.studies.model_requests import Look
from ui.models.catalogue import parameters, show_model, spec_of
from ui.models.reference import reference_sentence
from ui.shared.frame import settings
from ui.shared.run_progress import follow, newest_run, start
from ui.shared.study_choice import take_to_compare
from ui.shared.table import Cell, Column, table
from ui.shared.text import md_text

_NOT_YET = "Not looked at yet. Look at it to see its facts; no weights are loaded. A run looks at it by itself."
_NO_PROMPT = " none"  # no prompt's name


def own_model() -> None:
    """Draw the field for a folder or an id, what is known about it, and the way to Compare."""
    name = st.text_input(
        "Folder or Hugging Face id",
        key="own_name",
        max_chars=LIMITS.reference_chars,
        persist_state="session",
        placeholder="~/models/mine, or owner/name",
        icon=":material/deployed_code:",
        help="A folder starts with / or ~. An id is owner/name, optionally followed by @ and a commit.",
    )
    if not name or not name.strip():
        st.caption("You see its facts before anything is downloaded.")
        return
    try:
        spec = model(name)
        _preview(spec)
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")


def _preview(spec: ModelSpec) -> None:
    facts = facts_of(spec)
    if facts is not None and spec.weights == spec_of(facts).weights:
        st.info(md_text(f"This is {facts.name} of the catalogue."), icon=":material/info:")
        st.button("Show its card", key="show_card", on_click=show_model, args=(facts.name,))
        return
    match spec.weights:
        case HubWeights(repo, revision):
            _hub_card(spec, repo, revision)
        case LoraWeights() | LocalWeights():
            _of_folders(spec)
        case _:
            st.caption(md_text(f"{spec.name} needs no files on this machine."))
            _take(spec)


def _of_folders(spec: ModelSpec) -> None:
    """Draw what is known of a model in a folder, or of an adapted one, and the button that looks into its folders."""
    folders, asked, found = named_folders(spec.weights), Look(reference_of(ModelSpec("", spec.weights))), []
    with contextlib.suppress(ModelUnavailable):
        found = [outline_of(Path(one.path), settings(), adapter=adapter) for one, adapter in folders]
    job, since = newest_run(asked), min((one.looked_at for one in found), default=0.0)
    failed = job is not None and job.state == "failed" and job.asked_at > since
    with st.container(border=not failed, key="own_card"):
        if job is not None and failed:
            st.error(md_text(job.error), icon=":material/error:")
        else:
            st.markdown(f"**{md_text(spec.name)}**")
            if folders and not found:
                st.caption(_NOT_YET)
            elif isinstance(spec.weights, LoraWeights):
                _adapted(spec, spec.weights)
            else:
                spec = _folder(spec, found[0])
            if found:
                st.caption(f"Found on {moment(since)}.")
        with st.container(horizontal=True, key="own_buttons"):
            if not failed:
                _take(spec)
            if folders and (job is None or not job.active):
                title = "Look again" if failed or found else "Look at it"
                st.button(title, key="look", on_click=start, args=(asked,), icon=":material/search:")
    if job is not None and job.active:
        follow(job)


def _adapted(spec: ModelSpec, weights: LoraWeights) -> None:
    """Draw what an adapted model is made of."""
    fetched = weights.base.fetched or weights.adapter.fetched
    where = "Missing files are downloaded from the model hub when it is run." if fetched else ""
    times = "" if weights.scale == 1 else f", taken {weights.scale:g} times"
    text = f"Two sets of files: a base, and a LoRA adapter, which changes some of its weights{times}. {where}"
    st.caption(md_text(text))
    for sentence in makers_sentences(spec, settings()):
        st.caption(md_text(sentence, most=400))


def _folder(spec: ModelSpec, found: Outline) -> ModelSpec:
    """Draw what was found in a model's folder, with menus; return the model with what was chosen."""
    folder = found.place
    _facts_table(spec, _folder_facts(found))
    prompts = prompts_in(read_json(folder / SETTINGS_FILE))
    chosen = _with_settings(spec, prompts, own_settings(folder), width_of(folder))
    st.caption(md_text(reference_sentence(chosen, digest=found.digest)))
    return chosen


def _folder_facts(found: Outline) -> list[tuple[str, str]]:
    folder = found.place
    config = read_json(folder / "config.json") or read_json(folder / "0_Transformer" / "config.json")
    limit, width = max_tokens(folder), width_of(folder)
    return [
        ("Architecture", _word(config.get("architectures")) or "unknown"),
        ("Numbers in a vector", f"{width:,}" if width else "unknown"),
        ("Reads at most", f"{limit:,} tokens" if limit else "unknown"),
        ("Files", size(found.size_bytes)),
    ]


def _hub_card(spec: ModelSpec, repo: str, revision: str) -> None:
    seen: dict[tuple[str, str], HubCard] = st.session_state.setdefault("looked_up", {})
    if (repo, revision) not in seen:
        st.caption(md_text(f"{repo} will be looked up on the model hub: a few small files are read, no weights."))
        if not st.button("Look it up", key="look_up", icon=":material/search:"):
            return
        with st.spinner("Contacting the model hub …"):
            seen[repo, revision] = hub_card(repo, settings(), revision)
        st.rerun()
    card = seen[repo, revision]
    with st.container(border=True, key="own_card"):
        st.markdown(f"**{md_text(spec.name)}**")
        _facts_table(spec, _hub_facts(card))
        refused = refusal_of(card)
        if refused:
            st.error(md_text(f"It would be refused: {refused}"), icon=":material/block:")
        for warning in warnings_of(card):
            st.warning(md_text(warning), icon=":material/warning:")
        _take(_with_settings(spec, card.prompts, card.own, card.dimension), refused=bool(refused))


def refusal_of(card: HubCard) -> str:
    """Return why a model of the hub would not be run, or ""."""
    if card.is_adapter:
        return (
            "it is a LoRA adapter, a small change to a model and not a model. Type the name of that model instead, and "
            f"then adapter={card.repo}."
        )
    if not card.has_safe_weights:
        return (
            "it holds no weights in the safetensors format. Other formats can run code while they load. "
            "Choose a copy that was saved in that format."
        )
    return ""


def warnings_of(card: HubCard) -> list[str]:
    """Return what may keep a model of the hub from running."""
    texts = []
    if card.needs_code:
        texts.append(
            "It requires its own program code, which numembed does not run. Where the libraries know its "
            "architecture, it is loaded without that code; otherwise it is refused."
        )
    if card.gated:
        texts.append("Its owner decides who may download it: the operator's hub token must have access.")
    return texts


def _hub_facts(card: HubCard) -> list[tuple[str, str]]:
    return [
        ("Commit", card.revision[:12]),
        ("Licence", card.licence or "unknown"),
        ("Files only by request", "yes" if card.gated else "no"),
        ("Download", size(card.download_bytes)),
        ("Parameters", parameters(card.parameters / 1e6) if card.parameters else "unknown"),
        ("Architecture", card.architecture or "unknown"),
        ("Numbers in a vector", f"{card.dimension:,}" if card.dimension else "unknown"),
        ("Reads at most", f"{card.max_tokens:,} tokens" if card.max_tokens else "unknown"),
        ("Made for", card.library or "unknown"),
    ]


def _facts_table(spec: ModelSpec, facts: Sequence[tuple[str, str]]) -> None:
    rows = [[Cell(title), Cell(value[:200])] for title, value in facts]
    table((Column("Fact", kind="line"), Column("Value")), rows, key="own_facts", label=f"Facts about {spec.name}")


def _with_settings(spec: ModelSpec, prompts: Mapping[str, str], own: OwnSettings, width: int | None) -> ModelSpec:
    """Draw what the makers have set for every encoding, and the menus that change it; return the chosen model."""
    chosen = _kept(_prompted(spec, prompts, own), own, width)
    for sentence in told_settings(chosen, own, width):
        st.caption(md_text(sentence, most=400))
    return chosen


def _prompted(spec: ModelSpec, prompts: Mapping[str, str], own: OwnSettings) -> ModelSpec:
    """Draw the menu of the model's own prompts where it has any; return the model with the chosen one."""
    if not (prompts or own.prompt) or spec.prompt or spec.loading.unprompted:
        return spec
    titles = {"": f"its makers' usual one: “{own.prompt}”" if own.prompt else "none, as in the paper"}
    titles |= {_NO_PROMPT: "none, as in the paper"} if own.prompt else {}
    titles |= {name: f"{name}: “{text}”" for name, text in prompts.items()}
    name = st.selectbox(
        "Prompt",
        list(titles),
        key=f"own_prompt-{spec.name}",
        format_func=lambda name: titles[name].replace("\n", "⏎"),
        help="Text that is added before every sequence. These prompts come from the model's own files.",
    )
    if name == _NO_PROMPT:
        return replace(spec, loading=replace(spec.loading, unprompted=True))
    return replace(spec, prompt=prompts.get(str(name or ""), ""))


def _kept(spec: ModelSpec, own: OwnSettings, width: int | None) -> ModelSpec:
    """Draw the menu of dimensions where the makers leave some out; return the model with what was chosen."""
    if own.kept_of(width) is None or spec.loading.full_width:
        return spec
    titles = {False: f"the first {own.keep:,}, as its makers set", True: f"all {width:,}" if width else "all"}
    full = st.selectbox("Dimensions", list(titles), key=f"own_width-{spec.name}", format_func=titles.__getitem__)
    return replace(spec, loading=replace(spec.loading, full_width=bool(full)))


def _take(spec: ModelSpec, *, refused: bool = False) -> None:
    if st.button("Compare this model", key="add_own", disabled=refused, icon=":material/scatter_plot:"):
        take_to_compare(reference_of(spec))


def _word(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else ""
    return first[:100] if isinstance(first, str) else ""
