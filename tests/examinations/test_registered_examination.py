"""An examination is one value: a registered one is found everywhere, with no other file touched."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from numembed.cli import main
from numembed.core.errors import BadChoice
from numembed.core.serialization import from_plain
from numembed.core.settings import Settings
from numembed.examinations.registry import Answer, ExaminationContext, Implementation, Row
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.studies.examination import EXAMINATIONS, Examination, register
from numembed.studies.keys import examined_key
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study

ROOT = Path(__file__).parents[2]
STUDY = Study(("even", "primes"), (model("last_digits"),), per_family=3, length=10)
SMALL = ("--models", "last_digits", "--families", "even", "primes", "--per-family", "3", "--length", "10")


@dataclass(frozen=True)
class Norms:
    """Mean length of the vectors of each family."""

    families: tuple[str, ...]
    means: tuple[float, ...]
    nothing: float = math.nan


def _compute(context: ExaminationContext) -> Norms:
    labels, norms = context.study.sequences.labels, (context.matrix**2).sum(axis=1) ** 0.5
    families = context.study.sequences.families
    return Norms(families, tuple(float(norms[labels == label].mean()) for label in range(len(families))))


def _text(answer: Answer[Norms]) -> str:
    found = answer.found
    return f"The longest vectors of {answer.model} are those of {found.families[found.means.index(max(found.means))]}."


def _rows(answer: Answer[Norms]) -> list[Row]:
    pairs = zip(answer.found.families, answer.found.means, strict=True)
    return [{"family": family, "mean": mean, "nothing": answer.found.nothing} for family, mean in pairs]


IMPLEMENTATION = Implementation(Norms, _compute, _text, _rows)
NORMS = Examination(
    "norms",
    verb="measure",
    help="Say how long the vectors are.",
    title="Lengths of the vectors of {}",
    page="pages/explain.py",
    module=__name__,
    options=("query",),
)


@pytest.fixture
def registered() -> Iterator[None]:
    """The examination, for one test."""
    register(NORMS)
    yield
    del EXAMINATIONS[NORMS.name]


def _printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_the_command_line_has_its_verb_and_prints_and_exports_what_it_finds(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = _printed(capsys, "measure", "2, 4, 6", *SMALL, "--json", "--out", tmp_path).splitlines()
    first, *rows = (json.loads(line, parse_constant=pytest.fail) for line in lines)
    assert first["sentence"].startswith("The longest vectors of Last digits are those of ")
    assert [row["family"] for row in rows] == ["even", "primes"] and all(row["nothing"] is None for row in rows)
    written = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    study, (entry,) = Study.from_dict(written["study"]), written["answers"]
    assert study == replace(STUDY, examine=("norms",), query="2, 4, 6")
    assert (entry["examination"], entry["model"], entry["sentence"]) == ("norms", "Last digits", first["sentence"])
    with ResultStore(settings.app_db) as results:
        assert entry["found"] == stored_examination(study, study.models[0], "norms", results)
    assert list(from_plain(Norms, entry["found"]).means) == [row["mean"] for row in rows]
    plain = _printed(capsys, "measure", "2, 4, 6", *SMALL)
    assert plain.startswith(f"Last digits (seed 0). {first['sentence']}\nfamily  mean ")


@pytest.mark.usefixtures("registered")
def test_the_runs_page_has_its_title(settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.submit(replace(STUDY, examine=("norms",)), asked_by="test")
        (job,) = jobs.recent()
    assert job.title == "Lengths of the vectors of Last digits · 2 families × 3 × 10"


def test_a_study_names_registered_ones_only(registered: None) -> None:
    asked = replace(STUDY, examine=("norms", "maps", "grouping"))
    assert asked.examine == ("grouping", "maps", "norms"), "in their one order"
    assert Study.from_json(asked.to_json()) == asked
    with pytest.raises(BadChoice, match=r"There is no examination 'norm'\. Known: grouping, .*, maps, norms\."):
        replace(STUDY, examine=("norm",))


def test_without_being_registered_it_is_unknown() -> None:
    with pytest.raises(BadChoice, match="There is no examination 'norms'"):
        replace(STUDY, examine=("norms",))


@pytest.mark.usefixtures("registered")
def test_its_key_holds_the_options_that_it_names() -> None:
    spec = STUDY.models[0]

    def key(**changes: object) -> str:
        return examined_key(replace(STUDY, **changes), spec, "norms")  # type: ignore[arg-type]

    assert key(query="1") != key(query="2") and key(designs=5) == key()
    assert examined_key(replace(STUDY, designs=5), spec, "maps") != examined_key(STUDY, spec, "maps")


@pytest.mark.usefixtures("registered")
def test_names_and_verbs_are_unique() -> None:
    for other in (replace(NORMS, verb="other"), replace(NORMS, name="other")):
        with pytest.raises(ValueError, match="Two examinations are called"):
            register(other)


def test_a_study_is_validated_without_importing_what_computes() -> None:
    program = (
        "import sys; from numembed.studies.study import Study; from numembed.models.catalogue.names import model\n"
        "Study(('even',), (model('last_digits'),), examine=('grouping', 'landing', 'probes', 'stress', 'maps'))\n"
        "print([name for name in sys.modules if name.startswith('numembed.examinations.') and name.count('.') > 2])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", ["grouping", "landing", "probes", "stress", "maps"])
def test_each_names_a_page_and_a_result_and_a_title_for_its_models(name: str) -> None:
    examination = EXAMINATIONS[name]
    assert (ROOT / examination.page).is_file() and examination.title.format("M") != examination.title
    assert isinstance(examination.implementation, Implementation)


LISTING = [name for name, one in EXAMINATIONS.items() if one.implementation.lists]


@pytest.mark.slow  # UMAP
@pytest.mark.parametrize("name", LISTING)
def test_a_stored_answer_is_computed_again_when_what_it_lists_is_registered_later(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = replace(STUDY, examine=(name,))
    field, key, registry = EXAMINATIONS[name].implementation.lists
    first = next(iter(registry))

    def listed(label: str) -> set[str]:
        assert main(["run", "--study", str(path)]) == 0
        with ResultStore(settings.app_db) as results:
            stored = stored_examination(study, study.models[0], name, results)
        assert stored is not None, label
        return {one[key] for one in stored[field]}

    path = settings.home / "study.json"
    path.write_text(study.to_json(), encoding="utf-8")
    before = listed("a first run")
    assert before == set(registry.names)
    with monkeypatch.context() as patched:
        patched.setattr(registry, "_entries", registry._entries | {"later": replace(first, name="later")})
        with ResultStore(settings.app_db) as results:
            assert stored_examination(study, study.models[0], name, results) is None
        assert listed("with one more") == before | {"later"}
    assert listed("without it again") == before


def test_the_examinations_that_list_registered_members_say_so() -> None:
    assert LISTING == ["grouping", "probes", "stress", "maps"]
