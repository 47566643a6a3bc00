"""The parts of the Explain page: each a question, a picture and one sentence of answer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import streamlit as st

from numembed.analysis.clusters.attributes import ATTRIBUTES
from numembed.core.serialization import as_plain
from numembed.core.wording import decimal, p_text, percent, plural
from numembed.examinations.clusters import text
from numembed.examinations.clusters.compute import Explanation, sequence_names, stored_explanation, tree_members
from numembed.examinations.clusters.seen import seen_sentence, smallest_seen
from numembed.examinations.clusters.together import AGREES, HOLDS, MATCHED, NEAREST, tests_of
from numembed.figures.clusters import agreement_figure, confusion_figure, shares_figure, similarity_figure, tree_figure
from numembed.sequences.families.family import family
from numembed.studies.keys import explain_key
from numembed.studies.results import ModelResult
from numembed.studies.study import Study
from ui.shared.beforehand import tell_prepared
from ui.shared.figure import figure, how_computed
from ui.shared.frame import result_store
from ui.shared.run_progress import newest_run, start, watch
from ui.shared.table import Cell, Column, number, p_cell, table
from ui.shared.text import md_text

_AGREEMENTS = (
    Column("Attribute"),
    Column("ARI", "Adjusted Rand index: 1 is the same grouping, 0 is chance.", "number", better="high"),
    Column("AMI", "Adjusted mutual information: 1 is the same grouping, 0 is chance.", "number", better="high"),
    Column("p", "p value: how often shuffled groups agree at least as well.", "number", digits=3),
    Column(
        "p, adjusted",
        "Adjusted for all tests of this page together (Holm); used for the sentence and the colours.",
        "number",
        digits=3,
    ),
    Column("Would be seen", "The smallest ARI that this design would have seen (80% power).", "number"),
    Column("Classes", kind="number"),
    Column("What it is", kind="wide"),
)
_MISPLACED = (
    Column("Sequence"),
    Column("Silhouette", "Below 0: nearer to another family than to its own.", "number", better="high"),
    Column("Nearest other family"),
    Column("First terms", kind="line"),
)
_NEAREST = (
    Column("Nearest sequences", "The nearest first."),
    Column("Same family"),
    Column("Distance", "In the model's own units.", "number", digits=3),
    Column("First terms", kind="line"),
)
_FIRST = 60  # characters of a text in a table
_WHOLE_TABLE = 100  # sequences up to which a saved explanation holds the similarity of every pair


def followed(study: Study, result: ModelResult, explanation: Explanation) -> None:
    """Draw what the clusters agree with."""
    st.subheader(md_text(text.sentence_of(result.model.name, explanation)), anchor=False)
    sentence = "; ".join(f"{ATTRIBUTES[one.attribute].title} {decimal(one.ari)}" for one in explanation.agreements)
    alt, by = f"Agreement of the clusters (ARI): {sentence}.", (study.key, result.model.key)
    figure(lambda look: agreement_figure(explanation, theme=look), "agreement", alt, by=by)
    with how_computed("agreement", numbers=True):
        tests, seen = tests_of(explanation), smallest_seen(explanation)
        rows = [
            [
                Cell(ATTRIBUTES[one.attribute].title),
                number(one.ari),
                number(one.ami),
                p_cell(one.p),
                p_cell(tests[AGREES, one.attribute].p),
                number(seen[AGREES, one.attribute]),
                number(one.classes, 0),
                Cell(ATTRIBUTES[one.attribute].summary),
            ]
            for one in explanation.agreements
        ]
        table(_AGREEMENTS, rows, key="agreement_table", label="What the clusters agree with")
        st.markdown(
            "KMeans finds as many groups as there are families, with 10 restarts. Each attribute divides the sequences "
            "into classes. The adjusted Rand index (Hubert and Arabie 1985) compares groups and classes; p is the "
            "share of 999 permutations that agree at least as well. The sentence, the colours and the marks use p "
            "adjusted for all tests of this page (Holm 1979): a bar beyond its mark is significant at 5% for all "
            "together. Which attribute they follow most is not tested."
        )


def variance(study: Study, result: ModelResult, explanation: Explanation) -> None:
    """Draw what makes the vectors differ."""
    _headed(text.shares_sentence(explanation))
    sentence = ", ".join(f"{share.name} {percent(share.share)}" for share in explanation.shares)
    alt, by = f"Shares of the variance: {sentence}.", (study.key, result.model.key)
    figure(lambda look: shares_figure(explanation, theme=look), "shares", alt, by=by)
    with how_computed("shares"):
        ps = ", ".join(f"{one.name} {p_text(one.p)}" for one in explanation.shares if not math.isnan(one.p))
        st.markdown(
            "PERMANOVA (Anderson 2001) divides the sum of squared distances between the factors. p comes from 999 "
            "permutations of one factor among sequences that have the same value of the other factor; in the "
            f"sentence it is adjusted for all tests of this page (Holm 1979). {ps}. The share by chance is the mean of "
            "such permutations."
        )
        _would_have_seen(explanation, HOLDS, "a share of about {share} for the {name}")


def mixed(study: Study, result: ModelResult, explanation: Explanation) -> None:
    """Draw which families lie in which cluster."""
    _headed(text.matched_sentence(explanation))
    twice = any(name.endswith("(1)") for name in explanation.cluster_names)
    more = "; (1) and (2) mark groups with the same name" if twice else ""
    st.markdown(f"Each name says what is typical of its group, by fixed rules{more}.")
    sentence = f"{len(explanation.counts)} clusters against {len(study.sequences.families)} families"
    by = (study.key, result.model.key)
    figure(
        lambda look: confusion_figure(explanation, study.sequences, theme=look),
        "confusion",
        f"Counts of {sentence}.",
        by=by,
    )
    with how_computed("confusion"):
        st.markdown(
            "Each group is assigned to one family, so that as many sequences as possible match (Kuhn 1955). Some "
            "always match, so the same is done for 999 permutations of the families: "
            f"{percent(explanation.matched_chance)} match on average, {p_text(explanation.matched_p)}. In the sentence "
            "p is adjusted for all tests of this page (Holm 1979)."
        )
        _would_have_seen(explanation, MATCHED, "a match of about {share}")


def neighbours(study: Study, explanation: Explanation) -> None:
    """Draw the nearest sequences of a chosen one."""
    _headed(text.nearest_sentence(explanation))
    names, items = sequence_names(study.sequences), study.sequences.items
    row = st.selectbox("Neighbours of", range(len(names)), format_func=lambda row: names[row], key="neighbours_of")
    row = row if row < len(names) else 0
    rows = [
        [
            Cell(names[other]),
            Cell("yes" if items[other].family == items[row].family else "no"),
            number(gap, 3),
            Cell(_first_terms(study, other)),
        ]
        for other, gap in zip(explanation.neighbours[row], explanation.distances[row], strict=True)
    ]
    table(_NEAREST, rows, key="neighbours_table", label=f"Nearest sequences of {names[row]}")
    with how_computed("neighbours"):
        st.markdown(
            "Distances are between the vectors, not on a map, and use the distance that is chosen on Compare. The "
            "percentage counts the nearest sequence of each sequence; equally near ones count in part. Chance is the "
            "mean over all permutations of the families; p comes from 999 of them and is adjusted for all tests of "
            "this page (Holm 1979)."
        )
        _would_have_seen(explanation, NEAREST, "{share} with the same {name}")


def family_tree(study: Study, result: ModelResult, explanation: Explanation) -> None:
    """Draw which families lie close to each other."""
    _headed(text.tree_sentence(explanation, study.sequences))
    if not explanation.tree:
        return
    titles = [family(study.sequences.families[leaf]).title for leaf in tree_members(explanation)[-1]]
    alt = f"Tree of the families' centres, from one end to the other: {', '.join(titles)}."
    by = (study.key, result.model.key)
    figure(lambda look: tree_figure(explanation, study.sequences, theme=look), "tree", alt, by=by)
    with how_computed("tree"):
        st.markdown(
            "The centre of a family is the mean of its vectors. The two nearest centres are joined first, then always "
            "the two groups with the smallest average distance (average linkage, Sokal and Michener 1958). Whether the "
            "families differ at all is tested by their share of the variance."
        )
        _would_have_seen(explanation, HOLDS, "a share of about {share} for the {name}")


def misplaced(study: Study, explanation: Explanation) -> None:
    """Draw the silhouette of each sequence, misplaced ones first."""
    lost = sum(value < 0 for value in explanation.silhouettes)
    sentence = plural(lost, "sequence lies", "sequences lie")
    with st.expander(f"{sentence} nearer to another family than to their own", key="astray"):
        names, rows = sequence_names(study.sequences), []
        for row in sorted(range(len(names)), key=lambda row: explanation.silhouettes[row]):
            other = explanation.nearest[row]
            title = family(study.sequences.families[other]).title if other >= 0 else "–"
            rows.append(
                [Cell(names[row]), number(explanation.silhouettes[row]), Cell(title), Cell(_first_terms(study, row))]
            )
        table(_MISPLACED, rows, key="astray_table", label="Silhouette of each sequence", height=420)


def stored_or_asked(study: Study, result: ModelResult) -> Explanation | None:
    """Return the stored analysis; without it, as of a model that an older version ran, draw the button that asks."""
    plain = replace(study, models=(result.model,), examine=(), designs=0, query="")
    job = newest_run(plain)
    with result_store() as results:
        explanation = stored_explanation(study, result.model, results)
        beforehand = results.is_prepared(explain_key(study, result.model))
    if explanation is not None:
        if beforehand:
            watch(plain, job)
            tell_prepared(plain, plain.models, key="explain")
        return explanation
    watch(plain, job)
    if job is None or not job.active:
        st.info(
            "This model was run by an older version, which analysed its clusters differently.", icon=":material/info:"
        )
        st.button("Look at its clusters", type="primary", icon=":material/search:", on_click=start, args=(plain,))
    return None


def to_save(explanation: Explanation) -> dict[str, Any]:
    """Return all numbers as JSON values; with many sequences without the table of all pairs, which is megabytes."""
    plain: dict[str, Any] = as_plain(explanation)
    return (
        plain if len(explanation.silhouettes) <= _WHOLE_TABLE else {k: v for k, v in plain.items() if k != "similarity"}
    )


def similarity_map(study: Study, explanation: Explanation) -> None:
    """Draw the similarity of all pairs."""
    with st.expander("Heat map: how similar is every pair of sequences?", key="alike", on_change="rerun") as folded:
        if not folded.open:
            return
        orders = {
            "Families side by side": tuple(range(len(study.sequences))),
            "Similar sequences side by side": explanation.order,
        }
        chosen = st.segmented_control("Order", list(orders), default=next(iter(orders)), key="order", required=True)
        order = orders[str(chosen)]
        alt = "Cosine similarity of every pair of sequences."
        figure(
            lambda look: similarity_figure(explanation, study.sequences, order, theme=look), f"similarity {chosen}", alt
        )


def _headed(sentence: str) -> None:
    """Draw the first sentence as a heading and the others below it."""
    head, _, rest = sentence.partition(". ")
    st.subheader(md_text(head.removesuffix(".")), anchor=False)
    if rest:
        st.markdown(md_text(rest))


def _would_have_seen(explanation: Explanation, kind: str, what: str) -> None:
    if sentence := seen_sentence(explanation, kind, what):
        st.markdown(sentence)


def _first_terms(study: Study, row: int) -> str:
    terms = study.sequences.texts[row]
    return terms if len(terms) <= _FIRST else terms[:_FIRST] + " …"
