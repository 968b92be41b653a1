"""What each of two processes runs in test_distributed.py: `gradients FOLDER`, or `die HOW`."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor

from crossmodal_peft.training import distributed

Inputs = tuple[Tensor, Tensor | None]

CASES = [
    (name, trio, micro_batch, "infonce")
    for trio in (("bert", "dinov2", "whisper"), ("roberta", "vit", "ast"))
    for name in ("full", "lora", "adalora", "prefix-mlp", "frozen")
    for micro_batch in (None, 2)
]
CASES += [("lora", ("bert", "dinov2", "whisper"), micro_batch, "siglip") for micro_batch in (None, 2)]


def rows(inputs: Inputs, part: slice) -> Inputs:
    activations, lengths = inputs
    return activations[part], None if lengths is None else lengths[part]


def save_gradients(folder: Path) -> None:
    """Save this process's loss and gradients of every case, for a batch of 7 items: shares of 3 and 4."""
    from tiny import (
        batch_of,
        gradients_of,
        loss_of,
        method,
        trio_of,
    )  # Not at the top: a process that only dies needs no encoders.

    from crossmodal_peft.training.optimizer import trained_parameters
    from crossmodal_peft.training.step import add_gradients

    results = []
    for name, trio, micro_batch, loss_kind in CASES:
        model, criterion = trio_of(method(name), trio), loss_of(loss_kind)
        batch, labels = batch_of(trio)
        share = {m: rows(inputs, distributed.share(len(labels))) for m, inputs in batch.items()}
        parameters = list(trained_parameters(model, criterion).values())
        loss = add_gradients(model, criterion, parameters, share, labels, micro_batch, torch.float32)
        results.append((loss, gradients_of(model, criterion)))
    torch.save(results, folder / f"{os.environ['RANK']}.pt")


def die(how: str) -> None:
    """Rank 1 dies halfway; rank 0 waits for its embeddings."""
    if os.environ["RANK"] == "1":
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "error":
            sys.exit("the disk is full")
    distributed.gather(torch.zeros(2, 8), 4)


if __name__ == "__main__":
    with distributed.group(2):
        save_gradients(Path(sys.argv[2])) if sys.argv[1] == "gradients" else die(sys.argv[2])
