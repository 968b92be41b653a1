"""Files by the names that tables give them, which may be written in another way than on the disk."""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path


def named_file(root: Path, name: str) -> Path:
    """The file under `root` that a table names: as it is written, if there is such a file.

    Otherwise letters with accents may be composed differently (NFC or NFD; macOS, archives and git change
    it), and the name may have blanks at its ends, or backslashes. Raises ValueError for absolute names
    and if there is no such file.
    """
    if Path(name).is_absolute():
        raise ValueError(f"{name}: must be relative to {root}")
    for written in dict.fromkeys((name, name.strip(), name.strip().replace("\\", "/"))):
        for found in (root / written, _composed_differently(root, written)):
            if found is not None and os.path.isfile(
                found
            ):  # Unlike Path's, also for names that are too long.
                return found
    raise ValueError(f"{name}: no such file")


def _composed_differently(root: Path, name: str) -> Path | None:
    found = root
    for part in Path(name).parts:
        if not os.path.exists(found / part):
            part = _entries(found).get(unicodedata.normalize("NFC", part), "")
        if not part:
            return None
        found /= part
    return found


def _entries(folder: Path) -> dict[str, str]:
    return _listed(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}


@lru_cache(maxsize=64)
def _listed(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder by their composed form; of two, the first in alphabetical order."""
    names = sorted((path.name for path in folder.iterdir()), reverse=True)
    return {unicodedata.normalize("NFC", name): name for name in names}
