"""The glossary's table, made from ui/shared/glossary.toml: ``python -m tests.docs.glossary`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from ui.shared.glossary import words

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"
START, END = "<!-- words -->\n", "<!-- end of words -->"


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| word | standard term | meaning | in the code |", "|---|---|---|---|"]
    for word in words():
        file, _, name = word["identifier"].partition(": ")
        code = f"`{file}`" + (f": `{name}`" if name else "")
        lines.append(f"| {word['plain']} | {word['term']} | {word['meaning']} | {code} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """Return ``page`` with the table in place of what stands between its markers."""
    before, rest = page.split(START)
    return before + START + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
