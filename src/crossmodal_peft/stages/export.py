"""A trained cell as a folder that needs neither the project nor the data."""

from pathlib import Path

from crossmodal_peft.config.cell_file import read_cell
from crossmodal_peft.config.paths import Layout


def export_cell(name: str, layout: Layout, out: Path) -> dict[str, float]:
    """Write a trained cell as a self-contained folder; returns the largest differences by modality.

    Raises ValueError if what was written does not give the embeddings of the cell; then nothing is kept.
    """
    from crossmodal_peft.inference import export, verification
    from crossmodal_peft.inference.card import card_of
    from crossmodal_peft.inference.description import CARD
    from crossmodal_peft.inference.opening import open_exported

    file, _ = read_cell(name, layout)
    sample = verification.sample(name, layout)
    found: dict[str, float] = {}

    def write(partial: Path) -> None:
        description = export.write_folder(
            layout.checkpoint(name), layout.folders(file.cell.encoder_names), partial
        )
        export.finish(description, partial)
        found.update(verification.require_reproduced(open_exported(partial), sample))
        description = description.model_copy(update={"reproduced": found})
        export.finish(description, partial)
        (partial / CARD).write_text(card_of(name, description, layout))

    export.in_place(out, write)
    return found
