"""Equal results of equal runs, and a word where an operation cannot give them."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def determinism(wanted: bool, report: Callable[[str], None]) -> Iterator[list[str]]:
    """While the block runs torch chooses deterministic operations, if wanted.

    Yields a list that grows with the names of operations that have no deterministic form; each is reported
    once. Must begin before CUDA is used: cuBLAS reads its workspace's size when it starts.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    without: list[str] = []
    show = warnings.showwarning

    def note(message: Warning | str, *rest: Any, **more: Any) -> None:
        text = str(message)
        if "does not have a deterministic implementation" not in text:
            show(message, *rest, **more)
        elif (name := text.split(" does not")[0]) not in without:
            without.append(name)
            report(f"{name} has no deterministic form here: a run again may give other last digits")

    warnings.showwarning = note
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Every new tensor would be filled, 3 % of a step, in case an operation reads it unwritten: none does.
    deterministic: Any = torch.utils.deterministic
    filling, deterministic.fill_uninitialized_memory = deterministic.fill_uninitialized_memory, False
    try:
        yield without
    finally:
        warnings.showwarning = show
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = filling
