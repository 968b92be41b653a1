"""Prepared arrays, written row by row to memory-mapped files."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.files import require_room


class ArrayWriter:
    """Writes an encoder's inputs as the rows of one memory-mapped array; named once it is closed."""

    def __init__(self, path: Path, capacity: int):
        self.path, self.capacity = path, capacity
        self.partial = path.with_name(f".{path.name}.partial")
        self.array: Any = None
        self.lengths: list[int] = []

    def add(self, values: np.ndarray, length: int) -> int:
        """Write one input; returns its row. Raises OSError if the disk has no room for all."""
        if self.array is None:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            shape = (self.capacity, *values.shape)
            require_room(math.prod(shape) * values.dtype.itemsize, self.path.parent, str(self.path))
            self.array = np.lib.format.open_memmap(self.partial, "w+", values.dtype, shape)
        self.array[len(self.lengths)] = values
        self.lengths.append(length)
        return len(self.lengths) - 1

    def close(self) -> list[int]:
        """Give the array its final name; returns the length of each row."""
        self.array.flush()
        self.partial.rename(self.path)
        return self.lengths
