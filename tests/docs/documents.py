"""All documents of the project, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    file.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md")
    for file in ROOT.glob(pattern)
)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    document: str
    language: str
    text: str


def read(document: str) -> str:
    """Return the text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """Return the text of a document without its code blocks."""
    return _FENCED.sub("", read(document))


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks of all documents in these languages; all blocks where none is named."""
    found = [Block(document, *block) for document in DOCUMENTS for block in _FENCED.findall(read(document))]
    return [block for block in found if not languages or block.language in languages]


def lines(language: str) -> list[str]:
    """Return the distinct lines of all blocks in a language, in order: what stands twice is carried out once."""
    return list(dict.fromkeys(line for block in blocks(language) for line in block.text.splitlines()))
