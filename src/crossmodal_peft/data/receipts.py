"""Receipts of downloads: stored next to the files, with their hashes."""

import json
from pathlib import Path

from crossmodal_peft.config.paths import RECEIPT
from crossmodal_peft.files import sha256, write_json


def write_receipt(folder: Path, origin: dict[str, str]) -> None:
    """Write where the files of a folder come from, and their hashes."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != RECEIPT}
    write_json(folder / RECEIPT, {**origin, "files": files})


def check_receipt(folder: Path) -> None:
    """Raise ValueError if a file of a download is not what its receipt says."""
    for name, expected in json.loads((folder / RECEIPT).read_text())["files"].items():
        if sha256(folder / name) != expected:
            raise ValueError(f"{folder / name}: changed since it was downloaded; delete {folder / RECEIPT}")
