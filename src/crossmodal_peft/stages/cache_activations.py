"""Activations of an encoder's frozen layers, which the cells of a dataset share."""

from pathlib import Path

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import EncoderSettings


def compute_activations(
    dataset: str, modality: str, stored: str, folder: Path, encoder: EncoderSettings, layout: Layout
) -> None:
    """Compute the activations of one modality; `stored` is the cut, with `.fp32` after it for fp32."""
    from crossmodal_peft.data.arrays import read_manifest
    from crossmodal_peft.models.encoder import load_encoder
    from crossmodal_peft.training import activation_cache
    from crossmodal_peft.training.hardware import resolve_device

    activation_cache.compute_activations(
        load_encoder(folder, encoder.family, encoder.pooling, "sdpa").to(resolve_device()),
        read_manifest(layout.manifest(dataset)),
        layout.activations(dataset, modality, "input"),
        stored.removesuffix(".fp32"),
        layout.activations(dataset, modality, stored),
        "fp32" if stored.endswith(".fp32") else "fp16",
    )
