"""Whether sequences give their families away: shared numbers, magnitude, length and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from numembed.analysis.inference.power import smallest_share
from numembed.core.significance import LEVEL
from numembed.core.wording import listed, percent, would_have_seen
from numembed.export import rows_csv
from numembed.figures.leakage import clue_figure, shared_figure
from numembed.sequences.leakage import COUNTED_CHARS, MOST_ROWS, Clue, Leakage, leakage, rows_of
from numembed.sequences.matching import MATCHINGS, matching_sentence
from numembed.studies.study import Study
from ui.sequences.families import token_counts
from ui.shared.cache import cached
from ui.shared.figure import figure
from ui.shared.frame import download
from ui.shared.text import md_text

_METHOD = (
    "Distinct numbers in the texts that the models read are counted; shares are of the family with fewer numbers. "
    "To see how well a single number such as the text length predicts the family, each sequence gets the family of the "
    "nearest sequence of another window in that number; equal distances count in part. p is the share of 999 "
    "permutations of the families within each window (fewer for many sequences) with at least as many correct."
)


def give_away(study: Study) -> None:
    """Draw what the sequences of ``study`` give away, and what each option that makes them fairer would mean."""
    st.subheader("Can the families be identified without a model?", anchor=False)
    if study.matched:
        st.caption(md_text(matching_sentence(study.matched)))
    if len(study.sequences) > MOST_ROWS:
        st.info(f"Up to {MOST_ROWS:,} sequences are compared with each other; here are {len(study.sequences):,}.")
        return
    result = _leakage(study)
    shared, clues = st.columns([3, 2], gap="medium")
    with shared:
        _shared(result)
    with clues:
        _sentences(result)
    _strips(study, result)
    with st.expander("How this is computed, and what can be made equal (confounds)", key="leakage_more"):
        st.markdown(_METHOD)
        if seen := _seen(result.clues):
            st.markdown(seen)
        rows = partial(rows_of, result, study.sequences)
        download("All numbers (CSV)", lambda: rows_csv(rows()), "numembed-leakage.csv", key="save leakage")
        for entry in MATCHINGS:
            st.markdown(f"**{entry.title}.** {entry.summary} {entry.facts['meaning']}")


def _shared(result: Leakage) -> None:
    text = " ".join(result.sentences)
    st.markdown(f"**Shared numbers.** {md_text(text)}")
    if result.shared.sum() > result.shared.trace():
        alt = f"Numbers that each two families share. {text}"
        figure(lambda look: shared_figure(result, theme=look), "shared", alt)


def _sentences(result: Leakage) -> None:
    for clue in (clue for clue in result.clues if clue.tried):
        st.markdown(md_text(clue.sentence))
    if not any(clue.tried for clue in result.clues):
        st.markdown(
            "What magnitude and length reveal can be measured for two or more sequences of two or more families."
        )


def _seen(clues: Sequence[Clue]) -> str:
    """Return how many cases a clue that is no better than chance would have had to name; "" where there is none."""
    tested = [clue for clue in clues if clue.tried]
    texts = []
    for clue in tested:
        spread, guessing = clue.null_sd / clue.tried, clue.guessing / clue.tried
        share = smallest_share(guessing, spread, comparisons=len(tested)) if clue.p_holm > LEVEL else None
        if share is not None and clue.least_p <= LEVEL:
            texts.append(f"{clue.title.lower()} in about {share * clue.tried:.0f} of {clue.tried} cases")
    return would_have_seen(f"the family named by {listed(texts, 'or')}") if texts else ""


def _strips(study: Study, result: Leakage) -> None:
    with st.expander("Magnitude, length and tokens of each family", key="clues", on_change="rerun") as folded:
        if not folded.open:
            return
        for place, clue in zip(st.columns(len(result.clues)), result.clues, strict=True):
            with place:
                st.markdown(f"**{clue.title}**")
                if clue.tried:
                    st.caption(f"The ranges of two families overlap by {percent(clue.overlap)} on average.")
                alt = f"{clue.title} of the sequences of each family. {clue.sentence}"
                figure(partial(_clue_figure, clue, study), f"clue {clue.name}", alt)


def _clue_figure(clue: Clue, study: Study, look: str) -> Any:
    return clue_figure(clue, study.sequences, theme=look)


@cached(entries=64)
def _leakage(study: Study) -> Leakage:
    few = sum(map(len, study.sequences.texts)) <= COUNTED_CHARS
    return leakage(study.sequences, token_counts=token_counts(study, MOST_ROWS) if few else None, seed=study.seed)
