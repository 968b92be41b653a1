"""Where the results come from: code, packages, machine, precision, and hashes of data and weights."""

from collections.abc import Sequence

import pandas as pd

from crossmodal_peft.report.render import Block, Table

INPUTS = ["provenance"]
CODE = ["revision", "python", "torch", "transformers", "peft"]
MACHINE = ["device", "precision", "kernel", "cores", "memory_gib", "gpu", "processor"]
DIGITS = 12  # Shown of a revision or a sha256; the CSV file has all of them.


def table(provenance: pd.DataFrame) -> Table:
    """How many cells were made with which code and machine, and the hash of each input.

    `provenance`: a row for each cell and input, with the columns of CODE and MACHINE, `changed` (whether
    tracked files differed from the revision), `input` and `sha256`.
    """
    cells = provenance.drop_duplicates(["dataset", "method", "seed"]).astype(object).fillna("–").astype(str)
    changed = cells["changed"].map({"True": " + changes"}).fillna("")
    cells = cells.assign(revision=cells["revision"].str[:DIGITS] + changed)
    inputs = provenance[["input", "sha256"]].drop_duplicates().sort_values("input", kind="stable")
    inputs = inputs.set_index("input").assign(sha256=lambda rows: rows["sha256"].str[:DIGITS])
    blocks = [
        _block("Code", "Cells", _counted(cells, CODE)),
        _block("Machine", "Cells", _counted(cells, MACHINE)),
        _block("Inputs", "Input", inputs),
    ]
    caption = (
        "The number of cells that were trained with each revision of the code and on each machine, and the "
        "sha256 of the manifests, activations and encoder weights that they were trained on. A revision with "
        "changes had edits in tracked files that are in no commit. The cells' records hold all versions."
    )
    return Table(tidy=provenance, shown=blocks, caption=caption)


def _counted(cells: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The distinct rows of some columns, indexed by the number of cells that have them."""
    counts = cells.groupby(list(columns), sort=False).size().rename("cells").reset_index()
    return counts.set_index("cells")[list(columns)]


def _block(title: str, corner: str, rows: pd.DataFrame) -> Block:
    cells = rows.rename_axis(corner).astype(str)
    cells.columns = pd.MultiIndex.from_tuples([("", str(name).replace("_", " ")) for name in rows.columns])
    return Block(title=title, cells=cells, best=pd.DataFrame(False, index=cells.index, columns=cells.columns))
