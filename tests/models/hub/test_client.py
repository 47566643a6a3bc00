"""What the hub answers, and no hub at all: each a sentence, soon, and without a token in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.settings import AllowedCode, Settings
from numembed.models.hub import client as hub_requests
from numembed.models.hub.card import card
from numembed.models.hub.snapshots import cached_folder, fetch, fetch_code, is_verified, newest_commit
from tests.models.hub.asked import NAME, STRANGER, TOKEN, told_by
from tests.servers.hub import FakeHub, closed_port

pytestmark = pytest.mark.slow  # together they take long


# what the hub answers


def test_each_refusal_has_its_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    asks = (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online), lambda: card(NAME, online))
    for status, headers, sentence in (
        (
            429,
            {"Retry-After": "40"},
            "error 429 for owner/name: too many requests came from here. Try again in 40 seconds",
        ),
        (429, {"RateLimit": '"api";r=0;t=250'}, "Try again in 5 minutes."),
        (429, {}, "Try again in some minutes."),
        (500, {}, "The model hub answered with error 500 for owner/name. Try again later."),
        (503, {}, "The model hub answered with error 503 for owner/name. Try again later."),
        (418, {}, "The model hub answered with error 418"),
    ):
        hub.spoil(NAME, "refuse", status=status, headers=headers)
        for ask in asks:
            assert sentence in told_by(ask)
    for ask in (
        lambda: newest_commit("owner/gone", online),
        lambda: card("owner/gone", online),
        lambda: fetch("owner/gone", commit, online),
    ):
        assert told_by(ask) == "The model hub has no public model called owner/gone. Check the spelling: owner/name."


@pytest.mark.parametrize("revision", ["0" * 40, "main", "../../../etc", "1" * 39, "", "\x00"])
def test_a_commit_that_is_none_is_a_sentence(hub: FakeHub, online: Settings, model: Path, revision: str) -> None:
    hub.add(NAME, model)
    assert "owner/name has no such commit. Leave the part after @ out" in told_by(lambda: fetch(NAME, revision, online))
    assert not is_verified(NAME, revision, online)
    assert cached_folder(NAME, revision).parent.name == "snapshots"


@pytest.mark.parametrize(
    "name",
    ["../etc", "a/b/c", "owner/na me", "оwner/name", "owner/..", "a--b/c", "-x/y", "a/b\n", "a/" + "b" * 300, ""],
)
def test_a_name_that_is_none_is_a_sentence_and_asks_nobody(hub: FakeHub, online: Settings, name: str) -> None:
    for ask in (lambda: newest_commit(name, online), lambda: card(name, online), lambda: fetch(name, "1" * 40, online)):
        assert "is not a model name on the hub. A name has the form owner/name." in told_by(ask)
    assert hub.paths() == []


def test_a_gated_model_says_how_to_be_admitted(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model, gated=True)
    hub.tokens |= {TOKEN, STRANGER}
    hub.repositories[NAME].admitted.add(TOKEN)
    told = told_by(lambda: fetch(NAME, commit, online))
    assert told.startswith(
        "owner/name is open only to people whom its owner has admitted. Accept its licence on "
        "huggingface.co/owner/name, create a read token"
    )
    assert "set HF_TOKEN" in told
    told = told_by(lambda: fetch(NAME, commit, replace(online, hub_token=STRANGER)))
    assert "the account of this installation's token is not among them" in told
    assert not cached_folder(NAME, commit).exists()
    assert fetch(NAME, commit, replace(online, hub_token=TOKEN)).is_dir()


def test_a_token_that_the_hub_does_not_know_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    unknown, torn = replace(online, hub_token=TOKEN), replace(online, hub_token=f"{TOKEN}\u2019")
    assert "does not accept the token" in told_by(lambda: newest_commit(NAME, unknown))
    assert "does not accept the token" in told_by(lambda: fetch(NAME, commit, unknown))
    assert "does not accept the token" in told_by(lambda: card(NAME, unknown))
    assert "HF_TOKEN contains characters" in told_by(lambda: fetch(NAME, commit, torn))


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: FakeHub, online: Settings, model: Path) -> None:
    hub.tokens.add(TOKEN)
    fetch(NAME, hub.add(NAME, model), replace(online, hub_token=TOKEN))
    told = {one.server: one.authorization for one in hub.asked}
    assert told == {"hub": f"Bearer {TOKEN}", "cdn": ""}


def test_the_librarys_login_is_not_shown_to_another_hub(
    hub: FakeHub, online: Settings, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    hub.tokens.add(TOKEN)
    hub.add(NAME, model)
    newest_commit(NAME, online)
    assert [one.authorization for one in hub.asked] == [""]
    monkeypatch.setattr(hub_requests, "HUB", hub.address)  # as if it were huggingface.co
    newest_commit(NAME, online)
    assert hub.asked[-1].authorization == f"Bearer {TOKEN}"


# no hub


def test_no_network_is_a_sentence_at_once(online: Settings) -> None:
    nowhere = replace(online, hub=closed_port(), hub_token=TOKEN)
    code = AllowedCode(NAME, "1" * 40, {"x.py": "0" * 64})
    for ask in (
        lambda: newest_commit(NAME, nowhere),
        lambda: fetch(NAME, "1" * 40, nowhere),
        lambda: card(NAME, nowhere),
        lambda: fetch_code(code, nowhere),
    ):
        assert "owner/name is not on this machine and the model hub cannot be reached. Choose all-MiniLM" in told_by(
            ask
        )


@pytest.mark.parametrize("address", ["nonsense", "http://[", "ftp://127.0.0.1", "http://no-such-host.invalid"])
def test_an_address_that_is_no_hub_is_a_sentence(online: Settings, address: str) -> None:
    assert "the model hub" in told_by(lambda: newest_commit(NAME, replace(online, hub=address)))


def test_offline_asks_nobody(hub: FakeHub, online: Settings, model: Path) -> None:
    commit, offline = hub.add(NAME, model), replace(online, offline=True)
    for ask in (
        lambda: newest_commit(NAME, offline),
        lambda: fetch(NAME, commit, offline),
        lambda: card(NAME, offline),
    ):
        assert "is not on this machine and this installation works offline" in told_by(ask)
    assert hub.paths() == []


def test_a_model_that_is_here_is_not_said_to_be_missing(hub: FakeHub, online: Settings, model: Path) -> None:
    fetch(NAME, hub.add(NAME, model), online)
    told = told_by(lambda: card(NAME, replace(online, offline=True)))
    assert told.startswith("The model hub could not be contacted about owner/name: this installation works offline.")


def test_a_hotels_login_page_is_no_hub(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "login")
    for ask in (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online)):
        assert "is not the answer of a model hub. Check HF_ENDPOINT" in told_by(ask)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_slow_hub_is_a_sentence(hub: FakeHub, online: Settings, model: Path, kind: str) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, kind, where="api")
    for ask in (lambda: newest_commit(NAME, online), lambda: fetch(NAME, commit, online), lambda: card(NAME, online)):
        assert "the model hub does not answer within 1 seconds" in told_by(ask)


def test_a_slow_hub_is_a_sentence_within_ten_seconds_as_installed(hub: FakeHub, online: Settings, model: Path) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "hang", where="api")
    told_by(lambda: newest_commit(NAME, online))
    hub.spoil(NAME, "hang", where="files")
    assert "The part that arrived is kept" in told_by(lambda: fetch(NAME, commit, online))


def test_a_hub_that_fails_while_a_model_arrives_is_a_sentence_within_ten_seconds_as_installed(
    hub: FakeHub, online: Settings, model: Path
) -> None:
    commit = hub.add(NAME, model)
    hub.spoil(NAME, "refuse", status=503, where="files")
    assert "error 503" in told_by(lambda: fetch(NAME, commit, online))
    hub.spoil(NAME, "cut")
    assert "was cut after" in told_by(lambda: fetch(NAME, commit, online))
