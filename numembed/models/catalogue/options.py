"""What may follow a model's name, as a person writes it: which options there are, and what each may be."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote

from numembed.core.errors import BadChoice
from numembed.models.spec import PRECISIONS, AdapterWeights, HubWeights, LocalWeights

DTYPES = ("float32", "bfloat16", "float16")
OPTIONS = {  # in the order in which a reference lists them
    "adapter": "a LoRA adapter to put on the model: its folder (in quotes if it has spaces) or owner/name[@commit]",
    "scale": "how strongly the adapter acts, from 0 to 2",
    "prompt": 'text before every sequence: a name from the model\'s card, "any text" in quotes, or none',
    "dim": "number of first dimensions to keep (Matryoshka truncation), or all: also those that its makers leave out",
    "precision": f"round the vectors: {', '.join(PRECISIONS)}",
    "max_tokens": "maximum number of tokens to read",
    "attention": "causal or bidirectional, whatever the folder says",
    "pooling": "mean, cls or lasttoken, whatever the folder says",
    "bos": "yes: put the begin-of-text token first",
    "eos": "yes: put the end-of-text token last",
    "dtype": f"number format of the weights: {', '.join(DTYPES)}",
    "weights": "random or random:3 (a seed): the same architecture before any training, as a baseline",
}
NONE, ALL = "none", "all"  # of prompt= and dim=: not what the makers have set
CHOICES = {
    "precision": PRECISIONS,
    "attention": ("causal", "bidirectional"),
    "pooling": ("mean", "cls", "lasttoken"),
    "bos": ("yes",),
    "eos": ("yes",),
    "dtype": DTYPES,
}
_RANDOM = re.compile(r"random(?::([0-9]{1,9}))?")
WITHOUT_FOLDER = ("prompt", "dim", "precision")  # what an endpoint supports
_QUOTED = r""""(?:[^"\\]|\\.)*"|'[^']*'|“[^“”]*”|‘[^‘’]*’"""
_OPTION = re.compile(rf'\s+({"|".join(OPTIONS)})=({_QUOTED}|[^\s"]+)\s*$')
_MARKS = "\"'“”„‟«»‘’‚‛`"  # of quotation, as file managers and word processors write them
_UNSEEN = "\u200b\u200e\u200f\u202a\u202c\ufeff"  # that some systems copy along with a path
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}(@[0-9a-f]{40})?")


def split(reference: str) -> tuple[str, dict[str, str]]:
    """Return the name and its options.

    >>> split('all-MiniLM-L6-v2 prompt="query: " dim=64')
    ('all-MiniLM-L6-v2', {'prompt': '"query: "', 'dim': '64'})
    """
    options: dict[str, str] = {}
    while match := _OPTION.search(reference):
        if match[1] in options:
            raise BadChoice(f"The option {match[1]} is given twice in {reference[:80]!r}.")
        options = {match[1]: _plainly_quoted(match[2])} | options
        reference = reference[: match.start()]
    return reference, options


def _plainly_quoted(value: str) -> str:
    """Return an option's value with the one kind of quotes that is read; a text in others holds no escapes."""
    return json.dumps(value[1:-1], ensure_ascii=False) if value[0] in "'“‘" and len(value) > 1 else value


def unquoted(name: str) -> str:
    """Return a name or a path without blanks and quotes around it, and without file:// before it.

    >>> unquoted(' “/my models/one” '), unquoted("'file:///my%20models/one'"), unquoted("owner/name")
    ('/my models/one', '/my models/one', 'owner/name')
    """
    name = name.strip().strip(_UNSEEN).strip()
    if len(name) > 1 and name[0] in _MARKS and name[-1] in _MARKS:
        return unquoted(name[1:-1])
    if address := re.match(r"file:(?://(?:localhost)?(?=/)|(?=/[^/]))", name, re.IGNORECASE):
        path = unquote(name[address.end() :])
        return path[1:] if re.match(r"/[A-Za-z]:[/\\]", path) else path
    return name


def is_folder(name: str) -> bool:
    """True where a person means a folder and not a name of the catalogue or the hub."""
    return name.startswith(("/", "~", "./", "../")) or Path(name).is_absolute()


def folder_named(name: str) -> Path:
    """Return the folder that a person wrote; raises BadChoice for another user's home, whether there is one or not."""
    written = os.path.expanduser(name) if re.match(r"~(?=[/\\]|$)", name) else name
    if written.startswith("~"):
        raise BadChoice(f"{name[:40]!r}: of all homes only numembed's own, ~/, is read. Give the folder's full path.")
    return Path(written).absolute()


def hint_for(name: str) -> str:
    """Return what to write instead of what is not a model name.

    >>> hint_for("https://huggingface.co/intfloat/e5-small"), hint_for("owner/name DIM=3")[:29]
    ('Write intfloat/e5-small, without the address.', "There is no option 'DIM'. Opt")
    """
    if address := re.match(r"(?:https?://)?(?:www\.)?huggingface\.co/([^/\s]+/[^/\s?#]+)", name):
        return f"Write {address[1][:100]}, without the address."
    if option := re.search(r"\s([A-Za-z_]+)\s*=", name):
        if option[1] in OPTIONS:
            return f"Write {option[1]}= and its value without spaces around the =; put text with spaces in quotes."
        return f"There is no option {option[1][:40]!r}. Options: {', '.join(OPTIONS)}."
    if re.fullmatch(r"[^\s@]+/[^\s@]+@\S*", name):
        return "After @ comes a commit: 40 characters from 0 to 9 and a to f. A branch is refused, because it changes."
    return (
        "Give a name from the catalogue, a baseline, a Hugging Face id such as BAAI/bge-small-en-v1.5, or a folder "
        "that starts with / or ~."
    )


def is_hub_id(name: str) -> bool:
    """True for owner/name, also with @ and a commit."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name and "--" not in name


def check_characters(name: str) -> None:
    """Raise BadChoice where a name holds control characters."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise BadChoice(f"A model's name has no control characters, got {name[:80]!r}. Rename its folder.")


def whole(name: str, value: str, most: int) -> int:
    """Return an option's whole number; raises BadChoice."""
    if not value.isascii() or not value.isdigit() or len(value) > 12 or not 1 <= int(value) <= most:
        raise BadChoice(f"{name} is a whole number from 1 to {most:,}, got {value[:40]!r}.")
    return int(value)


def seed_named(value: str) -> int:
    """Return the seed of random weights; raises BadChoice."""
    match = _RANDOM.fullmatch(value)
    if match is None:
        raise BadChoice(f"weights is random or random: and a seed of at most 9 digits, got {value[:40]!r}.")
    return int(match[1] or 0)


def adapter_named(value: str) -> AdapterWeights:
    """Return the adapter that a person named: a folder, or owner/name[@commit] on the hub; raises BadChoice."""
    try:
        name = unquoted(str(json.loads(value)) if value.startswith('"') else value)
    except ValueError:
        raise BadChoice(f"The adapter {value[:80]} cannot be read: write a backslash as two.") from None
    check_characters(name)
    if is_folder(name):
        return LocalWeights(str(folder_named(name)))
    if not is_hub_id(name):
        raise BadChoice(f"{name[:80]!r} is not an adapter. Give its Hugging Face id, or its folder from / or ~ on.")
    repo, _, revision = name.partition("@")
    return HubWeights(repo, revision)


def adapter_written(adapter: AdapterWeights, short: bool) -> str:
    """Return an adapter as a reference or (``short``) a name writes it."""
    match adapter:
        case HubWeights(repo, revision):
            return f"{repo}@{revision}" if revision and not short else repo
        case LocalWeights(path):
            # of seed-0/step-120 neither part alone is a name
            text = "/".join(Path(path).parts[-2:]).lstrip("/") if short else path
            return text if re.fullmatch(r'[^\s"]+', text) else json.dumps(text, ensure_ascii=False)
        case _:
            assert_never(adapter)
