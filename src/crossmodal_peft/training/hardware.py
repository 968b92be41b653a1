"""Device, precision and attention implementation for this machine, and the memory that a training used."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from crossmodal_peft.config.settings import Train
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.training.distributed import from_main_process


def resolve_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# A bf16 product may take half the time of an fp32 one (AMD Zen 4) or twice (Intel Sapphire Rapids with AMX
# hidden by the host), although both processors report bf16 support. So it is measured; this threshold leaves
# room for noise on both sides.
MIN_BF16_SPEEDUP = 1.3


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: the requested one, or for `auto` bf16 where it is faster."""
    if precision == "auto":
        faster = (
            torch.cuda.is_bf16_supported()
            if device.type == "cuda"
            else from_main_process(bf16_speedup) > MIN_BF16_SPEEDUP
        )
        return torch.bfloat16 if faster else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


@cache
def bf16_speedup() -> float:
    """How many times faster this processor multiplies in bf16 than in fp32; 0 without bf16 support."""
    if not torch.cpu._is_avx512_bf16_supported():
        return 0.0
    # The product of a feed-forward layer for a batch: 1024 tokens, widths 384 and 1536; about 10 ms.
    pairs = {
        kind: (torch.ones(1024, 384, dtype=kind), torch.ones(384, 1536, dtype=kind))
        for kind in (torch.float32, torch.bfloat16)
    }
    seconds = {kind: min(_product_seconds(*pair) for _ in range(7)) for kind, pair in pairs.items()}
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    began = time.perf_counter()
    left @ right
    return time.perf_counter() - began


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
