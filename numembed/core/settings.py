"""What the operator sets and how much one visitor may ask for. Read from the environment once, at the start."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platformdirs import user_cache_path, user_data_path

from numembed.core.errors import BadSettings
from numembed.core.places import is_writable

DEVICES = ("auto", "cuda", "mps", "cpu")
HUB = "https://huggingface.co"
_SWITCHES = ("open", "allow_get")  # of operator.toml


@dataclass(frozen=True)
class Limits:
    """The most that one study may ask for; above it, a sentence with the limit, never a truncation."""

    models: int = 24
    families: int = 60
    per_family: int = 2_000
    length: int = 2_000
    first_window: int = 100_000
    texts: int = 20_000
    terms: int = 4_000_000  # of all sequences together; each takes some 40 bytes
    terms_before_run: int = 200_000  # that a page makes of a study which nobody has run
    bytes_before_run: int = 20_000_000  # and so much memory: some families have terms of thousands of digits
    separator_chars: int = 20
    text_chars: int = 20_000  # section 4.1 of the paper
    term_digits: int = 4_000  # Python refuses to print integers above 4,300 digits
    designs: int = 200  # redrawn sets of windows, each encoded anew
    study_chars: int = 20_000  # of a link or a saved study
    reference_chars: int = 500  # of one model's or family's name


LIMITS = Limits()


@dataclass(frozen=True)
class Endpoint:
    """A server that turns texts into vectors, as the operator's file names it."""

    name: str
    url: str  # up to and without /embeddings or /embed
    model: str = ""  # as the server calls it
    kind: str = "openai"  # or "tei"
    dimension: int | None = None  # refused when an answer has another
    batch_texts: int = 32  # in one request
    concurrency: int = 4  # requests at a time
    timeout_seconds: float = 60.0  # of one request
    budget_seconds: float = 180.0  # of one request with all its retries
    key: str = field(default="", repr=False)  # never leaves this process but in the request's header


@dataclass(frozen=True)
class RunLimits:
    """What the operator allows runs to take; numbers of runs are those of one visitor at another address."""

    job_hours: float = 24.0
    active_runs: int = 3  # that have begun and are not over; others of the same visitor wait
    waiting_runs: int = 20  # more are refused

    @property
    def job_seconds(self) -> float:
        """The most time of one run."""
        return self.job_hours * 3_600


@dataclass(frozen=True)
class AllowedCode:
    """Program code of a repository that the operator has read and allowed: file name to sha256."""

    repo: str
    revision: str
    files: Mapping[str, str]


def _compiled_of_user() -> Path | None:
    with contextlib.suppress(RuntimeError):  # a user without a home
        return user_cache_path("numembed") / "compiled"
    return None


@dataclass(frozen=True)
class Settings:
    """Where things are kept and what this machine may do."""

    home: Path  # app.db, cache.db, worker.lock, worker.log, operator.toml
    offline: bool  # never ask the model hub
    prewarm: bool  # the worker imports the libraries while it waits
    prepared: bool = True  # pages show results that came with the program where there are no own ones
    device: str = "auto"  # one of DEVICES
    folders: tuple[Path, ...] = ()  # models in folders are read only below these
    looks_into_folders: bool = True  # that somebody names; pages leave it to the worker
    hub: str = HUB  # address of the model hub
    hub_token: str = field(default="", repr=False)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    code: Mapping[str, AllowedCode] = field(default_factory=dict)  # by the model's repository
    limits: RunLimits = RunLimits()
    visitor_header: str = ""  # of a proxy: whose requests these are, for the limits
    open: bool = False  # at another address than this machine's, visitors may start, stop and delete
    allow_get: bool = False  # there they may also get models of packages, where they may start things
    compiled: Path | None = field(default_factory=_compiled_of_user)  # compiled code, may be deleted; None: in memory

    @property
    def app_db(self) -> Path:
        """Jobs and results."""
        return self.home / "app.db"

    @property
    def cache_db(self) -> Path:
        """Vectors; may be deleted at any time."""
        return self.home / "cache.db"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that no page, log, file or message may show."""
        known = (self.hub_token, *(endpoint.key for endpoint in self.endpoints.values()))
        return tuple(secret for secret in known if len(secret) >= _SHORTEST_SECRET)

    def redact(self, text: str) -> str:
        """Return ``text`` without any secret."""
        for secret in sorted(self.secrets, key=len, reverse=True):  # one may begin with another
            text = text.replace(secret, "[secret]")
        return _TOKENS.sub("[secret]", text)


_SECRET = re.compile(r"TOKEN(?!IZERS)|KEY|SECRET|PASSWORD|CREDENTIAL|^STREAMLIT_", re.IGNORECASE)
_SHORTEST_SECRET = 8  # characters; a dummy key such as "x" is no secret, and would blot out every sentence
_TOKENS = re.compile(r"\b(hf_|sk-)[A-Za-z0-9_-]{16,}")


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of ``environ`` and of operator.toml in the home folder.

    Raises :class:`BadSettings`, which says what is wrong in the file.
    """
    home, device = _home(environ), environ.get("NUMEMBED_DEVICE", "auto").lower()
    if device not in DEVICES:
        raise BadSettings(f"NUMEMBED_DEVICE must be one of {', '.join(DEVICES)}, got {device[:40]!r}.")
    plain = _operator_file(Path(environ.get("NUMEMBED_OPERATOR_FILE") or home / "operator.toml"))
    below = environ.get("NUMEMBED_MODEL_FOLDERS")
    folders = list(map(_expanded, below.split(os.pathsep))) if below else _own_folders()
    return Settings(
        home=home,
        offline=environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"},
        prewarm=environ.get("NUMEMBED_PREWARM", "1") != "0",
        prepared=environ.get("NUMEMBED_PREPARED", "1") != "0",
        device=device,
        folders=tuple(Path(os.path.realpath(folder)) for folder in (*folders, home)),
        hub=environ.get("HF_ENDPOINT", HUB).rstrip("/"),
        hub_token=environ.get("HF_TOKEN", "").strip(),
        endpoints={name: _endpoint(name, facts, environ) for name, facts in plain.get("endpoints", {}).items()},
        code={repo: _allowed_code(repo, facts) for repo, facts in plain.get("remote_code", {}).items()},
        limits=_run_limits(plain.get("limits", {})),
        visitor_header=str(plain.get("visitor_header", "")),
        open=plain.get("open", False),
        allow_get=plain.get("allow_get", False),
        compiled=_compiled(home, environ),
    )


def _home(environ: Mapping[str, str]) -> Path:
    if given := environ.get("NUMEMBED_HOME"):
        return _expanded(given).absolute()
    try:
        return user_data_path("numembed")
    except RuntimeError:
        text = "This user has no home folder. Set NUMEMBED_HOME to a folder that can be written to."
        raise BadSettings(text) from None


def _expanded(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:  # a user without a home, as in a container
        raise BadSettings(
            f"{folder[:120]!r} begins with a home folder that does not exist. Give a whole path."
        ) from None


def _compiled(home: Path, environ: Mapping[str, str]) -> Path:
    """Return where compiled code is kept: below a home that was given, else where all homes of this user share it."""
    if named := environ.get("NUMEMBED_COMPILED"):
        return _expanded(named).absolute()
    shared = None if environ.get("NUMEMBED_HOME") else _compiled_of_user()
    return shared if shared is not None and is_writable(shared) else home / "compiled"


def _own_folders() -> list[Path]:
    """Return the user's home and the present folder, without one that is the whole disk or another user's."""
    folders = []
    for find in (Path.home, Path.cwd):
        with contextlib.suppress(OSError, RuntimeError):  # there is none
            folder = find()
            own = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if own and folder.resolve() != Path(folder.resolve().anchor):
                folders.append(folder)
    return folders


def harmless(environ: Mapping[str, str], secrets: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables that a process which loads strangers' models may see: none that looks like a secret."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name) and value.strip() not in secrets}


def secrets_of(settings: Settings) -> str:
    """Return the secrets as JSON, for the pipe to the worker: its environment holds none."""
    keys = {endpoint.name: endpoint.key for endpoint in settings.endpoints.values()}
    return json.dumps({"hub_token": settings.hub_token, "keys": keys})


def with_secrets(settings: Settings, text: str) -> Settings:
    """Return ``settings`` with what :func:`secrets_of` wrote."""
    plain = json.loads(text or "{}")
    keys = plain.get("keys", {})
    endpoints = {name: replace(one, key=keys.get(name, "")) for name, one in settings.endpoints.items()}
    return replace(settings, hub_token=plain.get("hub_token", ""), endpoints=endpoints)


def _operator_file(file: Path) -> dict[str, Any]:
    try:
        plain = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadSettings(f"{file} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise BadSettings(f"{file} is not UTF-8 text. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{file} is not valid TOML: {error}.") from None
    except RecursionError:
        raise BadSettings(f"{file} is nested too deeply. Write its entries as docs/operators.md shows them.") from None
    if unknown := set(plain) - {*_SWITCHES, "visitor_header", "endpoints", "remote_code", "limits"}:
        raise BadSettings(f"{file} has no section {sorted(unknown)[0]!r}. Known: endpoints, remote_code, limits.")
    for switch in _SWITCHES:
        if not isinstance(plain.get(switch, False), bool):
            raise BadSettings(f"{file}: {switch} must be true or false, got {str(plain[switch])[:40]!r}.")
    if not re.fullmatch(r"[A-Za-z0-9-]*", header := str(plain.get("visitor_header", ""))):
        raise BadSettings(f"{file}: visitor_header must be the name of a header, got {header[:40]!r}.")
    for section, facts in plain.items():
        if section not in (*_SWITCHES, "visitor_header") and not isinstance(facts, dict):
            raise BadSettings(f"{file}: {section} is not a section. Write [{section}.name] and its entries below it.")
    return plain


def _run_limits(facts: Mapping[str, Any]) -> RunLimits:
    known = {one.name: type(one.default) for one in fields(RunLimits)}
    for fact, value in facts.items():
        if fact not in known:
            raise BadSettings(f"operator.toml, limits has no entry {fact[:40]!r}. Known: {', '.join(known)}.")
        if type(value) not in (int, known[fact]) or not 0 < value < math.inf:
            number = "number" if known[fact] is float else "whole number"
            raise BadSettings(f"operator.toml, limits: {fact} must be a {number} above 0, got {str(value)[:40]!r}.")
    return RunLimits(**facts)


_ENDPOINT_FACTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("url", "model", "kind", "key_env"), (str,)),
    **dict.fromkeys(("dimension", "batch_texts", "concurrency"), (int,)),
    **dict.fromkeys(("timeout_seconds", "budget_seconds"), (int, float)),
}


def _endpoint(name: str, facts: Any, environ: Mapping[str, str]) -> Endpoint:
    where = f"operator.toml, endpoint {name[:40]!r}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise BadSettings(f"{where}: a name has up to 40 letters, digits, dots and dashes.")
    if not isinstance(facts, dict):
        raise BadSettings(f"{where} is not a section. Write [endpoints.{name}].")
    if unknown := sorted(set(facts) - set(_ENDPOINT_FACTS)):
        raise BadSettings(f"{where} has no entry {unknown[0]!r}. Known: {', '.join(_ENDPOINT_FACTS)}.")
    for fact, value in facts.items():
        is_kind = isinstance(value, _ENDPOINT_FACTS[fact]) and not isinstance(value, bool)
        if not is_kind or (not isinstance(value, str) and not 0 < value < math.inf):
            raise BadSettings(f"{where}: {fact} cannot be {str(value)[:40]!r}.")
    if not _is_address(facts.get("url", "")):
        raise BadSettings(f"{where}: url is an http(s) address without user name, password or query.")
    if facts.get("kind", "openai") not in ("openai", "tei"):
        raise BadSettings(f"{where}: kind must be openai or tei.")
    rest = {fact: value for fact, value in facts.items() if fact != "key_env"}
    rest["url"] = facts["url"].rstrip("/")
    return Endpoint(name, key=environ.get(facts.get("key_env", ""), "").strip(), **rest)


def _is_address(url: str) -> bool:
    try:
        address = urlsplit(url)
        there = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return there and "@" not in address.netloc and not (address.query or address.fragment or re.search(r"\s", url))


def _allowed_code(repo: str, facts: Any) -> AllowedCode:
    where = f"operator.toml, remote code of {repo[:80]!r}"
    if not isinstance(facts, dict) or set(facts) != {"code", "files"} or not isinstance(facts["files"], dict):
        raise BadSettings(f"{where} needs two entries: code = owner/name@commit and files = name and sha256 of each.")
    code, _, revision = str(facts["code"]).partition("@")
    files = facts["files"]
    if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", str(facts["code"])) or not files:
        raise BadSettings(f"{where}: code must be owner/name@ and a commit of 40 digits, with at least one file.")
    if not all(
        re.fullmatch(r"[A-Za-z0-9_]+\.py", name) and re.fullmatch(r"[0-9a-f]{64}", str(sha))
        for name, sha in files.items()
    ):
        raise BadSettings(f"{where}: files must be names such as modeling_x.py, each with its sha256.")
    return AllowedCode(code, revision, dict(files))
