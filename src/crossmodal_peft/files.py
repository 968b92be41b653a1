"""Files that appear whole or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: it becomes `path` when the block succeeds, else it is deleted.

    Raises OSError that names `path` where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        if not _lacks_room(error):
            raise
        raise OSError(f"{path}: no room to write it ({error}); make room and run again") from error
    finally:
        partial.unlink(missing_ok=True)


def require_room(needed: int, folder: Path, what: str) -> None:
    """Raise OSError that names `what` if a folder's disk has fewer bytes free than are needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{what}: needs {needed / 1e6:,.0f} MB more, {free / 1e6:,.0f} MB are free at {folder}; "
            "make room and run again"
        )


def copy_to_scratch(path: Path, folder: Path) -> Path:
    """A copy of a file in a folder nearer to this process; one copy serves all until `path` changes.

    Raises OSError that names the copy where the disk is full.
    """
    facts = path.stat()
    key = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    near = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{path.name}"
    if not near.exists():
        with atomic_write(near) as partial:
            shutil.copyfile(path, partial)
    return near


def _lacks_room(error: Exception) -> bool:
    codes = [getattr(error, "errno", None) == code or f"(os error {code})" in str(error) for code in NO_ROOM]
    return any(codes)


def delete_partial(folder: Path) -> None:
    """Delete what processes that were killed while they wrote left in a folder that nobody else writes to."""
    for path in folder.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Delete the file and raise ValueError if its sha256 is another."""
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise ValueError(f"{path.name}: sha256 is {found}, expected {expected}; the file was deleted")
