"""Every default method on the paper-scale trio: samples/s, peak memory and share of the bf16 peak.

Usage: python benchmarks/training_gpu.py [--device cuda] [--batch 64] [--steps 20] [--peak-tflops N]

RoBERTa-base, AST and ViT-B/16 (`paper_scale` of params.yaml) with random weights train on random inputs in
memory; methods that start above the input get random activations at their cut, as from an activation cache.
The peak is what a large product reaches on the device, unless --peak-tflops gives the vendor's figure. The
operations of a step, forward and backward, are counted by torch.utils.flop_counter.
"""

import argparse
import time
from pathlib import Path

import torch
import training_data
from report import markdown, write_section
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from crossmodal_peft.config.settings import Settings
from crossmodal_peft.models.dual_encoder import DualEncoder, build_model
from crossmodal_peft.models.encoder import build_encoder
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.hardware import peak_memory
from crossmodal_peft.training.optimizer import make_optimizer, trained_parameters

TEXT_TOKENS = 32
AUDIO_SHAPE, VOCABULARY = (1024, 128), 1000
DROPPED_STEPS = 3


def model_of(settings: Settings, method: str, everywhere: bool, device: torch.device) -> DualEncoder:
    """The trio with random weights and the method attached."""
    kernel = "eager" if device.type == "cpu" else "sdpa"
    tuning = settings.methods[method]
    if everywhere:
        tuning = tuning.model_copy(update={"layers": "all"})

    def load(modality):
        encoder = settings.encoders[settings.paper_scale[modality]]
        return build_encoder(encoder.family, encoder.pooling, encoder.architecture, kernel)

    train, modalities = settings.train, list(settings.paper_scale)
    with device:
        return build_model(load, tuning, modalities, train.projection_dim)


def inputs_at(model: DualEncoder, modality: str, batch: int) -> tuple[Tensor, Tensor | None]:
    """Random inputs at the tower's cut, on its device."""
    tower, device = model.towers[modality], model.device
    lengths = torch.full((batch,), TEXT_TOKENS, device=device) if modality == "text" else None
    raw = {
        "text": lambda: torch.randint(5, VOCABULARY, (batch, TEXT_TOKENS), device=device),
        "image": lambda: torch.randn(batch, 3, 224, 224, device=device, dtype=torch.float16),
        "audio": lambda: torch.randn(batch, *AUDIO_SHAPE, device=device, dtype=torch.float16),
    }[modality]()
    if tower.cut == "input":
        return raw, lengths
    with torch.no_grad():
        one = tower.encoder(raw[:1], None if lengths is None else lengths[:1], start="input", stop=tower.cut)
    values = torch.randn(batch, *one.shape[1:], device=device)
    return (values if tower.cut == "pooled" else values.half()), None if tower.cut == "pooled" else lengths


def measure(
    settings: Settings, method: str, everywhere: bool, arguments: argparse.Namespace
) -> dict[str, float]:
    """Samples/s, peak memory in bytes and operations per second of the training step."""
    device = torch.device(arguments.device)
    model = model_of(settings, method, everywhere, device).train()
    criterion = make_loss(settings.train.loss).to(device)
    parameters = trained_parameters(model, criterion)
    optimizer = make_optimizer(parameters, settings.methods[method].learning_rate, settings.train)
    batch = {m: inputs_at(model, m, arguments.batch) for m in settings.paper_scale}
    labels = torch.arange(arguments.batch, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            embeddings = {m: model.embed(m, *inputs) for m, inputs in batch.items()}
        optimizer.zero_grad(set_to_none=True)
        criterion(embeddings, labels).backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), settings.train.max_grad_norm)
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    for _ in range(min(DROPPED_STEPS, arguments.steps)):
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    synchronise(device)
    began = time.perf_counter()
    for _ in range(arguments.steps):
        step()
    synchronise(device)
    seconds = (time.perf_counter() - began) / arguments.steps
    return {
        "samples_per_second": arguments.batch / seconds,
        "memory": peak_memory(device),
        "flops_per_second": counter.get_total_flops() / seconds,
    }


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_flops(device: torch.device) -> float:
    """Operations per second of a large bf16 matrix product, the best of several."""
    width = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(width, width, device=device).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(20):
        synchronise(device)
        began = time.perf_counter()
        a @ b
        synchronise(device)
        best = max(best, 2 * width**3 / (time.perf_counter() - began))
    return best


def main() -> None:
    """Measure the methods and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float, help="the device's bf16 peak; default: measured")
    parser.add_argument("--methods", nargs="+", help="default: those of the matrix")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    arguments = parser.parse_args()
    settings, device = training_data.settings_at(arguments.params), torch.device(arguments.device)
    peak = 1e12 * arguments.peak_tflops if arguments.peak_tflops else peak_flops(device)
    rows = []
    for method in arguments.methods or settings.matrix.methods:
        reach = settings.methods[method].layers
        for everywhere in (False, True) if reach != "all" else (False,):
            found = measure(settings, method, everywhere, arguments)
            share = 100 * found["flops_per_second"] / peak
            memory = found["memory"] / 1e6
            layers = "all" if everywhere or reach == "all" else "upper"
            rows.append(
                [method, layers, f"{found['samples_per_second']:.3g}", f"{memory:.0f}", f"{share:.1f} %"]
            )
            print(rows[-1], flush=True)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    text = (
        f"**Paper-scale trio, random weights.** {name}, torch {torch.__version__}, batch {arguments.batch}, "
    )
    text += f"bf16; peak {peak / 1e12:.1f} TFLOP/s{'' if arguments.peak_tflops else ' (measured)'}."
    table = markdown(["method", "layers", "samples/s", "peak MB", "of the bf16 peak"], rows)
    write_section("training gpu", f"{text}\n\n{table}") if arguments.write else print(f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
