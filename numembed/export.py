"""Results to files: CSV, HTML maps, and the study that made them."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.errors import BadChoice
from numembed.core.serialization import as_plain
from numembed.figures.maps import groups_of, overview_figure
from numembed.figures.style import PLOTLY_CONFIG
from numembed.studies.evidence import NO_REFERENCES, evidence_rows
from numembed.studies.maps import disagreement
from numembed.studies.pairs import pair_rows
from numembed.studies.reference_scores import ReferenceScores
from numembed.studies.results import ModelResult, Projection, ResultStore, badged
from numembed.studies.stored import stored_projection
from numembed.studies.study import Study

if TYPE_CHECKING:  # pages need no run
    from numembed.runs.outcome import Outcome

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def csv_cell(value: Any) -> Any:
    """Return a value that no spreadsheet runs as a formula; numbers stay numbers.

    >>> csv_cell("=1+2"), csv_cell(-5), csv_cell("primes")
    ("'=1+2", -5, 'primes')
    """
    if not isinstance(value, str):
        return value
    starts = unicodedata.normalize("NFKC", value).lstrip(" ")[:1] or value[:1]
    return "'" + value if starts in _FORMULA_STARTS and starts else value


def scores_csv(
    study: Study,
    results: Sequence[ModelResult],
    references: ReferenceScores = NO_REFERENCES,
    *,
    beforehand: Sequence[str] = (),
) -> str:
    """Return one line a score, with every digit and all its evidence.

    Those of the models ``beforehand``, whose results came with the program, say so in a column of their own.
    """
    rows = evidence_rows(study, results, references)
    origin = {name: {"origin": "computed beforehand"} for name in beforehand}
    return rows_csv([row | origin.get(str(row["model"]), {}) for row in rows])


def pairs_csv(study: Study, results: Sequence[ModelResult]) -> str:
    """Return one line a pair of models, or "" where no windows were redrawn."""
    rows = pair_rows(study, results)
    return rows_csv(rows) if rows else ""


def rows_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; a column for whatever any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return table_csv(columns, [[row.get(column) for column in columns] for row in rows])


def table_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under their columns as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([csv_cell(column) for column in columns])
    writer.writerows([["" if value is None else csv_cell(value) for value in row] for row in rows])
    return text.getvalue()


def figure_html(figure: go.Figure, *, whole: bool = True) -> str:
    """Return a page that shows a figure without a network, or (``whole`` False) only its part of one."""
    html: str = figure.to_html(
        config=PLOTLY_CONFIG, full_html=whole, include_plotlyjs=whole, include_mathjax=False, default_width="100%"
    )
    return html


def maps_html(study: Study, results: Sequence[ModelResult], store: ResultStore) -> str:
    """Return one page with the maps of all models by every method; it needs no network."""
    parts = []
    for entry in PROJECTIONS:
        maps: list[tuple[str, Projection]] = []
        said = []
        for result in results:
            values = stored_projection(study, result.model, store, method=entry.name, dims=2)
            if values is not None:
                maps.append((badged(result), values))
                sentence = disagreement(result, values, among=results)
                said += [f"<p>{escape(badged(result))}: {escape(sentence)}</p>"] if sentence else []
        if maps:
            groups = groups_of(study.sequences, results[0].clusters, "family")
            figure = overview_figure(maps, study.sequences, groups)
            parts.append(f"<h2>{entry.title}</h2>" + figure_html(figure, whole=False) + "".join(said))
    from plotly.offline import get_plotlyjs

    head = f"<meta charset='utf-8'><title>numembed maps</title><script>{get_plotlyjs()}</script>"
    style = "<style>body{font-family:sans-serif;margin:2rem;max-width:80rem}</style>"
    return f"<!doctype html><html lang='en'><head>{head}{style}</head><body>{''.join(parts)}</body></html>"


def answers_json(study: Study, results: Sequence[ModelResult], store: ResultStore) -> str:
    """Return what the study's further questions found about each model, with the study that they belong to."""
    from numembed.examinations.registry import answers

    entries = []
    for answer in answers(study, results, store):
        entry = {"examination": answer.examination.name, "model": answer.model, "sentence": answer.sentence}
        explained = {"explanation": answer.explanation} if answer.explanation else {}
        entries.append(as_plain(entry | explained | {"found": answer.found}))
    return json.dumps({"study": study.as_dict(), "answers": entries}, indent=2, ensure_ascii=False) + "\n"


def write_folder(folder: Path, study: Study, outcome: Outcome, store: ResultStore) -> None:
    """Write study.json, scores.csv and maps.html into ``folder``.

    Also pairs.csv where windows were redrawn, and answers.json where the study asks further.
    """
    results = outcome.results
    write_texts(
        folder,
        {
            "study.json": study.to_json(),
            "scores.csv": scores_csv(study, results, outcome.references),
            "pairs.csv": pairs_csv(study, results),
            "answers.json": answers_json(study, results, store) if study.examine else "",
            "maps.html": maps_html(study, results, store) if results else "",
        },
    )


def write_leakage(folder: Path, study: Study, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write study.json and what its sequences give away, leakage.csv, into ``folder``."""
    write_texts(folder, {"study.json": study.to_json(), "leakage.csv": rows_csv(rows)})


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write each text that is not empty to the file of its name; raises BadChoice where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            if text:
                (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadChoice(f"{str(folder)[:120]!r} cannot be written ({error.strerror}). Name another folder.") from None
