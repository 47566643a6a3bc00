"""The verb about the sequences themselves: what gives their families away before any model reads them."""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

from numembed.cli.printing import print_lines, print_table
from numembed.cli.studies import study_of
from numembed.core.settings import Settings
from numembed.models.catalogue.names import BUNDLED
from numembed.models.encoders.tokens import count_tokens
from numembed.models.spec import ModelSpec
from numembed.sequences.leakage import COUNTED_CHARS, Leakage, leakage, rows_of
from numembed.studies.study import Study, design_of


def sequences(options: argparse.Namespace, settings: Settings) -> int:
    """Print what the numbers, sizes, lengths and tokens of the sequences give away."""
    study = study_of(options)
    result = _found(study, settings)
    of = {"seed": study.seed, "design": design_of(study)}
    rows = [of | row for row in rows_of(result, study.sequences)]
    text = [*result.sentences, *(clue.sentence for clue in result.clues)]
    if options.out:
        from numembed.export import write_leakage

        write_leakage(Path(options.out), study, rows)
    if options.json:
        print_lines([of | {"sentence": " ".join(text)}, *rows])
        return 0
    print(f"{design_of(study)} (seed {study.seed}). {' '.join(text)}")
    for _, alike in groupby(rows, key=list):  # rows with the same columns
        print_table([{name: value for name, value in row.items() if name not in of} for row in alike])
        print()
    return 0


def _found(study: Study, settings: Settings) -> Leakage:
    texts = study.sequences.texts
    few = sum(map(len, texts)) <= COUNTED_CHARS
    counted = count_tokens(ModelSpec("", BUNDLED), texts, settings) if few else None
    return leakage(study.sequences, token_counts=counted.counts if counted else None, seed=study.seed)
