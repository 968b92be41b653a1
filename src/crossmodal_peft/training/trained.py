"""The embeddings of a trained cell, loaded or computed again."""

from typing import Any

from crossmodal_peft.config.cell_file import EMBEDDED_SPLITS, EMBEDDINGS, check_embeddings, read_cell
from crossmodal_peft.config.paths import Layout


def embeddings_of(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """A cell's embeddings of a split, by dataset and modality: those saved by training, or computed again.

    Raises ValueError if the weights or these embeddings are not those that `cell.json` describes.
    """
    from crossmodal_peft.retrieval.embeddings import load_embeddings

    (file, _), folder = read_cell(name, layout), layout.checkpoint(name)
    if split not in EMBEDDED_SPLITS or not (folder / EMBEDDINGS).exists():
        return embed_cell(name, split, layout)
    check_embeddings(folder, file)
    return load_embeddings(folder / EMBEDDINGS, split)


def embed_cell(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """Embed a split with a trained cell's weights, by dataset and modality.

    Raises ValueError if the checkpoint or its encoders have changed.
    """
    from crossmodal_peft.models.checkpoint import open_checkpoint
    from crossmodal_peft.training import hardware
    from crossmodal_peft.training.cell_data import open_data
    from crossmodal_peft.training.embed import embed_split

    cell = read_cell(name, layout)[0].cell
    device = hardware.resolve_device()
    precision = hardware.resolve_precision(cell.train.precision, device)
    kernel = hardware.resolve_kernel(cell.train.attn_implementation, device, precision)
    _, model = open_checkpoint(layout.checkpoint(name), layout.folders(cell.encoder_names), kernel)
    manifest, activations = open_data(cell, layout)
    return embed_split(model.to(device), manifest, activations, split, precision)
