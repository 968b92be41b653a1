"""Archives of strangers: nothing lands outside the folder, no link, no more than was to be expected."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from crossmodal_peft.files import require_room

MAX_RATIO = 100  # Sound and pictures are compressed already: more is a bomb.
MAX_SMALL = 2**20  # bytes that any archive may unpack to
MAX_MEMBERS = 1_000_000
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Member:
    """An entry of an archive: its size is that unpacked; `plain` means a file or a folder."""

    name: str
    size: int
    plain: bool


def unpack(archive: Path, out: Path) -> None:
    """Unpack a zip, 7z or tar archive into the folder `out`, which appears whole or not at all.

    Every entry is checked before anything is written. Raises ValueError that names the archive and the entry
    if one is a link or a device, leads out of the folder, or if all are too many or too large; OSError if the
    disk has no room.
    """
    try:
        size = _checked_size(archive)
        out.parent.mkdir(parents=True, exist_ok=True)
        require_room(size, out.parent, archive.name)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            unpacked = Path(folder) / "unpacked"
            unpacked.mkdir()
            _extract(archive, unpacked, size)
            shutil.rmtree(out, ignore_errors=True)
            os.rename(unpacked, out)
    except (ValueError, OSError):
        raise
    except Exception as error:  # Each of the three libraries has its own family of errors.
        raise ValueError(f"{archive.name}: is damaged: {' '.join(str(error).split())}") from error


def _checked_size(archive: Path) -> int:
    """The size of all members; stops at the first that is not allowed."""
    allowed, total = max(MAX_SMALL, MAX_RATIO * archive.stat().st_size), 0
    for number, member in enumerate(_members(archive), start=1):
        total += member.size
        if not member.plain:
            raise ValueError(f"{archive.name}: {member.name!r} is a link or a device")
        if _leads_out(member.name):
            raise ValueError(f"{archive.name}: {member.name!r} leads out of the folder")
        if total > allowed or number > MAX_MEMBERS:
            raise ValueError(
                f"{archive.name}: {number} entries of {total / 1e6:,.0f} MB and more, a bomb by its size of "
                f"{archive.stat().st_size / 1e6:,.3f} MB"
            )
    return total


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":" or "\0" in name or not path.parts


def _members(archive: Path) -> Iterator[Member]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                kind = info.external_attr >> 28  # of a Unix mode; 0 where the writer was no Unix
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
        raise ValueError(f"{archive.name}: no zip, 7z or tar archive")


def _extract(archive: Path, out: Path, size: int) -> None:
    """Extract checked members; the libraries check them again in their own ways."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(out)
    elif archive.suffix == ".7z":
        import py7zr

        with py7zr.SevenZipFile(archive, max_extract_size=size) as opened:
            opened.extractall(out)
    else:
        # Python has the filter from 3.11.4 on; without it, the check before is all there is.
        guard: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(archive) as opened:
            opened.extractall(out, **guard)
