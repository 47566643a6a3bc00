from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from numembed.core.errors import BadSettings
from numembed.core.settings import LIMITS, Limits, read_settings


def test_home_is_what_the_operator_says() -> None:
    settings = read_settings({"NUMEMBED_HOME": "/srv/numbers"})
    assert settings.app_db == Path("/srv/numbers/app.db") and settings.cache_db == Path("/srv/numbers/cache.db")


def test_home_is_absolute_whatever_the_present_folder() -> None:
    assert read_settings({"NUMEMBED_HOME": "here"}).home == Path.cwd() / "here"
    assert read_settings({"NUMEMBED_HOME": "~/numbers"}).home == Path.home() / "numbers"


@pytest.mark.parametrize("environ", [{}, {"NUMEMBED_HOME": ""}])
def test_without_a_word_home_is_the_users_own(environ: dict[str, str]) -> None:
    home = read_settings(environ).home
    assert home.is_absolute() and home.name == "numembed"


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False)]
)
def test_offline(value: str, offline: bool) -> None:
    assert read_settings({"HF_HUB_OFFLINE": value}).offline is offline


def test_defaults() -> None:
    settings = read_settings({})
    assert settings.prewarm and not settings.offline
    assert not read_settings({"NUMEMBED_PREWARM": "0"}).prewarm


def test_limits_are_positive_and_hold_the_papers_protocol() -> None:
    assert all(limit > 0 for limit in astuple(LIMITS))
    assert Limits() == LIMITS
    assert LIMITS.families >= 6 and LIMITS.per_family >= 4 and LIMITS.length >= 50 and LIMITS.text_chars == 20_000
    assert LIMITS.term_digits < 4_300  # what Python prints


def test_the_operator_limits_runs(tmp_path: Path) -> None:
    file, environ = tmp_path / "operator.toml", {"NUMEMBED_HOME": str(tmp_path)}
    assert read_settings(environ).limits.job_seconds == 24 * 3_600
    file.write_text("[limits]\njob_hours = 0.5\n")
    assert read_settings(environ).limits.job_seconds == 1_800
    for wrong, why in (
        ("job_hours = 0", "above 0"),
        ("job_hours = true", "above 0"),
        ("hours = 3", "no entry 'hours'"),
        ("active_runs = 2.5", "whole number above 0"),
        ("waiting_runs = -1", "above 0"),
    ):
        file.write_text(f"[limits]\n{wrong}\n")
        with pytest.raises(BadSettings, match=why):
            read_settings(environ)
    file.write_text('visitor_header = "X-Real-IP"\n[limits]\nactive_runs = 1\nwaiting_runs = 5\n')
    settings = read_settings(environ)
    assert (settings.visitor_header, settings.limits.active_runs, settings.limits.waiting_runs) == ("X-Real-IP", 1, 5)
    for wrong in ("'two words'", "3.5"):
        file.write_text(f"visitor_header = {wrong}\n")
        with pytest.raises(BadSettings, match="must be the name of a header"):
            read_settings(environ)
