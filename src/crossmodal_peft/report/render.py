"""Writes tables as CSV, Markdown and LaTeX, and figures as PNG and SVG, whatever they show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from crossmodal_peft.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
MARKDOWN_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|"})
# What no format can print: as a space, or as its number.
CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}
CONTROLS |= {ord(character): " " for character in "\t\n\v\f\r\x85\u2028\u2029"}
LATEX_ESCAPES = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        # At the start of a row, or after a rule, these would begin an option.
        **{character: f"{{{character}}}" for character in "[]*"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "→": r"$\rightarrow$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "–": "--",
    }
)


@dataclass(frozen=True)
class Block:
    """One titled part of a printed table.

    `cells` holds plain text: its index is the row labels, its columns are pairs (group, name), where adjacent
    columns of one group share a heading. `best` has the same shape and marks the cells set in bold.
    """

    title: str
    cells: pd.DataFrame
    best: pd.DataFrame


@dataclass(frozen=True)
class Table:
    """A table: `tidy` holds the numbers for the CSV file, `shown` what is printed, `caption` plain text."""

    tidy: pd.DataFrame
    shown: Sequence[Block]
    caption: str


def write_table(table: Table, stem: Path) -> None:
    """Write `stem`.csv, `stem`.md and `stem`.tex, each atomically."""
    # Ten significant digits: byte counts stay exact, and 0.1 + 0.2 does not become 0.30000000000000004.
    csv = table.tidy.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    for ending, text in (("csv", csv), ("md", markdown(table)), ("tex", latex(table, label=stem.name))):
        with atomic_write(_with_ending(stem, ending)) as path:
            path.write_text(text, encoding="utf-8")


def write_figure(figure: "Figure", stem: Path) -> None:
    """Write `stem`.png and `stem`.svg, each atomically; equal figures give identical bytes."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "crossmodal-peft"}):
        for ending, undated in (("png", {"Software": None}), ("svg", {"Date": None})):
            with atomic_write(_with_ending(stem, ending)) as path:
                figure.savefig(path, format=ending, dpi=DOTS_PER_INCH, metadata=undated)


def markdown(table: Table) -> str:
    """The blocks as Markdown tables, each below its title, then the caption."""
    return "\n\n".join([*map(_markdown_block, table.shown), _in_markdown(table.caption)]) + "\n"


def latex(table: Table, label: str) -> str:
    r"""The blocks as booktabs tabulars in one `table` environment that `\ref{tab:<label>}` finds."""
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}[tbp]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_in_latex(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        *(line for block in table.shown for line in _latex_block(block)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _markdown_block(block: Block) -> str:
    headings = [str(block.cells.index.name), *(f"{group} {name}" for group, name in _columns(block))]
    rows = [
        [
            _in_markdown(label),
            *(f"**{text}**" if best else text for text, best in _escaped(cells, _in_markdown)),
        ]
        for label, cells in _rows(block)
    ]
    grid = tabulate(
        rows,
        [_in_markdown(heading) for heading in headings],
        tablefmt="pipe",
        colalign=["left", *["right"] * (len(headings) - 1)],
        disable_numparse=True,
    )
    return f"**{_in_markdown(block.title)}**\n\n{grid}"


def _latex_block(block: Block) -> list[str]:
    groups, names = zip(*_columns(block), strict=True)
    rows = [
        [
            _in_latex(label),
            *(rf"\textbf{{{text}}}" if best else text for text, best in _escaped(cells, _in_latex)),
        ]
        for label, cells in _rows(block)
    ]
    return [
        rf"\par\medskip\textbf{{{_in_latex(block.title)}}}\par\smallskip",
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        *_group_header(groups),
        " & ".join(map(_in_latex, [str(block.cells.index.name), *names])) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _group_header(groups: Sequence[str]) -> list[str]:
    headings, rules, column = [""], "", 2
    for group, members in groupby(groups):
        width = len(list(members))
        headings.append(rf"\multicolumn{{{width}}}{{{'c' if width > 1 else 'r'}}}{{{_in_latex(group)}}}")
        if width > 1:
            rules += rf"\cmidrule(lr){{{column}-{column + width - 1}}}"
        column += width
    return [" & ".join(headings) + r" \\", *([rules] if rules else [])]


def _columns(block: Block) -> list[tuple[str, str]]:
    pairs: list[Any] = block.cells.columns.to_list()
    return [(str(group), str(name)) for group, name in pairs]


def _rows(block: Block) -> list[tuple[str, list[tuple[str, bool]]]]:
    texts, flags = block.cells.to_numpy(), block.best.to_numpy()
    return [
        (str(label), [(str(text), bool(flag)) for text, flag in zip(row, marks, strict=True)])
        for label, row, marks in zip(block.cells.index, texts, flags, strict=True)
    ]


def _escaped(cells: list[tuple[str, bool]], escape: Callable[[str], str]) -> list[tuple[str, bool]]:
    return [(escape(text), best) for text, best in cells]


def _in_markdown(text: str) -> str:
    return text.translate(CONTROLS).translate(MARKDOWN_ESCAPES)


def _in_latex(text: str) -> str:
    return text.translate(CONTROLS).translate(LATEX_ESCAPES)


def _with_ending(stem: Path, ending: str) -> Path:
    # Not `with_suffix`, which would cut a stem such as lr-0.1 at its dot.
    return stem.with_name(f"{stem.name}.{ending}")
