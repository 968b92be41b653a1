"""Receipts of downloads: stored next to the files, with their hashes."""

from pathlib import Path

from crossmodal_peft.config.paths import RECEIPT
from crossmodal_peft.files import read_json, sha256, write_json

FETCH_AGAIN = "delete it, and the next run downloads again"


def write_receipt(folder: Path, origin: dict[str, str]) -> None:
    """Write where the files of a folder come from, and their hashes."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != RECEIPT}
    write_json(folder / RECEIPT, {**origin, "files": files})


def check_receipt(folder: Path) -> None:
    """Raise ValueError if a file of a download is not what its receipt says, or the receipt is damaged."""
    files = read_json(folder / RECEIPT, FETCH_AGAIN).get("files")
    if not isinstance(files, dict):
        raise ValueError(f"{folder / RECEIPT}: lists no files; {FETCH_AGAIN}")
    for name, expected in files.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise ValueError(f"{folder / name}: changed since it was downloaded; delete {folder / RECEIPT}")
