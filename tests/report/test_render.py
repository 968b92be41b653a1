"""Claims about how tables are written: Markdown, LaTeX and CSV, complete or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from crossmodal_peft.report.render import Block, Table, latex, markdown, write_table


def small_table() -> Table:
    index = pd.Index(["my_lora", "a|b"], name="Method")
    columns = pd.MultiIndex.from_tuples([("text → image", "R@1"), ("text → image", "50%"), ("Size", "(MB)")])
    cells = pd.DataFrame([["1 ± 0", "2", "3"], ["4", "5", "6"]], index=index, columns=columns)
    best = pd.DataFrame([[True, False, False], [False, True, False]], index=index, columns=columns)
    return Table(pd.DataFrame({"x": [0.1 + 0.2]}), [Block("data_set", cells, best)], "50% of R_1 & more.")


def test_markdown_escapes_names_marks_the_best_and_joins_the_two_levels():
    assert markdown(small_table()) == (
        "**data\\_set**\n\n"
        "| Method   |   text → image R@1 |   text → image 50% |   Size (MB) |\n"
        "|:---------|-------------------:|-------------------:|------------:|\n"
        "| my\\_lora |          **1 ± 0** |                  2 |           3 |\n"
        "| a\\|b     |                  4 |              **5** |           6 |\n\n"
        "50% of R\\_1 & more.\n"
    )


def test_latex_escapes_names_marks_the_best_and_spans_the_groups():
    text = latex(small_table(), label="small")
    assert r"\caption{50\% of R\_1 \& more.}" in text
    assert r"\label{tab:small}" in text
    assert r" & \multicolumn{2}{c}{text $\rightarrow$ image} & \multicolumn{1}{r}{Size} \\" in text
    assert r"\cmidrule(lr){2-3}" + "\n" in text
    assert r"Method & R@1 & 50\% & (MB) \\" in text
    assert r"my\_lora & \textbf{1 $\pm$ 0} & 2 & 3 \\" in text
    assert r"a|b & 4 & \textbf{5} & 6 \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def labelled(*labels: str) -> Table:
    """A table of one column with these row labels."""
    columns = pd.MultiIndex.from_tuples([("Size", "(MB)")])
    cells = pd.DataFrame([["1"]] * len(labels), pd.Index(labels, name="Method"), columns)
    return Table(pd.DataFrame(), [Block("Sizes", cells, cells != "1")], "Sizes.")


def test_no_row_of_latex_begins_with_what_the_line_before_would_take_for_an_option():
    text = latex(labelled("[mask]", "*", "plain"), label="odd")
    assert "\n{[}mask{]} & 1 \\\\\n{*} & 1 \\\\\nplain & 1 \\\\\n" in text


@pytest.mark.parametrize("write", [markdown, lambda table: latex(table, label="odd")])
def test_control_characters_are_spaces_or_numbers(write):
    text = write(labelled("two\nlines\r\n\tand\u2028more", "a\x00b\x07c\x1b[31m\x9f"))
    assert "two lines   and more" in text
    assert all(code in text for code in ("x00b", "x07c", "x1b", "x9f"))
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert "\x9f" not in text and "\u2028" not in text


def test_a_table_is_written_in_three_formats_and_keeps_dots_in_its_name(tmp_path):
    write_table(small_table(), tmp_path / "new" / "lr-0.1")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "lr-0.1.csv",
        "lr-0.1.md",
        "lr-0.1.tex",
    ]
    assert (tmp_path / "new" / "lr-0.1.csv").read_text() == "x\n0.3\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def full_disk(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"ha")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_table(small_table(), tmp_path / "table")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("table.csv", "old")]
