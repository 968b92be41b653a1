"""Pictures as arrays."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def to_squares(pictures: list[Image.Image], size: int) -> np.ndarray:
    """Pad each picture with white to a square and resize it, bicubic. → bytes (batch, 3, size, size)."""
    squares = [
        ImageOps.pad(p.convert("RGB"), (size, size), Image.Resampling.BICUBIC, color="white")
        for p in pictures
    ]
    return np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares])


def normalise(inputs: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Bytes (batch, 3, height, width) → floats, with the channel statistics of the model's training."""
    mean_, std_ = (torch.tensor(v, device=inputs.device)[:, None, None] for v in (mean, std))
    return (inputs.float() / 255 - mean_) / std_
