"""Attention implementations by size and precision, and what training settings cost and save.

Usage: python benchmarks/steps.py [--only kernels settings] [--rounds 3] [--folder data/benchmarks]

Writes the sections `steps …` of the README. One thread; `training.py --prepare` prepares the arrays.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from report import describe_machine, markdown, write_section
from training_floor import layout_of
from training_ours import Enough, Loop, ensure_arrays, timed

from crossmodal_peft.config import validation
from crossmodal_peft.config.cell import cell as cell_of
from crossmodal_peft.models.dual_encoder import configure
from crossmodal_peft.models.encoder import build_encoder
from crossmodal_peft.training.hardware import resolve_device
from crossmodal_peft.training.trained import open_data

PARAMS = Path("params.yaml")
BATCH = 32
SIDES = (84, 112, 224)  # Image sizes in pixels: 37, 65 and 257 tokens.
FOUR_LAYERS = {"hidden_size": 384, "num_hidden_layers": 4, "num_attention_heads": 6, "image_size": 518}
ITEMS = 96  # An epoch is one step, with a batch that is large for a small machine.
VARIANTS: dict[str, dict[str, object]] = {
    "as the default matrix": {},
    "`micro_batch_size: 8`": {"micro_batch_size": 8},
    "`gradient_checkpointing: true`": {"gradient_checkpointing": True},
    "`compile: true`": {"compile": True},
}


def kernels(rounds: int) -> None:
    """Time forward and backward passes through four trainable layers of DINOv2-small's size, interleaved."""
    torch.set_num_threads(1)
    device, rows = resolve_device(), []
    for side in SIDES:
        pictures = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8, device=device)
        for precision in (torch.float32, torch.bfloat16):
            steps = {
                kernel: step_of(kernel, pictures, precision)  # type: ignore[arg-type]
                for kernel in ("eager", "sdpa")
            }
            times: dict[str, list[float]] = {kernel: [] for kernel in steps}
            for _ in range(1 + rounds):
                for kernel, step in steps.items():
                    times[kernel].append(timed(step))
            milliseconds = [1000 * min(seconds[1:]) for seconds in times.values()]
            tokens = (side // 14) ** 2 + 1
            kind = str(precision).removeprefix("torch.")
            rows.append([f"{side} px", str(tokens), kind, *(f"{value:.0f}" for value in milliseconds)])
    head = ["picture", "tokens", "precision", "eager (ms)", "sdpa (ms)"]
    text = f"{describe_machine()}; {device.type}, one thread; batch {BATCH}; the fastest of {rounds}."
    write_section("steps kernels", f"{text}\n\n{markdown(head, rows)}")


def step_of(kernel, pictures: torch.Tensor, precision: torch.dtype):
    """A function that runs one forward and backward pass."""
    torch.manual_seed(0)
    encoder = build_encoder("dinov2", "cls_mean", {**FOUR_LAYERS, "patch_size": 14}, kernel)
    encoder.to(pictures.device).requires_grad_(True)

    def step() -> None:
        with torch.autocast(pictures.device.type, precision, enabled=precision != torch.float32):
            pooled = encoder(pictures, None, start="input")
        pooled.float().square().mean().backward()
        if pictures.device.type == "cuda":
            torch.cuda.synchronize()

    return step


def settings(rounds: int, folder: Path) -> None:
    """Full fine-tuning on stamps-image with each variant in turn, in a process of its own."""
    cell, layout = benchmark_cell(folder, {})
    ensure_arrays(cell, layout)
    rows = []
    for name, changes in VARIANTS.items():
        command = [sys.executable, __file__, "--variant", json.dumps(changes), "--folder", str(folder)]
        answer = subprocess.run([*command, "--rounds", str(rounds)], stdout=subprocess.PIPE, check=True)
        found = json.loads(answer.stdout.splitlines()[-1])
        rows.append(
            [name, *(f"{found[key]:.{digits}f}" for key, digits in (("rate", 1), ("mb", 0), ("first", 1)))]
        )
    head = ["setting", "samples/s", "peak memory (MB)", "first epoch (s)"]
    text = (
        f"{describe_machine()}; one thread; full fine-tuning of stamps-image, batches of {ITEMS}, "
        f"{found['precision']}; the fastest of {rounds} epochs after the first."
    )
    write_section("steps settings", f"{text}\n\n{markdown(head, rows)}")


def benchmark_cell(folder: Path, changes: dict[str, object]):
    """The cell stamps-image/full/0 with changed training settings, and the layout of its files."""
    loaded = validation.load(PARAMS)
    cell = cell_of(loaded, "stamps-image", "full", 0)
    train = type(cell.train).model_validate({**cell.train.model_dump(), "batch_size": ITEMS, **changes})
    return cell.model_copy(update={"train": train}), layout_of(loaded, folder)


def variant(changes: dict[str, object], rounds: int, folder: Path) -> dict[str, float | str]:
    """Train with changed settings: samples/s, peak memory in MB, duration of the first epoch in seconds."""
    cell, layout = benchmark_cell(folder, changes)
    manifest, _ = open_data(cell, layout)
    loop = Loop(cell, layout, list(manifest.loc[manifest.split == "train", "item"].unique()[:ITEMS]))
    configure(loop.model, cell.train)
    moments: list[float] = []

    def between() -> None:
        moments.append(time.perf_counter())
        if len(moments) > 1 + rounds + 1:
            raise Enough

    loop.run(between)
    seconds = [after - before for before, after in pairwise(moments)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    rate, kind = loop.items / min(seconds[1:]), str(loop.precision).removeprefix("torch.")
    return {"rate": rate, "mb": peak, "first": seconds[0], "precision": kind}


def main() -> None:
    """Run the requested measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=["kernels", "settings"], default=["kernels", "settings"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--variant", type=json.loads, help="Measure one variant and print it as JSON.")
    options = parser.parse_args()
    if options.variant is not None:
        print(json.dumps(variant(options.variant, options.rounds, options.folder)))
        return
    if "kernels" in options.only:
        kernels(options.rounds)
    if "settings" in options.only:
        settings(options.rounds, options.folder)


if __name__ == "__main__":
    main()
