"""A trained cell as a folder that needs neither the project nor the data."""

from pathlib import Path

from crossmodal_peft.config.paths import Layout


def export_cell(name: str, layout: Layout, out: Path, form: str = "crossmodal") -> dict[str, float]:
    """Write a trained cell in a format; returns the largest differences from its embeddings, by modality.

    Raises ValueError if the format does not fit the cell, or if what was written does not give its
    embeddings; then nothing is kept.
    """
    from crossmodal_peft.inference import export, formats, verification
    from crossmodal_peft.inference.card import card_of
    from crossmodal_peft.inference.description import CARD
    from crossmodal_peft.inference.formats.crossmodal import describe_files
    from crossmodal_peft.inference.opening import open_cell

    trained = export.open_trained(name, layout)
    module, saved = formats.format_named(form, trained), verification.sample(name, layout)
    exact = None if form == formats.OWN else verification.without_rounding(open_cell(name, layout), saved)
    found: dict[str, float] = {}

    def write(partial: Path) -> None:
        module.write(trained, partial)
        found.update(verification.compared(module, partial, trained.description, saved, exact))
        precision = {} if form == formats.OWN else {"precision": "fp32"}
        verified = trained.description.model_copy(update={"reproduced": found, **precision})
        if form == formats.OWN:
            describe_files(verified, partial)
        card = card_of(trained, verified, module.usage(verified), layout)
        (partial / CARD).write_text(card, encoding="utf-8")

    export.in_place(out, write)
    return found
