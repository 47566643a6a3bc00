"""What the tests of the pages share: a page's elements and words, and the worker's part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs.jobs import JobTable
from numembed.runs.worker import run_job

ROOT = Path(__file__).parents[2]
PAGES = sorted(f"pages/{page.name}" for page in (ROOT / "pages").glob("*.py"))


def opened(app: AppTest, page: str) -> AppTest:
    """Run the app, open the page of this file, such as "pages/maps.py", and return the app."""
    app.run()
    app.switch_page(page).run()
    assert not app.exception
    return app


def walk(block: Any) -> Iterator[Any]:
    """Give every element and block below ``block``, in their order on the page."""
    for child in getattr(block, "children", {}).values():
        yield child
        yield from walk(child)


def protos(app: AppTest, kind: str) -> list[Any]:
    """Return what Streamlit sends to the browser for every element of this kind."""
    return [element.proto for element in walk(app.main) if element.type == kind]


def charts(app: AppTest) -> list[Any]:
    """Return what Streamlit sends to the browser for every chart."""
    return protos(app, "plotly_chart")


def plain(words: str) -> str:
    """Return the words as they are read, without escapes."""
    return words.replace("\\", "").replace("\u2060", "")


def told(app: AppTest) -> str:
    """Return all words of the page, without escapes: its text, then its headings, then its messages."""
    kinds = (app.markdown, app.caption, app.subheader, app.error, app.warning, app.info, app.success)
    return plain(" ".join(element.value for kind in kinds for element in kind))


def work_off(settings: Settings) -> list[str]:
    """Carry out the waiting jobs as the worker does; return the state each has ended in."""
    with JobTable(settings.app_db) as jobs:
        return [run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) for job in iter(jobs.claim, None)]


def looked_at(app: AppTest, settings: Settings) -> AppTest:
    """Let the worker look into the folder that is typed in on the Models page; return the page with what it found."""
    app.button(key="look").click().run()
    work_off(settings)
    return app.run()
