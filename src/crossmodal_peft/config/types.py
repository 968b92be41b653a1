"""Types that settings share, with what they allow. Bounds are wide: what is outside can only be a mistake."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

SEEDS = 2**32  # Libraries of random numbers take seeds below this.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _be_a_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            "must be a name of up to 100 letters a-z, digits, '.', '_' and '-', beginning with a letter or "
            "digit, since files are named after it"
        )
    return name


def _be_a_place(path: str) -> str:
    """A path that file systems, Snakemake's patterns and command lines all take as it is written."""
    if not path.strip() or path != path.strip():
        raise ValueError("must be a path, without blanks at its ends")
    if found := sorted(set(re.findall(r"[{}*?\\<>|\x00-\x1f\x7f]", path))):
        raise ValueError(f"must be a path without {' '.join(map(repr, found))}, which patterns use")
    if path.startswith(("-", "~")):
        raise ValueError(f"must be a path that does not begin with {path[0]!r}: write it out")
    return path


def _be_a_root(path: str) -> str:
    """A folder of the workflow's own, beside which others are made."""
    if "$" in path:
        raise ValueError("must be a path without '$': variables are not filled in here")
    if not re.search(r"[^/.][^/]*/*$|\.[^/.][^/]*/*$", path):
        raise ValueError("must end in the name of a folder")
    return path.rstrip("/")


def _be_unique(values: list[Any]) -> list[Any]:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"must hold each value once; {twice[0]!r} stands twice")
    return values


def _survive_as_a_name(rate: float) -> float:
    """Cells of the sweep carry their rate in their name, with six digits."""
    if float(f"{rate:g}") != rate:
        raise ValueError(f"must have at most six digits, such as {rate:g}: the cell is named after it")
    return rate


Positive = Annotated[int, Field(ge=1, le=10**12)]
Size = Annotated[int, Field(ge=1, le=10**6)]  # of a layer, a rank, a number of tokens
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Rate = Annotated[float, Field(gt=0, le=10)]  # of learning
Share = Annotated[float, Field(gt=0, lt=1)]
Amount = Annotated[float, Field(gt=0, le=1e6)]
Name = Annotated[str, AfterValidator(_be_a_name)]
Place = Annotated[str, AfterValidator(_be_a_place)]
Root = Annotated[Place, AfterValidator(_be_a_root)]
Unique = AfterValidator(_be_unique)
NamedRate = Annotated[Rate, AfterValidator(_survive_as_a_name)]
