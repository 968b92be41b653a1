"""Atomic writes, JSON, checksums, and checks for free disk space."""

import errno
import hashlib
import json
import math
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
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError naming the file, what is wrong with it, and the `fix`."""
    try:
        return json_object(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # Includes bytes that are not UTF-8.
        raise ValueError(f"{path}: {error}; {fix}") from None


def json_object(text: str) -> dict[str, Any]:
    """The object in a JSON text. Raises ValueError as `parse_json`, and for any other value."""
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"holds {json.dumps(content)[:20]}, not a JSON object")
    return content


def parse_json(text: str) -> Any:
    """The value in a JSON text.

    Raises ValueError for what RFC 8259 leaves open and readers take differently, too: numbers that are not
    finite, equal keys in an object, and nesting too deep to be read.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("not usable JSON: nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"not usable JSON: the key {twice!r} stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"not usable JSON: {text} is not a finite number")
    return number
