"""What runs are called, on the page that lists them and where one waits for another."""

from __future__ import annotations

from collections.abc import Sequence

from numembed.core.errors import NumembedError
from numembed.core.wording import plural
from numembed.runs.jobs import LADDER, SAVING, Job
from numembed.studies.examination import EXAMINATIONS
from ui.shared.text import md_text


def title_of(job: Job) -> str:
    """Return what a run is called."""
    try:
        if job.kind == LADDER:
            return job.ladder.title
        if job.kind == SAVING:
            saving = job.saving
            return f"{saving.title}, from the {saving.ladder.title[:1].lower()}{saving.ladder.title[1:]}"
        study = job.study
    except NumembedError:
        return "a run of another version"
    models = ", ".join(spec.name for spec in study.models[:2])
    more = f" and {len(study.models) - 2} more" if len(study.models) > 2 else ""
    what = EXAMINATIONS[study.examine[0]].title.format(models + more) if study.examine else models + more
    redrawn = f" · {study.designs} times redrawn" if study.designs else ""
    of = f"{plural(len(study.families), 'family', 'families')} × {study.per_family} × {study.length}"
    return f"{what} · {of}{redrawn}"


def waiting_told(job: Job, listed: Sequence[Job]) -> str:
    """Return what a run that has not begun waits for; ``listed`` are the runs, newest first."""
    earlier = [one.id for one in listed].index(job.id) + 1 if job in listed else 0
    before = [one for one in listed if one.state == "running" and one.id != job.id]
    before += [one for one in listed[earlier:][::-1] if one.state == "queued"]
    if job.state != "queued" or not before:
        return "Starting. The first run after a start loads its libraries for some seconds."
    first = f"“{md_text(title_of(before[0]), most=80)}”"
    more = f" and {plural(len(before) - 1, 'more run')}" if len(before) > 1 else ""
    return f"Waiting for its turn. Before it: {first}{more}."
