"""A trained cell as plain Hugging Face folders."""

from pathlib import Path

from crossmodal_peft.config.cell_file import read_cell
from crossmodal_peft.config.paths import Layout


def merge_cell(name: str, out: Path, layout: Layout) -> None:
    """Fold a trained cell into plain Hugging Face folders of its encoders."""
    from crossmodal_peft.models.export import merge_checkpoint

    file, _ = read_cell(name, layout)
    merge_checkpoint(layout.checkpoint(name), layout.folders(file.cell.encoder_names), out)
