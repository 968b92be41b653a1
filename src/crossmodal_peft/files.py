"""Atomic writes, checksums, and checks for free disk space."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file next to `path`, renamed to `path` if the block succeeds and deleted otherwise.

    Raises OSError naming `path` if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        if not _out_of_space(error):
            raise
        raise OSError(f"{path}: no space left ({error}); free some space and run again") from error
    finally:
        partial.unlink(missing_ok=True)


def require_room(needed: int, folder: Path, what: str) -> None:
    """Raise OSError naming `what` if a folder's disk has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{what}: needs {needed / 1e6:,.0f} MB more, {free / 1e6:,.0f} MB are free at {folder}; "
            "free some space and run again"
        )


def copy_to_scratch(path: Path, folder: Path) -> Path:
    """A copy of a file in a node's scratch folder; all processes share it until `path` changes.

    Raises OSError naming the copy if the disk is full.
    """
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    copy = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{path.name}"
    if not copy.exists():
        with atomic_write(copy) as partial:
            shutil.copyfile(path, partial)
    return copy


def _out_of_space(error: Exception) -> bool:
    number, text = getattr(error, "errno", None), str(error)
    return any(number == code or f"(os error {code})" in text for code in OUT_OF_SPACE)


def delete_partial(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder that no other process writes to."""
    for path in folder.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Delete the file and raise ValueError if its sha256 is not the expected one."""
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise ValueError(f"{path.name}: sha256 is {found}, expected {expected}; the file was deleted")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
