"""Read every file that dvc.lock names, here and in DVC's cache; say which are damaged and how to repair them.

`dvc status` goes by a file's size and time, and DVC trusts any object in its cache that is read-only. This
script reads all of them, so it finds a flipped bit, or an edit that kept the time.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml


def md5(path: Path) -> str | None:
    """The hash under which DVC keeps a file, or None if there is no such file."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def kept_files(objects: Path) -> Iterator[tuple[Path, str]]:
    """The files that DVC keeps for dvc.lock, with their hashes. Small results are skipped: git keeps them.

    Raises ValueError naming the folder if its listing is missing or damaged.
    """
    for out in yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]["benchmark"]["outs"]:
        if out["path"].startswith("results/"):
            continue
        listing = objects / out["md5"][:2] / out["md5"][2:]
        if md5(listing) != out["md5"].removesuffix(".dir"):
            raise ValueError(
                f"{out['path']}: its listing in the cache is missing or damaged: {mend(listing)}"
            )
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            yield Path(out["path"], entry["relpath"]), entry["md5"]


def mend(stored: Path) -> str:
    """The command that restores an object in the cache."""
    return f"rm -f {stored} && dvc fetch (or dvc commit, where the working files are whole)"


def damages(objects: Path) -> Iterator[str]:
    """A line for each file that is missing or does not match its hash."""
    for path, expected in kept_files(objects):
        stored = objects / expected[:2] / expected[2:]
        if md5(stored) != expected:
            yield f"{path}: its copy in the cache is missing or damaged: {mend(stored)}"
        if md5(path) != expected:
            yield f"{path}: is not what dvc.lock says: rm -f {path} && dvc checkout"


def main() -> None:
    """Print what is damaged; the exit code is 1 if anything is."""
    cache = subprocess.run(
        ["dvc", "cache", "dir"], check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()
    try:
        found = list(damages(Path(cache) / "files" / "md5"))
    except (ValueError, OSError) as error:
        found = [str(error)]
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
