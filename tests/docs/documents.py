"""The project's Markdown documents, and the contents of their code blocks."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


class Block(NamedTuple):
    """A fenced block: its language, its title (empty without one), and its text."""

    language: str
    title: str
    text: str


def name(document: Path) -> str:
    """A document's path relative to the repository."""
    return document.relative_to(REPOSITORY).as_posix()


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = FENCE.findall(document.read_text(encoding="utf-8"))
    return [Block(head.split(" ")[0], "".join(TITLE.findall(head)), text) for head, text in found]


def commands(document: Path, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program that a document shows, except calls with placeholders."""
    text = document.read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for block in blocks(document) for line in block.text.splitlines()]
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    for line in (*lines, *inline):
        if line.startswith(f"{program} ") and "…" not in line and not re.search(r"\s[A-Z]{3,}\b", line):
            yield shlex.split(line.split(" && ")[0], comments=True)[1:]
