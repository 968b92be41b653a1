"""What variants promise beyond their names: for each kind, a suite of checks that runs on any file.

A suite is a module named after its kind. Its `CHECKS` are functions whose docstring is the claim and which
raise ValueError or AssertionError with one line if it does not hold. Its `cases(module, block)` yields what a
variant is checked on: tiny random encoders, generated results, or the data named by its block of params.yaml.
In a suite without `cases`, the checks take the module itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

LONGEST = 400  # Longest failure shown, in characters.
SUITES = ("methods", "encoders", "datasets", "losses", "metrics", "tables", "plots", "loggers")


@dataclass(frozen=True)
class Outcome:
    """A claim about a case, and why it fails, or None if it holds."""

    claim: str
    case: str
    failure: str | None


def check(kind: str, module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Outcome]:
    """Run all checks of a kind on one variant's module.

    Raises ValueError if there is no suite for the kind or the block does not fit the variant.
    """
    if kind not in SUITES:
        raise ValueError(f"{kind}: there are no checks of this kind; there are: {', '.join(SUITES)}")
    suite: Any = import_module(f"crossmodal_peft.contracts.{kind}")
    cases = suite.cases(module, block) if hasattr(suite, "cases") else [module]
    for case in cases:
        for function in suite.CHECKS:
            yield Outcome(claim_of(function), named(case), failure_of(function, case))


def claim_of(function: Callable[[Any], None]) -> str:
    """What a check claims, in words: the first line of its docstring."""
    return (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")


def named(case: Any) -> str:
    """A case's name, as shown to people."""
    return case.__name__.rpartition(".")[2] if isinstance(case, ModuleType) else str(case)


def failure_of(function: Callable[[Any], None], case: Any) -> str | None:
    """Why a check fails on a case, in one line, or None if it passes."""
    try:
        function(case)
    except AssertionError as error:
        return in_one_line(str(error) or "does not hold")
    except Exception as error:  # The file is someone else's: whatever it raises is the failure.
        return in_one_line(f"{type(error).__name__}: {error}")
    return None


def in_one_line(text: str) -> str:
    """A message on one line, shortened if it is too long to read."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
