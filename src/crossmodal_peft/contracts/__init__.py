"""What variants promise beyond their names: for each kind a suite of claims that runs on any file.

A suite is a module named after its kind. It has `CLAIMS`, functions that each take a case and raise
AssertionError or ValueError, and whose docstring is the claim; and `cases(module, block)`, which gives the
cases that a variant is tried on: tiny random encoders and generated results, so that nothing is downloaded.
`block` is the variant's block of params.yaml, where it needs settings.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

LONGEST = 400  # Characters of a failure that are shown.
SUITES = ("methods", "encoders", "datasets", "losses", "tables", "plots", "loggers")


@dataclass(frozen=True)
class Outcome:
    """A claim on a case, and why it does not hold; None: it does."""

    claim: str
    case: str
    failure: str | None


def check(kind: str, module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Outcome]:
    """Try every claim about a kind on one variant's module.

    Raises ValueError if there is no suite for the kind, or the block does not fit the variant.
    """
    if kind not in SUITES:
        raise ValueError(f"{kind}: there is no suite for this kind; there are: {', '.join(SUITES)}")
    suite: Any = import_module(f"crossmodal_peft.contracts.{kind}")
    yield from outcomes(suite.CLAIMS, suite.cases(module, block))


def outcomes(claims: Iterable[Callable[[Any], None]], cases: Iterable[Any]) -> Iterator[Outcome]:
    """Try claims on cases, case by case."""
    tried = list(claims)
    for case in cases:
        for claim in tried:
            yield Outcome(said(claim), str(case), failure_of(claim, case))


def said(claim: Callable[[Any], None]) -> str:
    """A claim in words: the first line of its docstring."""
    return (claim.__doc__ or claim.__name__).strip().splitlines()[0].rstrip(".")


def failure_of(claim: Callable[[Any], None], case: Any) -> str | None:
    """Why a claim does not hold for a case, in one line; None: it does."""
    try:
        claim(case)
    except AssertionError as error:
        return in_one_line(str(error) or "does not hold")
    except Exception as error:  # Whatever a stranger's file raises is the answer.
        return in_one_line(f"{type(error).__name__}: {error}")
    return None


def in_one_line(text: str) -> str:
    """A message without line breaks, cut where it is too long to read."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
