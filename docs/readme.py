"""Bring the tables that README.md shows up to date with results/: python docs/readme.py.

A table is between `<!-- FILE: TITLE -->` and `<!-- end -->`: the block of this title in the file.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
INCLUDED = re.compile(r"<!-- (\S+): (.+?) -->\n.*?<!-- end -->", re.DOTALL)


def refreshed(text: str) -> str:
    """The text with every included table as its file has it.

    Raises ValueError if a file has no block of the title.
    """
    return INCLUDED.sub(_included, text)


def _included(match: re.Match[str]) -> str:
    file, title = match.groups()
    text = (ROOT / file).read_text(encoding="utf-8")
    block = re.search(rf"^\*\*{re.escape(title)}\*\*\n\n((?:\|.*\n)+)", text, re.MULTILINE)
    if block is None:
        raise ValueError(f"{file}: no table {title!r}; README.md includes it")
    return f"<!-- {file}: {title} -->\n{block[1]}<!-- end -->"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8")), encoding="utf-8")
