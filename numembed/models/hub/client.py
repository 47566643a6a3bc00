"""One request to the model hub with our own patience: an answer, or a plain sentence within ten seconds.

The hub's own library waits 30 to 70 seconds before it reports the same troubles.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from numembed.core.certificates import certificates
from numembed.core.errors import ModelUnavailable
from numembed.core.settings import HUB, Settings

if TYPE_CHECKING:
    import httpx2

ANSWER_SECONDS = 8.0  # for a small answer, from looking up the hub's name to the last byte
SILENCE_SECONDS = 8.0  # without one byte, while a file arrives
_TICK_SECONDS = 0.2  # how often a cancel is noticed meanwhile
_MOST_LISTING_BYTES = 32_000_000
_MOST_NAME_CHARS = 120
COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


class Refused(ModelUnavailable):
    """The hub answered with an error."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Interrupted(Exception):
    """The connection broke; the same request may go through now."""


class Unreachable(ModelUnavailable):
    """No connection, or no answer in time."""


@contextmanager
def connected(repo: str, settings: Settings) -> Iterator[Hub]:
    """Give a connection to the hub for questions about ``repo``; raises ModelUnavailable where none may be made."""
    import httpx2

    check_name(repo)
    if settings.offline:
        raise ModelUnavailable(unreachable(repo, "this installation works offline"))
    token = _token(settings)
    headers = {"User-Agent": "numembed"} | ({"Authorization": f"Bearer {token}"} if token else {})
    patience = 4 * SILENCE_SECONDS  # only ends threads that nobody waits for any more
    # what redirects to another server, as all large files do, goes there without the token: httpx2 takes it out
    tls = certificates()
    with httpx2.Client(headers=headers, timeout=patience, follow_redirects=True, verify=tls) as client:
        yield Hub(repo, settings, client, bool(token))


class Hub:
    """A connection for questions about one repository."""

    def __init__(self, repo: str, settings: Settings, client: httpx2.Client, has_token: bool) -> None:
        self.repo, self._settings, self._client, self._has_token = repo, settings, client, has_token

    def about(self, revision: str = "") -> dict[str, Any]:
        """Return the hub's facts and list of files of a commit or branch, by default of main."""
        path = f"/api/models/{quote(self.repo)}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
        try:
            answer = json.loads(self._whole(f"{path}?blobs=true", _MOST_LISTING_BYTES))
        except ValueError:
            answer = None
        if not (
            isinstance(answer, dict)
            and COMMIT.fullmatch(str(answer.get("sha")))
            and isinstance(answer.get("siblings"), list)
        ):
            where = urlsplit(self._settings.hub).hostname or "that address"
            raise ModelUnavailable(
                f"What {where} answered about {self.repo} is not the answer of a model hub. Check "
                "HF_ENDPOINT, or whether this network asks you to log in first."
            )
        if COMMIT.fullmatch(revision) and answer["sha"] != revision:
            raise ModelUnavailable(f"The model hub answered with another commit of {self.repo} than the requested one.")
        return answer

    def small_file(self, revision: str, name: str, *, most_bytes: int = 1_000_000) -> bytes:
        """Return the content of a small file at a commit."""
        return self._whole(self._address(revision, name), most_bytes)

    def file(self, revision: str, name: str, *, start: int, tick: Callable[[], None]) -> Iterator[bytes]:
        """Give the bytes of a file at a commit from ``start`` on; ``tick`` is called while they arrive.

        Raises :class:`Interrupted` where the connection broke, :class:`Unreachable` after a long silence.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        arriving = self._ask(self._address(revision, name), headers, tick)
        skipped = start if next(arriving) == b"200" else 0  # a server that knows no ranges begins at the beginning
        for chunk in arriving:
            yield chunk[skipped:]
            skipped = max(0, skipped - len(chunk))

    def _address(self, revision: str, name: str) -> str:
        return f"/{quote(self.repo)}/resolve/{quote(revision, safe='')}/{quote(name)}"

    def _whole(self, path: str, most_bytes: int) -> bytes:
        deadline = time.monotonic() + ANSWER_SECONDS

        def in_time() -> None:
            if time.monotonic() > deadline:
                raise Unreachable(unreachable(self.repo, _SLOW.format(ANSWER_SECONDS)))

        for last in (False, True):  # a kept connection may have been closed at the other end meanwhile
            try:
                return self._collected(path, most_bytes, in_time)
            except Interrupted as error:
                if last:
                    raise Unreachable(unreachable(self.repo, str(error))) from None
        raise AssertionError

    def _collected(self, path: str, most_bytes: int, tick: Callable[[], None]) -> bytes:
        arriving = self._ask(path, {}, tick)
        next(arriving)
        whole = bytearray()
        for chunk in arriving:
            whole += chunk
            if len(whole) > most_bytes:
                raise ModelUnavailable(
                    f"An answer of the model hub about {self.repo} is longer than "
                    f"{most_bytes / 1e6:.0f} MB, more than is accepted."
                )
        return bytes(whole)

    def _ask(self, path: str, headers: dict[str, str], tick: Callable[[], None]) -> Iterator[bytes]:
        """Give the answer's status and then its bytes, while ``tick`` is called, which may raise.

        Another thread asks, because nothing else can end a look-up of the hub's name or a wait for a byte.
        """
        arrived: Queue[Any] = Queue(maxsize=64)
        stop = threading.Event()
        asking = (self._client, self._settings.hub + path, headers, arrived, stop)
        threading.Thread(target=_pump, args=asking, daemon=True).start()
        try:
            while True:
                item = self._next(arrived, tick)
                if item is None:
                    return
                if isinstance(item, bytes):
                    yield item
                elif isinstance(item, Exception):
                    raise Interrupted(_broken(item)) from None
                elif item.status_code >= 400:
                    raise self._refusal(item)
                else:
                    yield str(item.status_code).encode()
        finally:
            stop.set()

    def _next(self, arrived: Queue[Any], tick: Callable[[], None]) -> Any:
        silent_until = time.monotonic() + SILENCE_SECONDS
        while True:
            tick()
            try:
                return arrived.get(timeout=_TICK_SECONDS)
            except Empty:
                if time.monotonic() > silent_until:
                    raise Unreachable(unreachable(self.repo, _SLOW.format(SILENCE_SECONDS))) from None

    def _refusal(self, response: httpx2.Response) -> ModelUnavailable:
        code, status = response.headers.get("X-Error-Code", ""), response.status_code
        credentials = "credentials" in response.headers.get("X-Error-Message", "").lower()
        sentence = _refusal_sentence(self.repo, status, code, self._has_token, credentials, response.headers)
        return Refused(sentence, status)


def check_name(repo: str) -> None:
    """Raise ModelUnavailable unless ``repo`` can be the name of a repository, and so part of a path.

    >>> check_name("BAAI/bge-m3")
    """
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo or len(repo) > _MOST_NAME_CHARS:
        raise ModelUnavailable(f"{repo[:80]!r} is not a model name on the hub. A name has the form owner/name.")


def unreachable(repo: str, why: str) -> str:
    """Return what to do about ``repo`` while the hub cannot be reached, for the reason ``why``."""
    if (cache_of(repo) / "snapshots").is_dir():
        return f"The model hub could not be contacted about {repo}: {why}. Try again with a connection."
    return (
        f"{repo} is not on this machine and {why}. Choose all-MiniLM-L6-v2, which needs no network, "
        "a folder with a model, or try again with a connection."
    )


def cache_of(repo: str) -> Path:
    """Return the folder of ``repo`` in the hub's cache, which all programs of this user share."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / ("models--" + repo.replace("/", "--"))


_SLOW = "the model hub does not answer within {:.0f} seconds"


def _pump(client: httpx2.Client, url: str, headers: dict[str, str], arrived: Queue[Any], stop: threading.Event) -> None:
    def give(item: Any) -> None:
        while not stop.is_set():
            try:
                return arrived.put(item, timeout=_TICK_SECONDS)
            except Full:
                continue

    try:
        with client.stream("GET", url, headers=headers) as response:
            give(response)
            for chunk in response.iter_bytes() if response.status_code < 400 else ():
                give(chunk)
                if stop.is_set():
                    return
        give(None)
    except Exception as error:  # the caller describes whatever happened here
        give(error)


def is_untrusted(error: BaseException) -> bool:
    """Return True where a request failed because the server's certificate is not trusted on this machine."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "SSLCertVerificationError":
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _broken(error: Exception) -> str:
    """Return why there is no answer, without the library's own words, which may hold signed addresses."""
    if is_untrusted(error):
        return "the model hub's certificate is not trusted here (set SSL_CERT_FILE to your network's certificates)"
    return "the model hub cannot be reached"


def _refusal_sentence(
    repo: str, status: int, code: str, has_token: bool, credentials: bool, headers: httpx2.Headers
) -> str:
    gated = f"{repo} is open only to people whom its owner has admitted"
    if status == 401 and credentials:
        return (
            "The model hub does not accept the token of this installation; perhaps it has expired. Create a "
            "read token on huggingface.co, Settings → Access Tokens, set HF_TOKEN to it and restart."
        )
    if code == "GatedRepo" and not has_token:
        return (
            f"{gated}. Accept its licence on huggingface.co/{repo}, create a read token there under "
            "Settings → Access Tokens, set HF_TOKEN to it and restart."
        )
    if code == "GatedRepo":
        return (
            f"{gated}, and the account of this installation's token is not among them. Accept the licence on "
            f"huggingface.co/{repo} with that account, and wait where the owner decides by hand."
        )
    if code == "RevisionNotFound":
        return f"{repo} has no such commit. Leave the part after @ out to take the newest."
    if code == "EntryNotFound":
        return f"{repo} lacks a file that it should have at that commit. Choose another commit."
    if code == "RepoNotFound" or status == 401 or (status == 404 and not code):
        return f"The model hub has no public model called {repo}. Check the spelling: owner/name."
    if status == 429:
        return (
            f"The model hub answered with error 429 for {repo}: too many requests came from here. "
            f"Try again {_wait(headers)}."
        )
    return f"The model hub answered with error {status} for {repo}. Try again later."


def _wait(headers: httpx2.Headers) -> str:
    """Return in words how long the hub wants to be left alone.

    >>> _wait({"Retry-After": "40"}), _wait({"RateLimit": '"api";r=0;t=250'}), _wait({})
    ('in 40 seconds', 'in 5 minutes', 'in some minutes')
    """
    given = headers.get("Retry-After", "").strip()
    limit = re.search(r";\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    seconds: float | None = int(given) if given.isdecimal() else int(limit[1]) if limit else None
    if given and seconds is None:
        try:
            when = email.utils.parsedate_to_datetime(given)
            seconds = max(1.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
        except (ValueError, TypeError):
            seconds = None
    if seconds is None:
        return "in some minutes"
    return f"in {seconds:.0f} seconds" if seconds <= 120 else f"in {-(-seconds // 60):.0f} minutes"


def _token(settings: Settings) -> str:
    """Return the token for the hub, else that of the hub library's own login, which is for huggingface.co only."""
    from huggingface_hub import constants

    token = settings.hub_token
    if not token and settings.hub == HUB and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        try:
            token = Path(os.fspath(constants.HF_TOKEN_PATH)).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            token = ""
    if not re.fullmatch(r"[!-~]*", token):  # said here, because the library's error would quote it
        raise ModelUnavailable("HF_TOKEN contains characters that no token has. Copy it again from huggingface.co.")
    return token
