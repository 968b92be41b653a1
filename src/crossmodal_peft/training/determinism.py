"""Deterministic operations, and a report of those that have no deterministic implementation."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def determinism(wanted: bool, report: Callable[[str], None]) -> Iterator[list[str]]:
    """Make torch choose deterministic operations, if wanted, while the block runs.

    Yields a list that collects the names of operations without a deterministic implementation; each is
    reported once. Must be entered before CUDA is used: cuBLAS reads its workspace size when it starts.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    nondeterministic: list[str] = []
    show = warnings.showwarning

    def record(message: Warning | str, *rest: Any, **more: Any) -> None:
        text = str(message)
        if "does not have a deterministic implementation" not in text:
            show(message, *rest, **more)
        elif (name := text.split(" does not")[0]) not in nondeterministic:
            nondeterministic.append(name)
            report(f"{name} has no deterministic implementation here: a rerun may differ in the last digits")

    warnings.showwarning = record
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every new tensor takes 3 % of a step, in case uninitialised memory is read: it never is here.
    deterministic: Any = torch.utils.deterministic
    filling, deterministic.fill_uninitialized_memory = deterministic.fill_uninitialized_memory, False
    try:
        yield nondeterministic
    finally:
        warnings.showwarning = show
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = filling
