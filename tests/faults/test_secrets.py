"""The operator's secrets stay with the operator, and no request goes where a visitor points."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults_places import Place, wait_until
from benchmarks.page import ROOT
from numembed.core.errors import LIGHT, MODEL, BadChoice, BadSettings
from numembed.core.settings import Endpoint, Settings, read_settings, secrets_of, with_secrets
from numembed.export import scores_csv
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.runs.jobs import Job
from numembed.runs.logs import Redacting
from numembed.runs.study_run import Outcome, run
from numembed.runs.supervisor import start_worker
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.study import Study
from tests.servers import embeddings as servers
from tests.servers.embeddings import EmbeddingServer
from tests.servers.hub import FakeHub, serve_hub
from ui.shared.study_choice import address_of

TOKEN = "hf_QwErTyUiOpAsDfGhJkLzXcVbNm123456789012"
KEY = "Tr0ub4dor+and/3/quite=long"  # of no known kind
SECRETS = {
    "HF_TOKEN": TOKEN,
    "MY_ENDPOINT_KEY": KEY,
    "LAB_LOGIN": "pass.phrase.of.the.lab.4711",
    "OPENAI_API_KEY": "sk-proj-9876543210zyxwvutsrqponm",
    "STREAMLIT_X": "cookie.signing.words.0815",
    "AWS_SECRET_ACCESS": "wJalrXUtnFEMI/K7MDENG",
    "DB_PASSWORD": "correct.horse.battery",
}
QUICK = Study(("even", "odd", "primes"), (model("last_digits"),), per_family=1, length=5)


def planted(content: bytes) -> list[str]:
    """The secrets of which twelve characters stand in ``content``."""
    pieces = [
        (name, secret[start : start + 12]) for name, secret in SECRETS.items() for start in range(len(secret) - 11)
    ]
    return [name for name, piece in pieces if piece.encode() in content]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub() as served:
        served.tokens.add(TOKEN)
        yield served


@pytest.fixture
def place(home: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An installation whose environment holds secrets and names a hub; it has no endpoints yet."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in (SECRETS | {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    here = Place(read_settings())
    yield here
    here.clear()


def _endpoints(place: Place, **named: EmbeddingServer) -> None:
    with (place.settings.home / "operator.toml").open("w") as file:
        for name, server in named.items():
            file.write(f'[endpoints.{name}]\nurl = "{server.url}"\nkind = "{server.kind}"\nbudget_seconds = 1\n')
            file.write(f'key_env = "{"LAB_LOGIN" if name == "login" else "MY_ENDPOINT_KEY"}"\n')


def _nothing_planted(*folders: Path) -> None:
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 2 and not [file for file in files if planted(file.read_bytes())]


def _work_off(place: Place, study: Study) -> tuple[Job, subprocess.Popen[bytes]]:
    """Return the job of ``study`` after the app's own worker has done it, and that worker."""
    job = place.jobs.submit(study, asked_by="visitor")
    light, worker = (start_worker(read_settings(), lane) for lane in (LIGHT, MODEL))
    place.started += [light, worker]
    wait_until(lambda: not place.job(job).active)
    return place.job(job), worker


@pytest.mark.slow
def test_the_workers_environment_holds_no_secret_that_it_uses(place: Place, hub: FakeHub, tiny_model: Path) -> None:
    hub.add("owner/gated", tiny_model, gated=True)
    hub.repositories["owner/gated"].admitted.add(TOKEN)
    with EmbeddingServer() as first, EmbeddingServer("tei") as second:
        _endpoints(place, lab=first, login=second)
        study = replace(QUICK, models=tuple(map(model, ("owner/gated", "endpoint:lab", "endpoint:login"))))
        job, worker = _work_off(place, study)
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert not planted(environment) and not planted(Path(f"/proc/{worker.pid}/cmdline").read_bytes())
        names = {entry.split(b"=")[0].decode() for entry in environment.split(b"\0")}
        assert not names & set(SECRETS) and {"PATH", "NUMEMBED_HOME"} <= names
        assert (job.state, job.error) == ("done", "")
        assert {request.headers["authorization"] for request in first.requests} == {f"Bearer {KEY}"}
        assert {request.headers["authorization"] for request in second.requests} == {f"Bearer {SECRETS['LAB_LOGIN']}"}
    assert {one.authorization for one in hub.asked if one.server == "hub"} == {f"Bearer {TOKEN}"}
    _nothing_planted(place.settings.home)


@pytest.mark.slow
def test_no_failure_writes_a_secret_anywhere(place: Place, hub: FakeHub, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("gated", "busy", "broken", "cut"):
        hub.add(f"owner/{name}", tiny_model, gated=name == "gated")
    hub.spoil("owner/busy", "refuse", status=429, headers={"Retry-After": "60", "X-Told": TOKEN})
    hub.spoil("owner/broken", "refuse", status=500, headers={"X-Told": TOKEN})
    hub.spoil("owner/cut", "cut")
    torn = shutil.copytree(tiny_model, tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"torn")
    with (
        EmbeddingServer(otherwise=servers.echoing(401)) as refusing,
        EmbeddingServer(otherwise=servers.echoing(500)) as failing,
        EmbeddingServer(otherwise=servers.echoing(400)) as talking,
        EmbeddingServer() as working,
    ):
        _endpoints(place, refusing=refusing, failing=failing, talking=talking, working=working)
        bad = [*(f"owner/{name}" for name in ("gated", "busy", "broken", "cut", "missing")), str(torn), "/no/folder"]
        bad += [f"endpoint:{name}" for name in ("refusing", "failing", "talking", "unknown")]
        study = replace(QUICK, models=tuple(map(model, [*bad, "endpoint:working", "last_digits"])))
        job, _ = _work_off(place, study)
        failed = [step.model for step in job.progress if step.stage == "failed"]
        assert job.words == f"done, {len(bad)} of {len(study.models)} could not run" and failed == [
            name.split("/")[-1] if name[0] == "/" else name for name in bad
        ]
        assert "fault" not in job.error and not planted(job.error.encode()) and not planted(repr(job).encode())
        (tmp_path / "asked.json").write_text(study.to_json())
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "numembed",
                "run",
                "--study",
                str(tmp_path / "asked.json"),
                "--out",
                str(tmp_path / "out"),
            ],
            cwd=ROOT,
            capture_output=True,
            timeout=240,
        )
    assert done.returncode == 3 and b"owner/gated" in done.stderr and b"silhouette" in done.stdout
    assert not planted(done.stdout) and not planted(done.stderr)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["maps.html", "scores.csv", "study.json"]
    _nothing_planted(place.settings.home, tmp_path / "out", tmp_path / "hub")


# --- no request goes where a visitor points


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that this process connects to."""
    connect, addresses = socket.socket.connect, []

    def noted(self: socket.socket, address: Any) -> None:
        addresses.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    return addresses


def _run(settings: Settings, *references: str) -> tuple[Study, Outcome]:
    study = Study.from_dict(QUICK.as_dict() | {"models": references, "per_family": 3})
    stores = {"vectors": VectorStore(settings.cache_db), "results": ResultStore(settings.app_db)}
    return study, run(study, loaded=LoadedModel(settings), settings=settings, **stores)


def _text(settings: Settings, reference: str) -> str:
    """Return the sentence that refuses ``reference``: at once, or in its run."""
    try:
        return " ".join(_run(settings, reference)[1].errors.values())
    except BadChoice as refused:
        return str(refused)


TYPED = [
    "http://{}/x",
    "https://{}/v1",
    "//{}/x",
    "{}",
    "{}/x",
    "169.254.169.254/latest",
    "endpoint:http://{}/",
    "endpoint:{}",
    "endpoint:unknown",
    "endpoint:",
    "endpoint:lab url=http://{}",
    "endpoint:lab@http://{}",
    "endpoint:lab endpoint:http://{}",
    "endpoint:lab model=http://{}",
    "owner/name@http://{}",
    "owner/name@{}",
    "owner/name url=http://{}",
    "http://{}/owner/name@" + "0" * 40,
    "hf://{}/x",
    "file://{}/x",
    "~http://{}/x",
    "./http://{}/x",
    "\\\\{}\\share",
    "//{}/share/model",
    "ENDPOINT:lab",
    " endpoint: lab",
]


@pytest.mark.slow
@pytest.mark.parametrize("typed", TYPED)
def test_what_a_visitor_types_is_refused_and_not_asked(settings: Settings, asked: list[Any], typed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, EmbeddingServer() as server:
        listener.setblocking(False)
        reference = typed.format(f"127.0.0.1:{listener.getsockname()[1]}")
        lab = {"lab": Endpoint("lab", server.url, "small", key=KEY)}
        told = _text(replace(settings, offline=False, endpoints=lab), reference)
        assert told.endswith(".") and server.url not in told and not planted(told.encode())
        assert asked == [] and server.requests == []
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.slow
def test_an_endpoint_is_chosen_by_name_and_its_address_stays_here(settings: Settings, asked: list[Any]) -> None:
    with EmbeddingServer() as server:
        settings = replace(settings, endpoints={"lab": Endpoint("lab", server.url, "small", key=KEY)})
        study, outcome = _run(settings, "endpoint:lab dim=4", "endpoint:lab", "last_digits")
        assert not outcome.errors and len(server.requests) == 1 and set(asked) == {server.server_address}
    assert all(sum(not math.isnan(score.value) for score in result.scores) > 5 for result in outcome.results)
    assert [result.dimension for result in outcome.results[:2]] == [4, servers.DIMENSION]
    rows = sqlite3.connect(settings.app_db).execute("SELECT payload FROM results WHERE key NOT LIKE 'pinned:%'")
    told = [row[0] for row in rows] + [study.to_json(), json.dumps(address_of(study))]
    told += [scores_csv(study, outcome.results, outcome.references)]
    told += [score.model + score.note for result in outcome.results for score in result.scores]
    assert len(told) > 9 and not planted("".join(told).encode()) and not any(server.url[7:-3] in text for text in told)
    assert address_of(study)["models"] == ["endpoint:lab dim=4", "endpoint:lab", "last_digits"]


def _with(**keys: str) -> Settings:
    endpoints = {name: Endpoint(name, "http://127.0.0.1:1", key=key) for name, key in keys.items()}
    return Settings(Path("/nowhere"), offline=True, prewarm=False, hub_token=TOKEN, endpoints=endpoints)


def test_secrets_are_taken_out_of_text() -> None:
    settings = _with(one="abcdefgh", two="abcdefgh-and-more", none="")
    assert settings.redact(f"a {TOKEN} b abcdefgh-and-more c abcdefgh.") == "a [secret] b [secret] c [secret]."
    for stranger in ("hf_0123456789abcdefXYZ", "sk-proj-0123456789_abcdef", SECRETS["OPENAI_API_KEY"]):
        assert settings.redact(f"token={stranger}&x 'sk-1' hf_short") == "token=[secret]&x 'sk-1' hf_short"
    plain = "Nothing to hide: sk-learn, 1, 2, 3 — größer"
    assert settings.redact(plain) == plain == replace(settings, hub_token="", endpoints={}).redact(plain)


def test_the_logs_tracebacks_hold_no_secrets() -> None:
    lines, settings = Redacting(settings=_with(lab=KEY)), _with(lab=KEY)
    try:
        try:
            raise OSError(f"GET https://x/?token={TOKEN}")
        except OSError as error:
            raise ValueError(f"Bearer {KEY}") from error
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed with %s", (KEY,), sys.exc_info())
    line = lines.format(record)
    assert not planted(line.encode()) and line.count("[secret]") == 3 and "Traceback" in line and "ValueError" in line
    assert not planted(repr(settings).encode()) and not planted(str(settings.endpoints["lab"]).encode())


# --- operator.toml


def _read(tmp_path: Path, text: str | bytes, **environ: str) -> Settings:
    (tmp_path / "operator.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_settings({"NUMEMBED_HOME": str(tmp_path)} | environ)


LAB = '[endpoints.lab]\nurl = "http://lab/v1"\n'
CODE = '[remote_code."owner/name"]\n'
SHA = "0" * 40
BAD = [
    ("endpoints = {", "is not valid TOML"),
    (b"\xff\xfe[endpoints]", "is not UTF-8 text"),
    ("[endpoint.x]", "'endpoint'"),
    ("endpoints = 3", "endpoints is not a section"),
    ("remote_code = ['a/b']", "remote_code is not a section"),
    ("[endpoints]\nlab = 'http://lab'", "endpoint 'lab' is not a section"),
    ("[endpoints.'a b']", "up to 40 letters"),
    ("[endpoints.lab]", "url is an http"),
    (LAB.replace("http", "ftp"), "url is an http"),
    (LAB.replace("lab/", "me:pw@lab/"), "url is an http"),
    (LAB.replace("lab/", ":pw@lab/"), "url is an http"),
    (LAB.replace("/v1", "/v1?key=1"), "url is an http"),
    (LAB.replace("lab/v1", "[::1"), "url is an http"),
    (LAB.replace("lab/v1", "lab:http/v1"), "url is an http"),
    (LAB.replace("lab/v1", "la b"), "url is an http"),
    ("[endpoints.lab]\nurl = 5", "url cannot be '5'"),
    (LAB + f"key = '{KEY}'", "no entry 'key'"),
    (LAB + "kind = 'cohere'", "kind must be openai or tei"),
    (LAB + "batch_texts = 0", "batch_texts cannot be '0'"),
    (LAB + "dimension = true", "dimension cannot be 'True'"),
    (LAB + "concurrency = 2.5", "concurrency cannot be"),
    (LAB + "timeout_seconds = nan", "timeout_seconds cannot be"),
    (LAB + "budget_seconds = inf", "budget_seconds"),
    (LAB + "budget_seconds = '9'", "budget_seconds cannot be '9'"),
    (CODE + f"code = 'a/b@{SHA}'", "two entries"),
    (CODE + "code = 'a/b@main'\nfiles = {'x.py' = '1'}", "a commit of 40 digits"),
    (CODE + f"code = '@{SHA}'\nfiles = {{'x.py' = '1'}}", "owner/name@"),
    (CODE + f"code = 'a/b@{SHA}'\nfiles = {{}}", "at least one file"),
    (CODE + f"code = 'a/b@{SHA}'\nfiles = {{'../x.py' = '{'0' * 64}'}}", "modeling_x.py"),
    (CODE + f"code = 'a/b@{SHA}'\nfiles = {{'x.py' = 5}}", "sha256"),
]


@pytest.mark.parametrize(("text", "told"), BAD)
def test_what_is_wrong_in_the_operators_file_is_named(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(BadSettings) as caught:
        _read(tmp_path, text)
    sentence = str(caught.value)
    assert told in sentence and "operator.toml" in sentence and not planted(sentence.encode())


def test_a_good_file_is_read_and_its_keys_travel_apart(tmp_path: Path) -> None:
    rest = "kind = 'tei'\nmodel = 'm'\ndimension = 8\ntimeout_seconds = 1.5\nkey_env = 'MY_ENDPOINT_KEY'\n"
    code = CODE + f"code = 'a/b@{SHA}'\nfiles = {{'x.py' = '{'0' * 64}'}}\n"
    text = LAB.replace("/v1", "/v1/") + rest + "[endpoints.open]\nurl = 'https://[::1]:8080'\n" + code
    settings = _read(tmp_path, text, **SECRETS)
    wanted = Endpoint("lab", "http://lab/v1", "m", "tei", 8, timeout_seconds=1.5, key=KEY)
    assert settings.endpoints == {"lab": wanted, "open": Endpoint("open", "https://[::1]:8080")}
    assert settings.code["owner/name"].revision == SHA and settings.secrets == (TOKEN, KEY)
    assert not planted(repr(settings).encode())
    bare = _read(tmp_path, text)
    assert bare.secrets == () and with_secrets(bare, secrets_of(settings)) == settings
    assert with_secrets(settings, secrets_of(bare)) == bare == with_secrets(settings, "")
