"""What is known about a metric: how it is computed, printed and compared; and how to register one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc
from typing import Any, Literal

import pandas as pd

from crossmodal_peft.retrieval.ties import Floats

Better = Literal["higher", "lower"]
CUT_OFF = re.compile(r"@(\d+)")


@dataclass(frozen=True)
class Unit:
    """How values are printed: multiplied by `factor`, to `decimals` places.

    `sign` follows the label on an axis; `differences` is the unit of a difference between two values.
    """

    name: str
    factor: float
    decimals: int
    sign: str
    differences: str


PERCENT = Unit("percent", 100, 1, " (%)", "percentage points")
SHARE = Unit("share", 1, 3, "", "shares")
RANK = Unit("rank", 1, 1, "", "ranks")


@dataclass(frozen=True)
class Metric:
    """A metric, or, with a K still open (`{k}` in name and label), a family of them.

    Attributes:
        name: as in records and per-query rows: `hit@{k}`, or `hit@5` at one K.
        label: as printed: `R@{k}`, or `R@5`.
        unit: how values are printed.
        better: which values are better.
        per_query: whether every query has its own value, with the mean in the record; if not, the function
            sees all queries at once.
        function: if per query, returns (queries,) values from (Ties) or (Ties, K); otherwise one float from
            the per-query values of the judged queries, by name.
        intervals: the names under which it is reported with a 95 % interval over queries.
        tests: the names under which methods are compared by paired tests.
    """

    name: str
    label: str
    unit: Unit
    better: Better
    per_query: bool
    function: Callable[..., Any]
    intervals: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    @property
    def at_k(self) -> bool:
        """Whether this is a family, with a K still open."""
        return "{k}" in self.name

    def at(self, k: int | str) -> "Metric":
        """The member of a family at one K; `at("K")` gives the family as it is written in text."""
        return replace(self, name=self.name.format(k=k), label=self.label.format(k=k))

    @property
    def description(self) -> str:
        """What the metric is: the first paragraph of the function's docstring."""
        return " ".join(cleandoc(self.function.__doc__ or "").split("\n\n")[0].split())

    @property
    def axis(self) -> str:
        """The label with its unit."""
        return f"{self.label}{self.unit.sign}"

    def printed(self, value: float, sign: Literal["-", "+"] = "-") -> str:
        """A value in its unit; `sign` is as in Python's format strings: `+` for a difference."""
        return f"{self.unit.factor * value:{sign}.{self.unit.decimals}f}"

    def best(self, values: pd.Series) -> pd.Series:
        """Which values (as in records) are best; values that are printed alike count as equal."""
        printed = values.map(lambda value: float(self.printed(value)))
        return printed == (printed.max() if self.better == "higher" else printed.min())


# Metrics by name, with {k} for the K, in the order in which records list them.
REGISTRY: dict[str, Metric] = {}
PerQuery = Callable[..., Floats]
OverQueries = Callable[[Mapping[str, Floats]], float]


def per_query(
    name: str,
    label: str,
    unit: Unit,
    better: Better,
    *,
    intervals: Sequence[str] = (),
    tests: Sequence[str] = (),
) -> Callable[[PerQuery], PerQuery]:
    """Register a per-query metric: from (Ties), or (Ties, K) if its name has a {k}, to (queries,) values."""

    def register(function: PerQuery) -> PerQuery:
        _add(Metric(name, label, unit, better, True, function, tuple(intervals), tuple(tests)))
        return function

    return register


def over_queries(name: str, label: str, unit: Unit, better: Better) -> Callable[[OverQueries], OverQueries]:
    """Register a metric of all queries at once: from the judged queries' values, by name, to a float."""

    def register(function: OverQueries) -> OverQueries:
        _add(Metric(name, label, unit, better, False, function))
        return function

    return register


def _add(metric: Metric) -> None:
    known = REGISTRY.get(metric.name)
    if known and _origin(known) != _origin(metric):
        raise ValueError(f"two metrics are named {metric.name!r}; rename one of them")
    REGISTRY[metric.name] = metric


def _origin(metric: Metric) -> tuple[str, str]:
    """Where a metric's function is defined: a file that is loaded twice registers its metrics twice."""
    return metric.function.__code__.co_filename, metric.function.__qualname__


def family_of(name: str) -> str:
    """A metric's name in the registry: `hit@{k}` for `hit@5`."""
    return CUT_OFF.sub("@{k}", name)


def cut_off_of(name: str) -> int | None:
    """The K in a metric's name, or None if there is none."""
    found = CUT_OFF.search(name)
    return int(found[1]) if found else None
