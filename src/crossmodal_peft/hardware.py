"""What the machine gains from, and what a training took of it."""

import resource

import torch

from crossmodal_peft.attention import Kernel


def resolve_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Type of matrix products: what is asked for, or for `auto` bf16 where the hardware computes in it."""
    if precision == "auto":
        on_cpu = torch.cpu._is_avx512_bf16_supported()
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else on_cpu
        return torch.bfloat16 if native else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def resolve_kernel(kernel: str, device: torch.device) -> Kernel:
    """The attention kernel: what is asked for, or for `auto` the one that trains faster there."""
    if kernel == "auto":
        return "eager" if device.type == "cpu" else "sdpa"
    return "eager" if kernel == "eager" else "sdpa"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
