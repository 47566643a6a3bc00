"""A model hub on loopback that serves folders, keeps a log of what is asked, and breaks in the ways that hubs break.

    with serve_hub() as hub:
        commit = hub.add("owner/name", folder)
        hub.spoil("owner/name", "cut", times=1)
        ...  # HF_ENDPOINT=hub.address, HF_HUB_OFFLINE unset, HF_HOME an empty folder
        hub.paths()

Large files (weights) are redirected to a second server, as on the real hub. The hub's own library works with it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".model")
ALWAYS = 1_000_000
_PIECE_BYTES = 16_384


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived."""

    server: str  # "hub" or "cdn"
    method: str
    path: str
    authorization: str
    range: str


@dataclass
class Fault:
    """What is wrong with a repository.

    refuse: ``status`` with ``headers``; hang: no answer; drip: a byte now and then; login: a page of HTML;
    cut: the connection breaks after half of what is asked; flip: one byte of the weights differs;
    header: the weights begin with nonsense; short: half of the file, politely;
    whole: ranges are not understood.
    """

    kind: str
    times: int = ALWAYS  # how many answers are spoilt before it heals
    where: str = "any"  # "api", "files", or "any"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Repository:
    """A repository: a folder for each commit, the last one being main."""

    commits: dict[str, Path] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    admitted: set[str] = field(default_factory=set)  # tokens
    fault: Fault | None = None
    claimed_bytes: dict[str, int] = field(default_factory=dict)  # a size that the listing lies about, by file name


class FakeHub:
    """What is served, and the log. Made by :func:`serve_hub`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()  # valid ones; any other is refused everywhere
        self.asked: list[Asked] = []
        self.bytes_sent = 0
        self.slow = threading.Event()  # while set, files trickle
        self.closing = threading.Event()
        self.address = self.cdn = ""

    def add(self, name: str, folder: Path, *, licence: str = "mit", gated: bool = False, **about: Any) -> str:
        """Serve ``folder`` as the newest commit of a repository and return that commit; change it later at will."""
        repository = self.repositories.setdefault(name, Repository())
        digest = hashlib.sha1(f"{name} {len(repository.commits)}".encode())
        for file in _files(folder):
            digest.update(f"{file.relative_to(folder)} {sha256(file)}".encode())
        commit = digest.hexdigest()
        repository.commits[commit] = folder
        repository.gated = gated
        repository.about = {
            "cardData": {"license": licence},
            "tags": [f"license:{licence}", "sentence-similarity"],
            "library_name": "sentence-transformers",
        } | about
        return commit

    def spoil(self, name: str, kind: str, **facts: Any) -> None:
        """Break a repository, see :class:`Fault`; ``kind`` "" heals it."""
        self.repositories[name].fault = Fault(kind, **facts) if kind else None

    def paths(self, server: str = "") -> list[str]:
        """Return "METHOD path" of everything that was asked."""
        return [f"{one.method} {one.path}" for one in list(self.asked) if not server or one.server == server]


@contextmanager
def serve_hub() -> Iterator[FakeHub]:
    """Run a hub until the block ends; its address is ``hub.address``."""
    hub = FakeHub()
    servers = []
    for name in ("hub", "cdn"):
        handler = type("Handler", (_Handler,), {"hub": hub, "name": name})
        server = _Server(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    hub.address, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()


def closed_port() -> str:
    """Return an address at which nobody listens: no network."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def sha256(file: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: those who ask may go at any time."""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    name: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "")
        self.hub.asked.append(Asked(self.name, self.command, self.path, token, self.headers.get("Range", "")))
        path = unquote(urlsplit(self.path).path).strip("/")
        if self.name == "cdn":
            repo, _, rest = path.partition("/-/")
            self._send_file(self.hub.repositories[repo], *rest.split("/", 1))
        elif path.startswith("api/models/"):
            self._api(path.removeprefix("api/models/"), parse_qs(urlsplit(self.path).query))
        else:
            repo, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            self._resolve(repo, revision, name)

    do_HEAD = do_GET

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        repo, verb, revision = path, "", ""
        for word in ("revision", "tree"):
            if f"/{word}/" in path:
                repo, _, revision = path.partition(f"/{word}/")
                verb = word
        if not (commit := self._opened(repo, revision, "api")):
            return
        repository = self.hub.repositories[repo]
        if verb == "tree":
            return self._json(
                200, [_tree_entry(file, repository.commits[commit]) for file in _files(repository.commits[commit])]
            )
        detailed = "blobs" in query
        siblings = [_sibling(file, repository, commit, detailed) for file in _files(repository.commits[commit])]
        self._json(
            200,
            {
                "id": repo,
                "sha": commit,
                "gated": "manual" if repository.gated else False,
                "private": repository.private,
                "siblings": siblings,
            }
            | repository.about,
        )

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if not (commit := self._opened(repo, revision, "files")):
            return
        repository = self.hub.repositories[repo]
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and token not in repository.admitted:
            return self._refuse(403 if token else 401, "GatedRepo")
        file = repository.commits[commit] / name
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        if not name.endswith(LARGE):
            return self._send_file(repository, commit, name)
        self._empty(
            302,
            {
                "Location": f"{self.hub.cdn}/{repo}/-/{commit}/{name}",
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{sha256(file)}"',
                "X-Linked-Size": str(file.stat().st_size),
            },
        )

    def _opened(self, repo: str, revision: str, where: str) -> str:
        """Return the commit that is asked for, or "" after a refusal."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        repository = self.hub.repositories.get(repo)
        if token and token not in self.hub.tokens:
            self._empty(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.private and token not in repository.admitted):
            self._refuse(404 if token else 401, "RepoNotFound")
        elif not self._spoilt(repository, where):
            commits = list(repository.commits)
            commit = commits[-1] if revision in ("", "main") else revision
            if commit in commits:
                return commit
            self._refuse(404, "RevisionNotFound")
        return ""

    def _spoilt(self, repository: Repository, where: str) -> bool:
        fault = repository.fault
        if fault is None or fault.kind not in ("refuse", "hang", "login", "drip") or fault.where not in ("any", where):
            return False
        if not self._counts(fault):
            return False
        match fault.kind:
            case "refuse":
                self._empty(fault.status, fault.headers)
            case "hang":
                self.hub.closing.wait(120)
            case "login":
                self._send(200, b"<html><body>Welcome to our hotel</body></html>", {"Content-Type": "text/html"})
            case "drip":
                self._head(200, {"Content-Length": "1000000", "Content-Type": "application/json"})
                while not self.hub.closing.wait(0.3):
                    self.wfile.write(b" ")
        return True

    def _counts(self, fault: Fault) -> bool:
        fault.times -= 1
        return fault.times >= 0

    def _send_file(self, repository: Repository, commit: str, name: str) -> None:
        content = (repository.commits[commit] / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else _git_digest(content)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        fault = repository.fault if name.endswith(LARGE) and self.command == "GET" else None
        kind = (
            fault.kind
            if fault and fault.kind in ("cut", "flip", "header", "short", "whole") and self._counts(fault)
            else ""
        )
        if kind == "flip":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        elif kind == "header":
            content = b"\xff" * 8 + content[8:]
        elif kind == "short":
            content = content[: len(content) // 2]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start and kind != "whole":
            if start >= len(content):
                return self._empty(416, {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[start:], headers, cut=kind == "cut")
        self._send(200, content, headers, cut=kind == "cut")

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self._head(status, headers | {"Content-Length": str(len(content))})
        if self.command == "HEAD":
            return
        content = content[: len(content) // 2] if cut else content
        try:
            for start in range(0, len(content), _PIECE_BYTES):
                self.wfile.write(content[start : start + _PIECE_BYTES])
                self.hub.bytes_sent += len(content[start : start + _PIECE_BYTES])
                if self.hub.slow.is_set() and len(content) > 20_000:
                    self.hub.closing.wait(0.05)
        except OSError:
            self.close_connection = True  # the one who asked has gone
        if cut:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self._send(status, b"", headers)

    def _refuse(self, status: int, code: str) -> None:
        self._empty(status, {"X-Error-Code": code})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _sibling(file: Path, repository: Repository, commit: str, detailed: bool) -> dict[str, Any]:
    name = file.relative_to(repository.commits[commit]).as_posix()
    if not detailed:
        return {"rfilename": name}
    size = repository.claimed_bytes.get(name, file.stat().st_size)
    listed = {"rfilename": name, "size": size, "blobId": _git_digest(file.read_bytes())}
    return listed | (
        {"lfs": {"sha256": sha256(file), "size": size, "pointerSize": 130}} if name.endswith(LARGE) else {}
    )


def _tree_entry(file: Path, folder: Path) -> dict[str, Any]:
    name, size = file.relative_to(folder).as_posix(), file.stat().st_size
    listed = {"type": "file", "path": name, "size": size, "oid": _git_digest(file.read_bytes())}
    return listed | ({"lfs": {"oid": sha256(file), "size": size, "pointerSize": 130}} if name.endswith(LARGE) else {})
