"""The study that a visitor chooses: widgets, address bar and saved state say the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.settings import LIMITS
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE, ENDPOINT, model, reference_of
from numembed.paper.protocol import FIRST_MODELS, paper_study
from numembed.sequences.families.family import FAMILIES, family
from numembed.sequences.matching import MATCHINGS
from numembed.studies.study import DISTANCES, Study
from ui.shared.frame import fields_drawn, prepared, set_cut_fields, settings
from ui.shared.text import md_text

_LISTS = ("models", "families", "matched")
_NUMBERS = ("per_family", "length", "first_window", "max_chars", "seed", "designs")
_TEXTS = ("separator", "distance")
_SEPARATORS = {", ": "comma and space", ",": "comma", " ": "space", "; ": "semicolon and space", "\n": "new line"}
_MODELS = [row.name for row in CATALOGUE.values() if not row.refused]
_NEVER_IN_LINKS = ("despite_checks", "examine", "query")
_DRAWN = {"models", "families"}  # the fields that are never folded away


def choose() -> Study | None:
    """Draw the choice and return it as a study, or None after saying what is wrong with it."""
    seed_choice("compare")
    with st.container(border=True, key="choice"):
        left, right = st.columns(2)
        with left:
            st.multiselect(
                "Models and baselines",
                [*_MODELS, *(ENDPOINT + name for name in settings().endpoints), *BASELINES.names],
                key="models",
                format_func=_model_title,
                accept_new_options=True,
                placeholder="Choose, or type a name",
                select_all=False,
                help="Or type any Hugging Face id (owner/name) or a folder that starts with / or ~. Options may "
                "follow: dim=128, precision=int8, prompt=query. The Models page helps to choose.",
            )
        with right:
            family_picker()
        with st.expander("Sequences, text and distance", key="more", on_change="rerun") as more:
            if more.open:
                sequence_details()
                _scoring_details()
    try:
        study = chosen_study()
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return None
    finally:
        if not more.open:  # a value of its own would outlive that of the field
            for name in st.session_state["chosen"].keys() - _DRAWN:
                st.session_state.pop(name, None)
    write_address(study)
    return study


def seed_choice(page: str) -> None:
    """Set the widgets where a page is entered: to the visitor's choice, at first from the address bar.

    Streamlit forgets a widget's value when another page is shown, so the choice is kept under a key of its own.
    """
    if "chosen" not in st.session_state:
        study, notes = read_address({name: st.query_params.get_all(name) for name in st.query_params})
        put_choice(study)
        for note in notes:
            st.toast(md_text(note), icon=":material/link_off:")
    entered = st.session_state.get("chosen_on") != page
    st.session_state["chosen_on"] = page
    set_cut_fields("chosen", st.session_state["chosen"])
    for name, value in st.session_state["chosen"].items():
        if entered or name not in st.session_state:  # also after a page that has no such widgets
            st.session_state[name] = value


def put_choice(study: Study) -> None:
    """Make ``study`` the visitor's choice from the next page on."""
    st.session_state.update(chosen=study.as_dict(), chosen_on="")


def open_study(study: Study) -> str:
    """Make a run's study the visitor's choice, for the page that shows its results; return ""."""
    put_choice(replace(study, examine=(), designs=0, query=""))
    if study.examine:
        st.session_state["explained"] = study.models[0].name
    return ""


def _chosen() -> tuple[tuple[str, Any], ...]:
    """Return the visitor's choice as a study's entries, right or wrong, and keep it."""
    fields_drawn("chosen")
    chosen = st.session_state["chosen"]
    st.session_state["chosen"] = {name: st.session_state.get(name, value) for name, value in chosen.items()}
    entries = st.session_state["chosen"].items()
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in entries)


def chosen_study() -> Study:
    """Return the visitor's choice.

    Raises BadChoice or TooLarge also where the families do not allow what is to be made equal, of a large study only
    when it is run.
    """
    study = _study_of(_chosen())
    if study.matched and not study.large:
        _ = study.sequences
    return study


@functools.lru_cache(maxsize=32)
def _study_of(entries: tuple[tuple[str, Any], ...]) -> Study:
    return Study.from_dict(dict(entries))


def first_study() -> Study:
    """Return what a first visit shows: the paper's sequences; with a language model where its results came along."""
    return paper_study() if prepared() is None else paper_study(*FIRST_MODELS, *BASELINES.names)


def read_address(query: Mapping[str, list[str]]) -> tuple[Study, list[str]]:
    """Return the study that an address asks for, and a sentence for each part that was ignored."""
    preset = first_study()
    plain, notes = preset.as_dict(), []
    for name, values in query.items():
        if name in _LISTS:
            plain[name] = values
        elif name in _TEXTS:
            plain[name] = values[-1]
        elif name in _NUMBERS and values[-1].isascii() and values[-1].isdigit() and len(values[-1]) < 12:
            plain[name] = int(values[-1])
        else:
            notes.append(f"The link's part {name[:40]!r} is not understood and was left out.")
    try:
        return Study.from_dict(plain), notes
    except NumembedError as error:
        return preset, [*notes, f"The link was left out: {error}"]


def address_of(study: Study) -> dict[str, Any]:
    """Return the address's parts that restore ``study``; what the preset says already is left out."""
    usual = first_study().as_dict()
    changed = {name: value for name, value in study.as_dict().items() if value != usual[name]}
    return {name: value for name, value in changed.items() if name not in _NEVER_IN_LINKS}


def write_address(study: Study) -> None:
    """Put the choice into the address bar."""
    wanted = {name: value if isinstance(value, list) else str(value) for name, value in address_of(study).items()}
    present = {name: st.query_params.get_all(name) for name in st.query_params}
    if present != {name: value if isinstance(value, list) else [value] for name, value in wanted.items()}:
        st.query_params.from_dict(wanted)


def family_picker() -> None:
    """Draw the choice of families."""
    st.multiselect(
        "Families of sequences",
        FAMILIES.names,
        key="families",
        format_func=lambda reference: family(reference).title if reference in FAMILIES else reference,
        accept_new_options=True,
        placeholder="Choose, or type a name",
        select_all=False,
        help="Families with a parameter can be typed: multiples:k=7. The Sequences page shows them all.",
    )


def sequence_details() -> None:
    """Draw how many sequences, how long, from where, how they become text, and what is made equal."""
    one, two, three, four, five = st.columns(5)
    _number(one, "Sequences per family", "per_family", 1, LIMITS.per_family, "Each is a window of the family.")
    _number(two, "Terms per sequence", "length", 1, LIMITS.length, "How many numbers one text contains.")
    _number(three, "First window", "first_window", 0, LIMITS.first_window, "0 starts at the family's first term.")
    four.selectbox(
        "Between two terms",
        list(_SEPARATORS),
        key="separator",
        accept_new_options=True,
        format_func=lambda text: _SEPARATORS.get(text, text),
    )
    _number(five, "Longest text", "max_chars", 1, LIMITS.text_chars, "In characters; terms beyond it are left out.")
    st.pills(
        "Make equal between families",
        MATCHINGS.names,
        selection_mode="multi",
        key="matched",
        format_func=lambda name: MATCHINGS[name].title,
        help="Families differ in more than their rule, and a model may use only that difference (a confound).\n\n"
        + "\n\n".join(f"**{entry.title}.** {entry.summary}" for entry in MATCHINGS),
    )


def _scoring_details() -> None:
    one, two, _ = st.columns([1, 1, 3])
    one.selectbox(
        "Distance",
        DISTANCES,
        key="distance",
        format_func=str.capitalize,
        help="Used by the silhouette. KMeans and Davies–Bouldin are always Euclidean.",
    )
    _number(
        two,
        "Seed",
        "seed",
        0,
        2**31 - 1,
        "Random seed of KMeans, maps and shuffles: the same seed gives the same results.",
    )
    st.checkbox(
        "Also run models that fail their check",
        key="despite_checks",
        help="Every model is checked when it is loaded. One that does not behave as its makers state is not run, "
        "unless you ask for it here; its results then say so.",
    )


def _number(place: Any, label: str, key: str, low: int, high: int, text: str) -> None:
    # the value too: what a page set by its key is lost where a click comes before the browser has heard of it
    place.number_input(label, low, high, value=st.session_state[key], key=key, step=1, help=text)


def _model_title(reference: str) -> str:
    """A typed name is its own title: the browser sends titles back, and knows only those of the list."""
    return BASELINES[reference].title if reference in BASELINES else reference


def take_to_compare(reference: str) -> None:
    """Put a model first in the visitor's choice, unless it is in it, and go to Compare; say it where that cannot be."""
    try:
        _add(reference)
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return
    st.switch_page("pages/compare.py")


def _add(reference: str) -> None:
    chosen, wanted = st.session_state["chosen"], model(reference)
    specs = []
    for name in chosen["models"]:
        try:
            specs.append(model(name))
        except NumembedError:
            continue  # Compare says what is wrong with it
    if reference_of(wanted) in map(reference_of, specs):
        return
    replace(paper_study(), models=(wanted, *specs))  # says whether they are too many
    st.session_state.update(chosen=chosen | {"models": [reference, *chosen["models"]]}, chosen_on="")
