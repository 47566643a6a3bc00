"""The verbs about adapters and merges: adapt, merge, and the experiment of both."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numembed.cli.printing import print_lines, print_rows, print_table
from numembed.cli.studies import exit_code, progress_bar, record, workplace
from numembed.core.errors import BadChoice, NumembedError
from numembed.core.progress import DONE, Progress, Row
from numembed.core.serialization import as_plain
from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import USUAL_BASE, ExperimentResult, MergeExperiment, recipe_for
from numembed.merge_experiment.paths import KINDS, usual_points
from numembed.merge_experiment.reference import comparisons_by_sentences
from numembed.merge_experiment.results import Comparison
from numembed.merge_experiment.robustness.rows import change_rows, difference_rows, variant_rows
from numembed.merge_experiment.text import main_split, smallest_seen
from numembed.models.adapters.recipe import LOSSES, Recipe
from numembed.models.catalogue.names import model
from numembed.models.merging.methods import MERGES
from numembed.runs.kinds import Ending
from numembed.sequences.splits import Split, split_called
from numembed.storage.failures import require_writable

if TYPE_CHECKING:
    from numembed.models.merging.folders import Saved
    from numembed.models.merging.tensors import Merge

FOLD = "fold"  # beside the merges: an adapter into its base
OPTIONS = ("t", "scale", "density", "fallback", "seed", "base_weight")  # of merges, that the command line takes
TRAININGS = ("others", "paper")
_TABLE = ("arm", "spearman", "cka", "update_relative")
_TABLE_OF_NUMBERS = ("arm", "retention", "retention cka", "update_relative")
_SCORES = ("silhouette", "p", "accuracy")


def adapt(options: argparse.Namespace, settings: Settings) -> int:
    """Train adapters, or find those that are trained, and print where they lie."""
    from numembed.merge_experiment.training import adapters_folder, in_numbers
    from numembed.models.save import base_named
    from numembed.models.training.train import train_adapters

    recipe = recipe_of(options)
    base = base_named(options.base or USUAL_BASE, settings)
    settled, _ = in_numbers(recipe, base, settings)
    place = Path(options.out) if options.out else adapters_folder(settled, base, settings)
    adapters = train_adapters(base, recipe, place, settings=settings, progress=_progress("Training"))
    rows: list[dict[str, Any]] = [
        {"seed": one.seed, "step": one.step, "loss": one.readings[-1].loss}
        | {"silhouette_before": one.readings[0].silhouette, "silhouette": one.silhouette, "folder": str(one.folder)}
        for one in adapters
    ]
    return print_rows(rows, options)


def merge(options: argparse.Namespace, settings: Settings) -> int:
    """Merge models, or fold an adapter into its base, and print what was written."""
    from numembed.models.save import base_named, save_merge

    if options.method == FOLD:
        saved = _folded(options, settings)
    else:
        base = base_named(options.base, settings) if options.base else None
        out, progress = Path(options.out), _progress("Merging")
        saved = save_merge(merge_of(options), options.parts, out, base=base, settings=settings, progress=progress)
    row = {"folder": str(saved.folder), "size_bytes": saved.size_bytes, "update": saved.update, "lost": saved.lost}
    return print_rows([row], options)


def merge_of(options: argparse.Namespace) -> Merge:
    """Return the merge that the command line describes."""
    from numembed.models.merging.tensors import Merge

    chosen = {name: getattr(options, name) for name in OPTIONS}
    return Merge(
        options.method,
        options.space or "",
        "flat" if options.flat else "tensor",
        tuple(options.weights or ()),
        tuple((name, value) for name, value in chosen.items() if value is not None),
    )


def _folded(options: argparse.Namespace, settings: Settings) -> Saved:
    from numembed.models.save import base_named, save_fold

    others = [name for name in (*OPTIONS, "space", "flat", "weights") if name != "scale"]
    named = {name: getattr(options, name) for name in others}
    if given := [name for name, value in named.items() if value is not None and value is not False]:
        raise BadChoice(f"fold takes no --{given[0].replace('_', '-')}: it adds one adapter to a base, times --scale.")
    if not options.base or len(options.parts) != 1:
        raise BadChoice("An adapter is folded into its base: give --base and one adapter with --parts.")
    base, scale = base_named(options.base, settings), 1.0 if options.scale is None else options.scale
    out, progress = Path(options.out), _progress("Folding")
    return save_fold(options.parts[0], base, out, settings=settings, scale=scale, progress=progress)


def experiment(options: argparse.Namespace, settings: Settings) -> int:
    """Run a merging experiment: train, merge, score, and print the candidates with the verdict."""
    from numembed.merge_experiment.run import experiment_rows, run_experiment

    require_writable(settings.app_db)  # before it trains
    chosen = experiment_of(options)
    began, ending = time.monotonic(), Ending(stopped=True)
    try:
        with workplace(experiment_rows(chosen), settings) as place:
            result = run_experiment(chosen, **place.tools)
        ending = Ending(" ".join(result.gaps))
    except NumembedError as failure:
        ending = Ending(settings.redact(str(failure)), nothing_ran=True)
        raise
    finally:
        record(chosen, settings, seconds=time.monotonic() - began, ending=ending)
    if options.out:
        write_experiment(Path(options.out), result)
    if options.json:
        print_lines([candidate.as_row() for candidate in result.candidates])
        print_lines(_comparison_rows(result))
        if result.robustness is not None:
            print_lines([{"robustness": row} for row in change_rows(result.robustness)])
            print_lines([{"robustness_comparison": row} for row in difference_rows(result.robustness)])
        print_lines([{"redrawn": as_plain(vars(one) | {"mean": one.mean})} for one in result.redrawn])
        print_lines([{"verdict": sentence} for sentence in _verdict(result)])
        return exit_code(ending)
    split = main_split(result)
    by_sentences = result.measured_on.kind == "sentences"
    columns = (*(_TABLE if by_sentences else _TABLE_OF_NUMBERS), *(f"{split} {name}" for name in _SCORES))
    if result.measured_on.note:
        print(result.measured_on.note + "\n")
    rows = [candidate.as_row() for candidate in result.candidates]
    print_table([{name: row.get(name) for name in columns} for row in rows])
    if result.redrawn:
        print(
            f"\nOn {result.redrawn[0].designs} redrawn choices of windows; 95% of further ones score from low to high:"
        )
        columns = ("name", "at", "split", "mean", "low", "high")
        rows = [{name: getattr(one, name) for name in columns} for one in result.redrawn]
        print_table([{"path": row.pop("name")} | row for row in rows])
    if result.robustness is not None:
        print("\nRobustness: how far each kind of change moves the silhouette, with 95% intervals.")
        print_table(change_rows(result.robustness))
    print("\n" + "\n".join(_verdict(result)))
    return exit_code(ending)


def _comparison_rows(result: ExperimentResult) -> list[dict[str, Any]]:
    """Return the comparisons at equal retention as JSON values, without those that have no number.

    Their fields are at equal retention of ordinary sentences. Where the base does not tell these apart, a row says so,
    and "own" holds the comparison that counts.
    """
    if result.measured_on.kind == "sentences":
        return [{"comparison": _plain(one, result)} for one in result.comparisons if not math.isnan(one.difference)]
    own = {(one.a, one.b, one.split): one for one in result.comparisons}
    rows = [(one, own.get((one.a, one.b, one.split))) for one in comparisons_by_sentences(result)]
    return [
        {
            "comparison": as_plain(
                _plain(one, result) | {"tells sentences apart": False, "own": counts and _plain(counts, result)}
            )
        }
        for one, counts in rows
        if not math.isnan(one.difference) or (counts is not None and not math.isnan(counts.difference))
    ]


def _plain(one: Comparison, result: ExperimentResult) -> dict[str, Any]:
    seen = smallest_seen(one, result.comparisons)
    return vars(one) | {"retention": list(one.retention), "smallest_seen": seen}


def _verdict(result: ExperimentResult) -> tuple[str, ...]:
    """Return all sentences of a result."""
    changed = result.robustness.sentences if result.robustness is not None else ()
    return (*result.sentences, *changed, *result.redrawn_sentences)


def write_experiment(folder: Path, result: ExperimentResult) -> None:
    """Write ladder.json, found.json and arms.csv into ``folder``; robustness in two tables where it was asked."""
    from numembed.export import rows_csv, write_texts

    everything = json.dumps(result.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    table = rows_csv([candidate.as_row() for candidate in result.candidates])
    files = {"ladder.json": result.experiment.to_json(), "found.json": everything, "arms.csv": table}
    if result.robustness is not None:
        files["robustness.csv"] = rows_csv(variant_rows(result.robustness))
        files["robustness_comparisons.csv"] = rows_csv(difference_rows(result.robustness))
    write_texts(folder, files)


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the base's usual recipe with what was named on the command line in its place."""
    if options.families and options.training:
        raise BadChoice("Name either --families or --training, not both.")
    split = Split(training=tuple(options.families)) if options.families else split_called(options.training or "others")
    return recipe_for(
        model(options.base or USUAL_BASE),
        split,
        brief={"short": True, "full": False}.get(getattr(options, "extent", None) or ""),
        seeds=options.seeds or None,
        steps=options.steps,
        stages=options.stages,
        rank=options.rank,
        alpha=options.alpha,
        targets=options.targets,
        loss=options.loss,
        learning_rate=options.learning_rate,
    )


def experiment_of(options: argparse.Namespace) -> MergeExperiment:
    """Return the experiment of the file, or the usual one with what was named on the command line in its place."""
    if options.experiment:
        try:
            saved = MergeExperiment.from_json(Path(options.experiment).read_text(encoding="utf-8"))
            return replace(saved, robustness=saved.robustness or options.robustness)
        except (OSError, UnicodeDecodeError):
            raise BadChoice(f"There is no saved experiment {options.experiment[:120]!r}. Give a saved file.") from None
    recipe = recipe_of(options)
    return MergeExperiment(
        model(options.base or USUAL_BASE),
        recipe,
        tuple(options.paths or ()),
        usual_points(recipe) if options.points is None else options.points,
        designs=options.designs or 0,
        robustness=options.robustness,
    )


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Let the parser know these verbs."""
    trained = command("adapt", adapt, "Train LoRA adapters on families of numbers.")
    _add_recipe(trained)
    trained.add_argument("--out", metavar="DIR", help="where the adapters are saved, and training is resumed")
    merged = command("merge", merge, "Merge model folders into one, or fold an adapter into its base.")
    methods = (FOLD, *MERGES.names)
    merged.add_argument("method", choices=methods, metavar="METHOD", help=", ".join(methods))
    text = "models, or adapters of --base: folders, or names of models on this machine"
    merged.add_argument("--parts", nargs="+", required=True, metavar="PART", help=text)
    merged.add_argument("--base", metavar="NAME", help="the common base of all parts: a catalogue name or a folder")
    merged.add_argument("--space", choices=("weights", "task_vectors"), help="what is mixed")
    merged.add_argument("--flat", action="store_true", help="one angle for the whole model instead of one per tensor")
    merged.add_argument("--weights", nargs="+", type=float, metavar="W", help="weights of the parts; equal by default")
    merged.add_argument("--t", type=float, help="position from the first model (0) to the second (1)")
    merged.add_argument("--scale", type=float, help="how much of the updates is added")
    merged.add_argument("--density", type=float, help="share of the values kept by TIES and DARE")
    merged.add_argument("--fallback", type=float, help="cosine above which SLERP takes the straight line; 1: never")
    merged.add_argument("--seed", type=int, help="random seed for the values that DARE drops")
    merged.add_argument("--base-weight", type=float, metavar="W", help="the base's weight in a soup, in models")
    merged.add_argument("--out", required=True, metavar="FOLDER", help="the new model")
    swept = command(
        "merge-experiment",
        experiment,
        "Train adapters, merge them in every way, and score all resulting models.",
        "ladder",  # the older name, an alias until version 0.3
    )
    text = "a saved experiment; the other choices but --robustness are then ignored"
    swept.add_argument(*("--experiment", "--ladder"), dest="experiment", metavar="FILE", help=text)
    _add_recipe(swept)
    text = "few paths, points and evaluations, or all usual ones; by default short for models above 100 M parameters"
    swept.add_argument("--extent", choices=("short", "full"), help=text)
    swept.add_argument("--points", type=int, metavar="N", help="minimum number of points of a path")
    swept.add_argument("--designs", type=int, metavar="N", help="number of resampled windows, for intervals")
    text = "also score base, LoRA, soup, SLERP and its straight line on changed texts"
    swept.add_argument("--robustness", action="store_true", help=text)
    swept.add_argument("--paths", nargs="+", choices=tuple(KINDS), metavar="PATH", help=", ".join(KINDS))
    swept.add_argument("--out", metavar="DIR", help="also write its JSON files and tables (CSV) there")


def _add_recipe(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument("--base", metavar="NAME", help=f"a catalogue name or a folder ({USUAL_BASE})")
    subparser.add_argument("--training", choices=TRAININGS, help="twelve families not in the paper, or the paper's six")
    subparser.add_argument("--families", nargs="+", metavar="NAME", help="families to train on instead")
    subparser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="one adapter is trained for each")
    subparser.add_argument("--steps", type=int, metavar="N")
    subparser.add_argument("--stages", type=int, metavar="N", help="number of times each adapter is saved in training")
    subparser.add_argument("--rank", type=int, metavar="R", help="rank of the adapters")
    subparser.add_argument("--alpha", type=float, metavar="A", help="scales the update by A / R; A is 2 R by default")
    subparser.add_argument("--targets", nargs="+", metavar="NAME", help="ends of the names of adapted layers: query")
    subparser.add_argument("--loss", choices=LOSSES, help="all sequences of a family, or pairs against the others")
    subparser.add_argument("--learning-rate", type=float, metavar="X", help="peak learning rate")


def _progress(name: str) -> Progress:
    """Return a progress that draws one bar on a terminal, and nothing elsewhere."""
    row = Row(progress_bar([name]), 0)
    return lambda done, total, note: row(done, total, DONE if done == total else note)
