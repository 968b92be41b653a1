"""What every table promises, checked on generated results of small runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from crossmodal_peft.contracts.results import RUNS, Run, copies
from crossmodal_peft.report.render import Table, latex, markdown

NOT_FOR_READERS = ("nan", "None", "inf", "-inf", "<NA>", "NaT")


@dataclass(frozen=True)
class Case:
    """A table's module and the results of a run."""

    module: Any
    run: Run

    def __str__(self) -> str:
        return str(self.run)

    def inputs(self) -> dict[str, pd.DataFrame]:
        """Copies of the frames that the table reads."""
        return copies(self.run, self.module.INPUTS)

    def table(self) -> Table:
        """The table of this run."""
        made: Table = self.module.table(**self.inputs())
        return made


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """The table on every run; no block is needed."""
    return (Case(module, run) for run in RUNS)


def it_is_a_table(case: Case) -> None:
    """The result is a `Table` with numbers and a caption; for several methods it shows something."""
    table = case.table()
    assert isinstance(table, Table), f"table returns {type(table).__name__}, not a Table"
    assert isinstance(table.tidy, pd.DataFrame), f"tidy is {type(table.tidy).__name__}, not a DataFrame"
    assert table.caption.strip(), "the caption is empty"
    assert case.run.methods == 1 or (table.shown and len(table.tidy)), "nothing is shown"


def blocks_have_titles_and_marks(case: Case) -> None:
    """Every block has a title, named rows, (group, name) columns, and a mark for each cell: best or not."""
    for block in case.table().shown:
        assert block.title.strip(), "a block has no title"
        assert block.cells.index.name, f"{block.title}: its rows have no name"
        assert all(isinstance(c, tuple) and len(c) == 2 for c in block.cells), (
            f"{block.title}: columns are no pairs"
        )
        assert block.best.shape == block.cells.shape, f"{block.title}: best has the shape {block.best.shape}"
        marks = block.best.to_numpy()
        assert np.isin(marks, [True, False]).all(), f"{block.title}: best holds more than true and false"


def cells_are_text_for_people(case: Case) -> None:
    """No cell shows a missing value as code does, such as nan or None: write a dash."""
    for block in case.table().shown:
        for heading, column in block.cells.items():
            for row, text in column.items():
                words = str(text).split()
                shown = set(words) & set(NOT_FOR_READERS)
                assert not shown, f"{block.title}, {row}, {heading}: shows {min(shown)}; write a dash"


def it_renders(case: Case) -> None:
    """It renders as Markdown, LaTeX and CSV."""
    table = case.table()
    assert table.caption.split()[0] in markdown(table), "the caption is not in the Markdown"
    assert r"\begin{table}" in latex(table, "checked"), "there is no LaTeX table"
    assert table.tidy.to_csv(index=False), "the CSV is empty"


def it_changes_nothing_and_repeats(case: Case) -> None:
    """The frames it reads are left unchanged, and the same frames give the same table."""
    given = case.inputs()
    kept = {name: frame.copy() for name, frame in given.items()}
    first = markdown(case.module.table(**given))
    for name, frame in given.items():
        assert frame.equals(kept[name]), f"it changes {name}, which others read"
    assert markdown(case.table()) == first, "a second time, it is another table"


CHECKS = (
    it_is_a_table,
    blocks_have_titles_and_marks,
    cells_are_text_for_people,
    it_renders,
    it_changes_nothing_and_repeats,
)
