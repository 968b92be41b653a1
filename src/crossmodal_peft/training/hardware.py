"""Device, precision and attention implementation for this machine, and the memory that a training used."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from crossmodal_peft.config.settings import Train
from crossmodal_peft.models.attention import Kernel


def resolve_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: the requested one, or for `auto` bf16 where it is faster."""
    if precision == "auto":
        faster = torch.cuda.is_bf16_supported() if device.type == "cuda" else bf16_is_faster()
        return torch.bfloat16 if faster else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def bf16_is_faster() -> bool:
    """Whether this processor multiplies faster in bf16 than in fp32.

    Those with AMX do, and AMD's with AVX512-BF16 (2.1 times on one core). Intel's whose host hides AMX report
    AVX512-BF16 too, but take twice the time. This is a rule and not a measurement, because the load of the
    machine must not change the results of a cell.
    """
    has = torch.cpu.get_capabilities()
    amd = str(has.get("cpu_name", "")).startswith("AMD")
    return bool(has.get("amx_bf16") or (amd and has.get("avx512_bf16")))


def resolve_kernel(kernel: str, device: torch.device, precision: torch.dtype) -> Kernel:
    """The attention implementation: the requested one, or for `auto` the one that trains faster.

    On a CPU, sdpa takes 8 to 20 % less time than eager in fp32, but more in bf16 (benchmarks/README.md).
    """
    if kernel == "auto":
        return "eager" if device.type == "cpu" and precision == torch.bfloat16 else "sdpa"
    return "eager" if kernel == "eager" else "sdpa"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def explain_out_of_memory(settings: Train) -> Iterator[None]:
    """Turn a failed allocation into a RuntimeError that says which setting to change.

    (If the system kills the process instead, no message is possible.)
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate" not in str(error):
            raise
        raise RuntimeError(
            f"out of memory with train.batch_size {settings.batch_size}, train.micro_batch_size "
            f"{settings.micro_batch_size or 'null'}; set a smaller micro-batch, which gives the same result "
            f"({str(error).partition(chr(10))[0]})"
        ) from error
