"""The experiment that a visitor chooses on the Merge page, its cost, and its results so far."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from numembed.core.errors import NumembedError
from numembed.core.settings import LIMITS
from numembed.core.wording import about, plural, size
from numembed.merge_experiment.experiment import (
    MOST_POINTS,
    USUAL_BASE,
    ExperimentResult,
    MergeExperiment,
    experiment_key,
    recipe_for,
)
from numembed.merge_experiment.paths import FEWEST_POINTS, KINDS, USUAL, possible, usual_paths, usual_points
from numembed.merge_experiment.training import in_format
from numembed.models.adapters.recipe import MOST_RANK, Recipe
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import CATALOGUE, facts_of, model, reference_of
from numembed.models.resolve import known_folder, not_looked_at
from numembed.models.spec import ModelSpec, ScratchWeights
from numembed.models.training.train import memory_needed
from numembed.paper.protocol import FIRST_MODELS
from numembed.sequences.splits import Split, sentences, split_called
from numembed.studies.cost import cost_of, machine
from ui.merge.splits import splits_shown
from ui.shared.frame import callback, fields_drawn, prepared, result_store, set_cut_fields, settings
from ui.shared.text import md_text

_BASES = [
    row.name
    for row in sorted(CATALOGUE.values(), key=lambda row: row.parameters_millions)
    if not row.refused and not row.loading.remote_code and row.family != "static"
]
_TRAININGS = {"others": "Twelve other families", "paper": "The paper’s six"}
_ABOUT = {
    "others": "The paper’s six families stay unseen, so that its 24 sequences are a held-out test.",
    "paper": "The paper’s own families, from term 200 on: their first 200 terms and terms 1,000 to 1,199 stay unseen.",
}
_EXTENTS = {"short": "Short", "full": "Full"}
_ABOUT |= {
    "short": "LoRA, soup, SLERP of updates and its straight-line control, SLERP to the base and across stages, at few "
    "points. Judged by the evaluations below. Usual above 100 million parameters.",
    "full": "All usual paths, judged by all evaluations below.",
}
_TRAINING_COSTS = 3  # a step is one forward pass, and a backward pass that costs twice as much
Field = str | int | list[str]  # what a widget holds
_SCORING_SECONDS = 0.25  # of one model on all its texts: silhouettes, and families shuffled
_NUMBERS = {  # of the address and the widgets: fewest and most
    "seeds": (1, 8),
    "steps": (1, 5_000),
    "stages": (1, 8),
    "rank": (1, MOST_RANK),
    "points": (FEWEST_POINTS, MOST_POINTS),
}
_LABELS = {
    "seeds": (
        "Seeds",
        "Number of adapters, each trained from a different random start. Merges need two; intervals over seeds "
        "need three.",
    ),
    "steps": ("Training steps", "For each seed."),
    "stages": (
        "Saved stages",
        "How often each adapter is saved during training (checkpoints). Merges across stages need two.",
    ),
    "rank": ("Rank", "Rank of LoRA: how many directions the update may use."),
    "points": ("Points on a path", "Minimum number of scored values of t or of the scale."),
}
RUN_FIRST = "To save a model, to redraw the windows or to change the texts, run the experiment here first."
FURTHER = tuple(name for name in KINDS if name not in USUAL)  # paths that are scored on request
_OF_BASE = ("extent", "seeds", "steps", "stages", "rank", "points")  # what is usual depends on the base


def choose() -> MergeExperiment | None:
    """Draw the choice and return it as a merging experiment, or None after showing what is wrong with it."""
    _seed_widgets()
    with st.container(border=True, key="choice"):
        left, right = st.columns(2)
        base = left.selectbox(
            "Base",
            _BASES,
            key="merge_base",
            accept_new_options=True,
            persist_state="session",
            on_change=_take_what_is_usual,
            help="The model to train. Or type a Hugging Face id (owner/name), or a folder that starts with / "
            "or ~. It can be a model saved from a merging experiment.",
        )
        look: dict[str, Any] = {"required": True, "persist_state": "session"}
        training = right.segmented_control(
            "Train on", list(_TRAININGS), key="merge_training", format_func=_TRAININGS.__getitem__, **look
        )
        right.caption(_ABOUT[str(training)])
        with st.expander("Details: training and evaluation", key="merge_more"):
            for place, name in zip(st.columns(len(_NUMBERS)), _NUMBERS, strict=True):
                (low, high), (label, help_text), key = _NUMBERS[name], _LABELS[name], f"merge_{name}"
                value = st.session_state[key]
                place.number_input(
                    label, low, high, value=value, key=key, step=1, help=help_text, persist_state="session"
                )
            st.multiselect(
                "Further paths",
                FURTHER,
                key="merge_further",
                persist_state="session",
                format_func=lambda name: KINDS[name].title,
                placeholder="Only the usual ones",
                help="\n\n".join(f"**{KINDS[name].title}**: {KINDS[name].about}" for name in FURTHER),
            )
            extent = st.segmented_control(
                "Extent", list(_EXTENTS), key="merge_extent", format_func=_EXTENTS.__getitem__, **look
            )
            st.caption(_ABOUT[str(extent)])
            split = replace(split_called(str(training)), brief=extent == "short")
            splits_shown(split)
    _write_address()
    seeds, steps, stages, rank, points = (int(st.session_state[f"merge_{name}"]) for name in _NUMBERS)
    try:
        chosen, brief = model(str(base or "")), split.brief
        recipe = recipe_for(chosen, split, brief=brief, seeds=range(seeds), steps=steps, stages=stages, rank=rank)
        return _experiment(chosen, recipe, points, st.session_state["merge_further"])
    except NumembedError as error:
        st.error(md_text(str(error)), icon=":material/error:")
        return None


def _experiment(base: ModelSpec, recipe: Recipe, points: int, further: Sequence[str]) -> MergeExperiment:
    """Return the experiment over the usual paths and further ones; raises BadChoice where these need more seeds."""
    usual = [name for name in possible(recipe) if name in usual_paths(recipe)]
    return MergeExperiment(base=base, recipe=recipe, paths=(*usual, *further) if further else (), points=points)


def open_experiment(experiment: MergeExperiment) -> str:
    """Put ``experiment`` into the page's widgets, without what was asked afterwards, which the page shows when stored.

    Return "", or the reason where they cannot say all of it; then nothing is changed.
    """
    experiment = experiment.plain
    further = [name for name in experiment.paths if name in FURTHER]
    recipe = experiment.recipe
    training = next((name for name in _TRAININGS if split_called(name).training == recipe.split.training), "others")
    numbers = _numbers_of(recipe, experiment.points)
    steps, stages, rank = recipe.steps, recipe.stages, recipe.rank
    seeds, split, brief = range(len(recipe.seeds)), split_called(training), recipe.split.brief
    same = recipe_for(experiment.base, split, brief=brief, seeds=seeds, steps=steps, stages=stages, rank=rank)
    outside = any(not low <= numbers[name] <= high for name, (low, high) in _NUMBERS.items())
    if outside or experiment != _experiment(experiment.base, same, experiment.points, further):
        return (
            "This experiment was requested on the command line with choices that the Merge page does not have, such "
            "as fewer paths. Its results are in the files that the command wrote."
        )
    chosen = {"base": reference_of(experiment.base), "training": training, "further": further, **numbers}
    chosen["extent"] = "short" if brief else "full"
    for name, value in chosen.items():
        st.session_state[f"merge_{name}"] = value
    return ""


@callback
def _take_what_is_usual() -> None:
    """Set the values that are usual for a new base; values that the visitor has changed stay."""
    before, usual = (_usual(str(st.session_state[key] or "")) for key in ("merge_base_before", "merge_base"))
    for name in _OF_BASE:
        if st.session_state[f"merge_{name}"] == before[name]:
            st.session_state[f"merge_{name}"] = usual[name]


def _usual(base: str) -> dict[str, Field]:
    try:
        recipe = usual_recipe(model(base))
    except NumembedError:  # the page says so when it makes the experiment
        recipe = Recipe()
    extent = "short" if recipe.split.brief else "full"
    numbers = _numbers_of(recipe, usual_points(recipe))
    return {"base": _first_base(), "training": "others", "extent": extent, "further": [], **numbers}


def _first_base() -> str:
    """Return the base of a first visit: the language model where its results came with the program."""
    return model(FIRST_MODELS[-1]).name if prepared() is not None else USUAL_BASE


def _numbers_of(recipe: Recipe, points: int) -> dict[str, int]:
    """Return what the number fields show for a recipe."""
    steps, stages, rank = recipe.steps, recipe.stages, recipe.rank
    return {"seeds": len(recipe.seeds), "steps": steps, "stages": stages, "rank": rank, "points": points}


def _seed_widgets() -> None:
    """Set the widgets on the first visit of the page: from the address, else to the usual values.

    Streamlit's own binding to the address forbids going to another page by a button.
    """
    base = st.session_state.get("merge_base") or _of_address("base", st.query_params.get("base", ""), _first_base())
    set_cut_fields("merge", (f"merge_{name}" for name in _usual(str(base))))
    for name, usual in _usual(str(base)).items():
        if f"merge_{name}" not in st.session_state:
            st.session_state[f"merge_{name}"] = _of_address(name, st.query_params.get(name, ""), usual)


def _of_address(name: str, text: str, usual: Field) -> Field:
    """Return a widget's value from the address where it is allowed, else the usual one."""
    if name in _NUMBERS:
        low, high = _NUMBERS[name]
        known = text.isascii() and text.isdigit() and len(text) < 6
        return int(text) if known and low <= int(text) <= high else usual
    if name == "further":
        return [one for one in FURTHER if one in text.split(",")]
    if name in ("training", "extent"):
        return text if text in (_TRAININGS if name == "training" else _EXTENTS) else usual
    return text[: LIMITS.reference_chars] or usual


def _write_address() -> None:
    """Write values that are not usual into the address, so that a link or a refresh restores them."""
    fields_drawn("merge")
    st.session_state["merge_base_before"] = base = str(st.session_state["merge_base"] or "")
    every = _usual(base)
    chosen = {name: st.session_state[f"merge_{name}"] for name in every}
    changed = {name: value for name, value in chosen.items() if value != every[name]}
    wanted = {name: ",".join(one) if isinstance(one, list) else str(one) for name, one in changed.items()}
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def price(experiment: MergeExperiment, result: ExperimentResult | None) -> None:
    """Draw the cost of a run: models, texts, steps, and the time where this machine has measured it."""
    if result is not None and result.complete:
        st.caption(f"All {len(result.candidates):,} models of it are shown below.")
        return
    recipe = experiment.recipe
    texts, characters = reading(recipe.split)
    steps = recipe.steps * len(recipe.seeds)
    whole = characters * experiment.candidates + training_characters(recipe)
    with result_store() as results:
        there = machine(results)
        _, base = in_format(recipe, experiment.base, bfloat16=there.bfloat16)
        cost = cost_of(base, characters=whole, settings=settings(), results=results)
    memory, sentence, listed = 0, "", facts_of(experiment.base) is not None  # else a visitor named its folder
    with contextlib.suppress(NumembedError):  # files that are damaged: a run says so
        folder = known_folder(base.weights, settings()) if listed else None
        memory = memory_needed(recipe, folder, device=there.device) if folder is not None else 0
    if cost.seconds is not None:
        seconds = cost.training_seconds + cost.seconds + _SCORING_SECONDS * experiment.candidates
        sentence = f" · {about(seconds)} on this machine"
    elif not_looked_at(experiment.base, settings()):
        sentence = " · time and memory unknown until its folder is looked at, which a run does first"
    sentence += f" · up to {size(memory)} of memory" if memory else ""
    sentence = f"up to {experiment.candidates:,} models × {plural(texts, 'text')}{sentence}"
    st.caption(
        f"{'Short form: ' * recipe.split.brief}{plural(steps, 'training step')} · {sentence}. Stored results are not "
        "computed again."
    )
    if not isinstance(experiment.base.weights, ScratchWeights):
        st.caption(
            "For a first look at the steps, choose the base number-lm: the experiment takes minutes. It reads numbers "
            "only, so its retention is measured on number texts. What is retained of ordinary language needs a base "
            f"that reads it, such as {USUAL_BASE}, which is included too."
        )
    if cost.fits is False or (there.memory_bytes and memory > there.memory_bytes):
        st.caption(":red[This experiment needs more memory than this machine has.]")


def results_so_far(experiment: MergeExperiment) -> ExperimentResult | None:
    """Return the results of ``experiment`` here so far; they grow while it runs, and are parsed again only then."""
    with result_store() as results:
        return _result(experiment, results.own(experiment_key(experiment)))


def results_shown(experiment: MergeExperiment) -> tuple[ExperimentResult | None, bool]:
    """Return the results of ``experiment`` that the page shows, and whether they came with the program.

    These are shown until one's own are complete; their adapters are not on this machine.
    """
    with result_store() as results:
        own = results.own(key := experiment_key(experiment))
        came = None if own and own.get("complete") else results.prepared(key)
    return _result(experiment, came or own), came is not None


def _result(experiment: MergeExperiment, plain: dict[str, Any] | None) -> ExperimentResult | None:
    return _read(experiment.key, _size(plain), plain) if plain else None


@st.cache_resource(show_spinner=False, max_entries=8)
def _read(key: str, size: tuple[int, ...], _plain: dict[str, Any]) -> ExperimentResult:
    return ExperimentResult.from_json(_plain)


def _size(plain: dict[str, Any] | None) -> tuple[int, ...]:
    listed = ("arms", "adapters", "training", "straight", "dominance", "maps", "comparisons", "sentences", "redrawn")
    digests = sum(int(one["digest"][:8] or "0", 16) for one in (plain or {}).get("adapters", ()))
    flags = (int(bool((plain or {}).get(name))) for name in ("complete", "reference", "robustness"))
    return (*(len((plain or {}).get(name, ())) for name in listed), *flags, digests)


def training_characters(recipe: Recipe) -> int:
    """Return about how many characters could be encoded in the time of all training."""
    per_step = recipe.batch * (recipe.split.shortest + recipe.split.longest) / 2 * 6  # characters, about
    return round(_TRAINING_COSTS * per_step * recipe.steps * len(recipe.seeds))


@functools.lru_cache(maxsize=16)
def reading(split: Split) -> tuple[int, int]:
    """Return how many texts every candidate reads, and their characters."""
    texts = [text for one in split.evaluations.values() for text in one.texts] + list(sentences().texts)
    return len(texts), sum(map(len, texts))
