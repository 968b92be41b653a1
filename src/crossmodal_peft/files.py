"""Atomic writes, JSON, checksums, and checks for free disk space."""

import errno
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
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
    """A copy of a file in a node's scratch folder, which all of this user's processes share.

    A copy that is there already is used if it has the same bytes, and replaced otherwise. Raises OSError
    naming the copy if the disk is full, or the folder if it is not this user's; ValueError if the copy is not
    as the file, or a variable in the folder's name is not set.
    """
    own, expected = _private(folder), sha256(path)
    copy = own / f"{expected[:16]}-{path.name}"
    if not copy.exists() or sha256(copy) != expected:
        with atomic_write(copy) as partial:
            shutil.copyfile(path, partial)
            verify(partial, expected)
    return copy


def _private(folder: Path) -> Path:
    """This user's own folder in one that others may write to."""
    if "$" in str(folder):
        raise ValueError(f"paths.scratch: {folder}: the variable is not set on this machine")
    own = folder / f"crossmodal-peft-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    status = own.lstat()  # Of a link itself, which could lead anywhere.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(
            f"{own}: not a folder of this user; delete it, or set paths.scratch to another one"
        )
    own.chmod(0o700)
    return own


def why_missing(path: Path) -> str:
    """Why a file of the user's is not there, in words for a refusal."""
    if "/.dvc/tmp/" in Path.cwd().as_posix():
        return (
            f"{path}: not in the copy in which `dvc exp run --temp` runs, which has only what git or DVC "
            "knows: git add or dvc add it, or leave out --temp"
        )
    return f"{path}: no such file or folder; it is relative to the folder that snakemake runs in"


def _out_of_space(error: Exception) -> bool:
    number, text = getattr(error, "errno", None), str(error)
    return any(number == code or f"(os error {code})" in text for code in OUT_OF_SPACE)


def delete_partial(folder: Path, name: str = "*") -> None:
    """Delete what killed processes left half-written of files that no other process writes: one, or all."""
    for path in folder.glob(f".{name}.*partial*"):
        path.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Raise OSError if no file can be written into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass


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
