"""The card of one catalogue model: what is known, how it is loaded, how to ask for it, and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from numembed.core.errors import BadChoice, NumembedError
from numembed.core.wording import about, size
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import model, reference_of
from numembed.models.encoders.interface import ModelCheck
from numembed.models.resolve import makers_sentences
from numembed.models.spec import PRECISIONS, ModelSpec
from numembed.paper.comparison import PRINTED
from numembed.paper.protocol import paper_study
from numembed.paper.published import published
from numembed.studies.cost import cost_of
from numembed.studies.keys import result_key
from numembed.studies.stored import previously_pinned, stored_result
from numembed.studies.study import Study
from ui.models.catalogue import KINDS, checked, is_allowed, spec_of, standings
from ui.models.facts import ATTENTION, POOLING, facts_table
from ui.models.get import get_it
from ui.models.readings import readings
from ui.models.reference import reference_sentence
from ui.shared.frame import result_store, settings
from ui.shared.large import characters_of
from ui.shared.study_choice import take_to_compare
from ui.shared.table import Cell, Column, number, table
from ui.shared.text import md_text

_OWN_TEXT = " own"  # no prompt's name: they hold no spaces
_PRECISIONS = {"float32": "full (float32)", "int8": "8 bits per number (int8)", "binary": "1 bit per number (binary)"}
_SCORES = (
    Column("On the paper's sequences"),
    Column("Silhouette", "Higher is better.", "number", "With the families"),
    Column("Davies–Bouldin", "Lower is better.", "number", "With the families"),
    Column("Silhouette", "Higher is better.", "number", "With KMeans clusters"),
    Column("Davies–Bouldin", "Lower is better.", "number", "With KMeans clusters"),
)
_MARKS = {True: "✓", False: "✗", None: "–"}


def model_card(row: Row) -> None:
    """Draw the card of a catalogue model, with the way to Compare."""
    known = standings()[row.name]
    with st.container(border=True, key="card"):
        with st.container(gap="xsmall", key="card_head"):
            st.subheader(md_text(row.name), anchor=False)
            st.markdown(md_text(sentence_of(row), most=2000))
            _badges(row, known.is_here, known.check)
        get_it(row)
        if row.refused:
            st.warning(md_text(f"{row.name} is not run here: {row.refused}."), icon=":material/block:")
            chosen = None
        else:
            chosen = _asked_for(row)
        left, right = st.columns(2, gap="medium")
        with left:
            if chosen is not None:
                _scores(row, chosen)
                _cost(row, chosen)
                told = [*recipe_of(row), *makers_sentences(chosen, settings())]
                st.markdown("**Loading.** " + md_text(" ".join(told), most=2000))
                _check(known.check, chosen, row)
            readings(row)
            if row.merge_note:
                with st.expander("What its makers say about training and merging", key="merging"):
                    st.markdown(md_text(row.merge_note, most=2000))
            with st.expander("Where these facts come from", key="sources"):
                _sources(row)
        with right:
            facts_table(row)


def sentence_of(row: Row) -> str:
    """Return what a model is, in one sentence."""
    millions = row.parameters_millions
    small = f"{millions:,.{0 if millions >= 10 else 1}f} million"
    many = small if millions < 1000 else f"{millions / 1000:.1f} billion"
    by = f"Made by {row.repo.partition('/')[0]}." if row.repo else row.made_note
    what = KINDS[row.family][1] if row.embeds else "A large language model, never trained for this task,"
    return f"{what} with {many} parameters. {by}"


def recipe_of(row: Row) -> list[str]:
    """Return in plain sentences what is done so that a model is loaded as its makers meant it."""
    recipe, sentences = row.loading, []
    if row.mirror:
        sentences.append(f"Loaded from the converted copy {row.mirror}, with the same weights.")
    if recipe.remote_code:
        now = "The operator has allowed it here" if is_allowed(row) else "It is not allowed here so far"
        code = recipe.remote_code.partition("@")[0]
        sentences.append(f"Needs program code from {code}; only where the operator has allowed it. {now}.")
    if recipe.add_bos or recipe.add_eos:
        both = "begin-of-text and end-of-text tokens are added" if recipe.add_bos and recipe.add_eos else ""
        put = both or "end-of-text token is added"
        sentences.append(f"The {put} by the recipe: today's libraries may leave {'them' if both else 'it'} out.")
    if recipe.causal is not None:
        attention = ATTENTION["causal" if recipe.causal else "bidirectional"]
        sentences.append(f"Attention is set to {attention} after loading.")
    if recipe.pooling:
        sentences.append(f"Its files do not say how tokens become one vector; it is the {POOLING[recipe.pooling]}.")
    if not recipe.pool_prompt:
        sentences.append("The tokens of a prompt are left out of that mean.")
    if recipe.normalize:
        sentences.append("Vectors are normalised to length 1" + ", as in the makers' program" * row.embeds + ".")
    if recipe.needs_parameter:
        sentences.append(f"Refused after loading where its {recipe.needs_parameter} layers are missing.")
    if row.readings:
        sentences.append("Sources disagree on its attention; choose the reading above.")
    return sentences or ["Loaded as its files say; no corrections are needed."]


def _badges(row: Row, is_here: bool, check: ModelCheck | None) -> None:
    with st.container(horizontal=True, gap="xsmall", key="badges"):
        if is_here:
            st.badge("is here already", color="green", icon=":material/download_done:")
        if published(row.paper_name):
            st.badge("in the paper", color="blue", icon=":material/article:")
        if row.gated:
            sentence = "Its owner decides who may download it. The operator's hub token must have access."
            st.badge("by request", color="orange", icon=":material/lock:", help=sentence)
        if not is_allowed(row):
            st.badge("needs program code", color="orange", icon=":material/code:")
        if not row.refused:
            color = "gray" if check is None else "green" if check.ok else "red"
            st.badge(f"check: {checked(check)}", color=color)  # type: ignore[arg-type]


def _asked_for(row: Row) -> ModelSpec | None:
    """Draw the options and the button; return the model with them, or None after saying what is wrong."""
    try:
        spec = _with_options(row)
        reference = reference_of(spec)
        model(reference)  # a prompt may be too long for a name
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return None
    if spec.prompt:
        st.caption(f"Added before every sequence: “{md_text(spec.prompt)}”")
    with st.container(horizontal=True, vertical_alignment="center", key="take"):
        taken = st.button("Compare this model", type="primary", key="add", icon=":material/scatter_plot:")
        st.code(reference, language=None, wrap_lines=True, width="content")
    if taken:
        take_to_compare(reference)
    return spec


def _with_options(row: Row) -> ModelSpec:
    """Draw prompt, length, precision and attention; return the model with what was chosen."""
    spec = spec_of(row)
    places = st.columns(4 if row.readings else 3)
    titles = {"": "none, as in the paper", **{name: name for name in row.prompts}, _OWN_TEXT: "your own text"}
    name = places[0].selectbox(
        "Prompt",
        list(titles),
        key=f"prompt-{row.name}",
        format_func=titles.__getitem__,
        help="Text that is added before every sequence. Prompts with a name come from the makers.",
    )
    own = st.text_input("Your prompt", key=f"own-{row.name}", max_chars=300) if name == _OWN_TEXT else ""
    width = places[1].selectbox(
        "Shorten vectors",
        ["", *map(str, row.matryoshka)],
        key=f"dim-{row.name}",
        accept_new_options=True,
        format_func=lambda value: value or f"no, all {row.dimension:,} numbers",
        help="Keep only the first dimensions. " + _shortening(row) + " Choose one, or type a number.",
    )
    precision = places[2].selectbox(
        "Precision",
        PRECISIONS,
        key=f"precision-{row.name}",
        format_func=_PRECISIONS.__getitem__,
        help="Rounds the vectors before they are scored (quantisation): shows what is lost when they take less space.",
    )
    recipe = spec.loading
    if row.readings:
        reading = places[3].selectbox(
            "Attention",
            row.readings,
            key=f"attention-{row.name}",
            format_func=ATTENTION.__getitem__,
            help="Sources disagree on which tokens each token sees. The makers' statement comes first.",
        )
        recipe = replace(recipe, causal=reading == "causal") if reading != row.readings[0] else recipe
    prompt = str(own or "") if name == _OWN_TEXT else row.prompts.get(str(name), "")
    return replace(spec, prompt=prompt, dimensions=_width(str(width or ""), row), precision=precision, loading=recipe)


def _shortening(row: Row) -> str:
    if row.matryoshka:
        return f"It was trained for {', '.join(map(str, row.matryoshka))}."
    return f"It was trained for {row.matryoshka_note}." if row.matryoshka_note else "It was not trained for that."


def _width(text: str, row: Row) -> int | None:
    if not text:
        return None
    plain = text.replace(",", "").strip()
    if not plain.isascii() or not plain.isdigit() or len(plain) > 6 or not 1 <= int(plain) <= row.dimension:
        raise BadChoice(f"Vectors of {row.name} can keep 1 to {row.dimension:,} numbers, got {text[:40]!r}.")
    return int(plain) if int(plain) < row.dimension else None


def _scores(row: Row, spec: ModelSpec) -> None:
    """Draw the paper's four numbers beside our own of the same sequences."""
    study = replace(paper_study(), despite_checks=True)
    line = published(row.paper_name)
    paper = [getattr(line, f"{metric}_{labels}", None) for metric, labels in PRINTED]
    with result_store() as results:
        result = stored_result(study, spec, results)
        beforehand = result is not None and results.is_prepared(result_key(study, result.model))
    ours: Sequence[float | None] = [None] * 4
    if result is not None:
        ours = [result.score(*kind).value for kind in PRINTED]
    failed = result is not None and result.check is not None and not result.check.ok
    here = "⚠ here, check failed" if failed else "here" if result is not None else "not run here yet"
    here = "computed beforehand" if beforehand else here
    rows = [
        [Cell("in the paper" if line else "not in the paper"), *(number(value, 4) for value in paper)],
        [Cell(here), *(number(value, 4, note="Not run here yet.") for value in ours)],
    ]
    table(_SCORES, rows, key="scores_of", label="Scores on the paper's sequences, in the paper and here")


def _cost(row: Row, spec: ModelSpec) -> None:
    characters = _chosen_characters()
    with result_store() as results:
        pinned = previously_pinned(spec, results) or spec
        cost = cost_of(pinned, characters=characters, settings=settings(), results=results)
    fetched = cost.download_bytes
    texts = [
        "Nothing to download." if fetched == 0 else f"Downloads {size(fetched)} first." if fetched else "",
        f"It is trained here at first use: {about(cost.training_seconds)}." if cost.training_seconds else "",
        f"Takes about {size(cost.memory_bytes)} of memory"
        + {None: ".", True: ", which this machine has.", False: ", which is more than this machine has."}[cost.fits]
        if cost.memory_bytes
        else "Its memory is unknown.",
        f"The sequences chosen on Compare take {about(cost.seconds)}."
        if cost.seconds is not None
        else "The time is unknown until a model has run on this machine.",
    ]
    st.markdown("**Cost.** " + md_text(" ".join(filter(None, texts))))


def _chosen_characters() -> int:
    """Return how long the texts of the visitor's choice are together; the paper's where it cannot be read."""
    try:
        study = Study.from_dict(st.session_state["chosen"])
    except (KeyError, NumembedError):
        study = paper_study()
    return characters_of(study)


def _check(check: ModelCheck | None, spec: ModelSpec, row: Row) -> None:
    st.markdown("**Reference.** " + md_text(reference_sentence(spec, row.parameters_millions * 1e6)))
    if check is None:
        st.markdown(
            "**Check.** Not checked yet. Whenever it is loaded for a run, a few texts show whether it "
            "behaves as its makers state."
        )
        return
    with st.expander(f"Check: {checked(check)}", key="check", expanded=not check.ok):
        st.markdown("\n".join(f"- {_MARKS[one.ok]} {md_text(one.sentence)}" for one in check.findings))


def _sources(row: Row) -> None:
    st.markdown("\n".join(f"- {md_text(source)}" for source in row.sources) or "unknown")
    if row.unsure:
        st.caption("“Not verified”: no source that could be read confirms it; others have reported it.")
