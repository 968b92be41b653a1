"""Archives from untrusted sources: no entry outside the folder, no links, no decompression bombs."""

import fcntl
import glob
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from crossmodal_peft.files import require_room

MAX_RATIO = 100  # Audio and images are compressed already: a higher ratio is a bomb.
MAX_SMALL = 2**20  # bytes; an archive may always unpack to this size
MAX_MEMBERS = 1_000_000
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Member:
    """An entry of an archive: `size` in bytes once unpacked; `plain`: a regular file or a folder."""

    name: str
    size: int
    plain: bool


def unpack(archive: Path, out: Path) -> None:
    """Unpack a zip, 7z or tar archive into the folder `out`, as `fill_once`.

    Every entry is checked before anything is written. Raises ValueError naming the archive and the entry if
    an entry is a link, a device, or outside the folder, or if there are too many or they are too large;
    OSError if the disk is full.
    """
    try:
        size = _checked_size(archive)
        out.parent.mkdir(parents=True, exist_ok=True)
        require_room(size, out.parent, archive.name)
        fill_once(out, lambda folder: _extract(archive, folder, size))
    except (ValueError, OSError):
        raise
    except Exception as error:  # The three libraries share no base class of errors.
        raise ValueError(f"{archive.name}: damaged: {' '.join(str(error).split())}") from error


def fill_once(out: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder with what `fill` writes into it, unless it exists: it appears complete or not at all.

    Processes that want the same folder wait for one another. What a killed one left is deleted.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    mark = f".{out.name}.filling-"
    with _locked(out.parent) as alone:
        for left in out.parent.glob(f"{glob.escape(mark)}*") if alone else ():
            shutil.rmtree(left)
        if not out.exists():
            with TemporaryDirectory(dir=out.parent, prefix=mark) as folder:
                made = Path(folder) / "made"
                made.mkdir()
                fill(made)
                made.rename(out)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder while the block runs; false on a file system without locks."""
    number, alone = os.open(folder, os.O_RDONLY), True
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
    except OSError:  # Some network file systems: ENOLCK, ENOTSUP, EBADF.
        alone = False
    try:
        yield alone
    finally:
        os.close(number)  # And with it the lock.


def _checked_size(archive: Path) -> int:
    """Total size of all members in bytes, unpacked. Raises ValueError at the first that is not allowed."""
    allowed, total = max(MAX_SMALL, MAX_RATIO * archive.stat().st_size), 0
    for number, member in enumerate(_members(archive), start=1):
        total += member.size
        if not member.plain:
            raise ValueError(f"{archive.name}: {member.name!r} is a link or a device")
        if _escapes(member.name):
            raise ValueError(f"{archive.name}: {member.name!r} is outside the target folder")
        if total > allowed or number > MAX_MEMBERS:
            raise ValueError(
                f"{archive.name}: refused as a decompression bomb: {number} or more entries, at least "
                f"{total / 1e6:,.0f} MB, in {archive.stat().st_size / 1e6:,.3f} MB"
            )
    return total


def _escapes(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":" or "\0" in name or not path.parts


def _members(archive: Path) -> Iterator[Member]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                kind = info.external_attr >> 28  # file type of the Unix mode; 0 from other systems
                yield Member(info.filename, info.file_size, kind in (0, 0o10, 0o4))
    elif archive.suffix == ".7z":
        import py7zr

        with py7zr.SevenZipFile(archive) as opened:
            for listed in opened.list():
                plain = (listed.is_file or listed.is_directory) and not listed.is_symlink
                yield Member(listed.filename, listed.uncompressed, plain)
    elif archive.name.endswith(TARS):
        with tarfile.open(archive) as opened:
            for entry in opened:
                yield Member(entry.name, entry.size, entry.isfile() or entry.isdir())
    else:
        raise ValueError(f"{archive.name}: not a zip, 7z or tar archive")


def _extract(archive: Path, out: Path, size: int) -> None:
    """Extract the checked members; each library checks them once more in its own way."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(out)
    elif archive.suffix == ".7z":
        import py7zr

        with py7zr.SevenZipFile(archive, max_extract_size=size) as opened:
            opened.extractall(out)
    else:
        # Python has the filter since 3.11.4; before that, ours is the only check.
        guard: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(archive) as opened:
            opened.extractall(out, **guard)
