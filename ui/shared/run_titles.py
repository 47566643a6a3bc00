"""What a run waits for, in words."""

from __future__ import annotations

from collections.abc import Sequence

from numembed.core.wording import plural
from numembed.runs.jobs import Job
from ui.shared.text import md_text


def waiting_text(job: Job, listed: Sequence[Job]) -> str:
    """Return what a run that has not begun waits for; ``listed`` are the runs, newest first."""
    earlier = [one.id for one in listed].index(job.id) + 1 if job in listed else 0
    before = [one for one in listed if one.state == "running" and one.id != job.id]
    before += [one for one in listed[earlier:][::-1] if one.state == "queued"]
    if job.state != "queued" or not before:
        return "Starting. The first run after a start loads its libraries for some seconds."
    first = f"“{md_text(before[0].title, most=80)}”"
    more = f" and {plural(len(before) - 1, 'more run')}" if len(before) > 1 else ""
    return f"In the queue. Before it: {first}{more}."
