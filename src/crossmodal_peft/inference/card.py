"""The model card of an exported folder, from the cell's record."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossmodal_peft.config.cell_file import EMBEDDINGS, CellFile
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.files import read_json
from crossmodal_peft.inference.description import Description, Tower
from crossmodal_peft.inference.export import Trained
from crossmodal_peft.report.evaluation_table import readable
from crossmodal_peft.retrieval.embeddings import load_embeddings
from crossmodal_peft.retrieval.evaluate import evaluate

KS = (1, 5, 10)


def card_of(trained: Trained, description: Description, usage: str, layout: Layout) -> str:
    """The card in Markdown: what it is, how to use it, what it was trained on, how good, its limits."""
    file = trained.file
    directions = evaluate(load_embeddings(trained.checkpoint / EMBEDDINGS, "test"), KS)
    sections = {
        f"{file.cell.name}, {' and '.join(description.towers)} in one space": use(description, usage),
        "Encoders": "\n".join(encoder_lines(description)),
        "Training": "\n".join(training_lines(file, layout)),
        "Recall on the test split": readable(directions),
        "Limits": limits(file, description),
    }
    body = [
        f"{'#' if number == 0 else '##'} {title}\n\n{text}"
        for number, (title, text) in enumerate(sections.items())
    ]
    return front_matter(description) + "\n\n".join(body) + "\n"


def front_matter(description: Description) -> str:
    """What the Hugging Face hub reads of a card."""
    bases = [tower.base["source"] for tower in description.towers.values() if "revision" in tower.base]
    base = f"base_model: [{', '.join(bases)}]\n" if bases else ""
    return (
        "---\nlibrary_name: crossmodal-peft\npipeline_tag: feature-extraction\n"
        f"tags: [cross-modal-retrieval, {', '.join(description.towers)}]\n{base}---\n\n"
    )


def use(description: Description, usage: str) -> str:
    """What it gives, and how to load it."""
    return (
        f"Embeds {', '.join(description.towers)} as vectors of {description.width} numbers, of unit length, "
        f"whose inner products are cosines.\n\n```python\n{usage}\n```"
    )


def encoder_lines(description: Description) -> Iterator[str]:
    """A line for each encoder."""
    for modality, tower in description.towers.items():
        yield (
            f"- {modality}: {origin(tower)}; family {tower.encoder.family}, pooling {tower.encoder.pooling}, "
            f"a projection to {description.width}. Input: {tower.preprocessing}."
        )


def origin(tower: Tower) -> str:
    """Where an encoder is from."""
    source = tower.base.get("source", "of unknown source")
    return f"{source} at {tower.base['revision']}" if "revision" in tower.base else source


def training_lines(file: CellFile, layout: Layout) -> Iterator[str]:
    """Data, method, settings and cost."""
    cell, counts, costs = file.cell, file.parameters, file.training
    for name, data in cell.data.items():
        yield f"- data: {name} ({data.kind}){licence(layout.dataset(data.source))}"
    size = f", {cell.tuning.described_size}" if cell.tuning.described_size else ""
    yield (
        f"- method: {cell.method} ({cell.tuning.kind}{size}), learning rate {cell.tuning.learning_rate:g}"
        f"{' (tuned on validation)' if cell.tuning.tuned else ''}; seed {cell.seed}"
    )
    if counts:
        yield f"- parameters: {counts['trainable']:,} trained of {counts['total']:,}"
    train = cell.train
    yield (
        f"- settings: {train.epochs} epochs in batches of {train.batch_size}, loss {train.loss.kind}, "
        f"precision {file.provenance.get('precision', 'unknown')}"
    )
    if "seconds" in costs:
        machine: Any = file.provenance.get("hardware", {})
        where = machine.get("gpu") or machine.get("processor", "an unknown processor")
        memory = costs["peak_memory_bytes"] / 1e9
        yield f"- cost: {costs['seconds']:,.0f} s on {where}, at most {memory:.1f} GB"


def licence(folder: Path) -> str:
    """Source and licence of a dataset, by the receipt of its download."""
    path = folder / RECEIPT
    receipt = read_json(path, "download the dataset again") if path.exists() else {}
    found = [f"{key}: {receipt[key]}" for key in ("source", "licence") if key in receipt]
    return f"; {', '.join(found)}" if found else ""


def limits(file: CellFile, description: Description) -> str:
    """What a reader must know before using it."""
    largest = max(description.reproduced.values(), default=0.0)
    return (
        "Trained and evaluated on the data above only; on other data it was not tested. Recall depends on "
        "the size of the gallery. The licences of the encoders and of the data hold for this model too.\n\n"
        f"Computed in {description.precision}. From raw files it gave the embeddings of its evaluation up to "
        f"{largest:.1g} on a sample of the test split. crossmodal-peft {version()} wrote it."
    )


def version() -> str:
    """The version of this package."""
    from importlib.metadata import version as installed

    return installed("crossmodal-peft")
