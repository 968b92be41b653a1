"""Encoders from the Hugging Face Hub or a local folder in its format: no code, no pickles."""

import shutil
from codecs import BOM_UTF8
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from crossmodal_peft.files import parse_json, verify, why_missing

WEIGHTS = "model.safetensors"
FILES = ("*.json", "*.txt", WEIGHTS)  # In the top folder: settings, tokeniser, weights.
AS_ONE_FILE = "save it with transformers' save_pretrained(FOLDER, max_shard_size='100GB') and set"


def files(folder: Path) -> list[Path]:
    """The files of a Hugging Face folder that we use, sorted by name."""
    return sorted(p for p in folder.glob("*") if p.is_file() and any(fnmatch(p.name, f) for f in FILES))


def fetch_repository(repository: str, revision: str, folder: Path) -> None:
    """Download a model from the Hub at a commit into `folder`, which appears once it is complete.

    An interrupted download is resumed; weights are verified against the sha256 that the Hub lists. Raises
    RuntimeError if the download fails, ValueError as `check`.
    """
    import httpx
    from huggingface_hub import HfApi, RepoFile, snapshot_download

    partial = folder.with_name(f".{folder.name}.partial-{revision[:8]}")
    try:
        tree = {f.path: f for f in HfApi().list_repo_tree(repository, revision=revision)}
        if WEIGHTS not in tree:
            raise ValueError(_without_weights(f"{repository} at {revision}", list(tree)))
        snapshot_download(
            repository, revision=revision, local_dir=partial, allow_patterns=[*FILES], ignore_patterns="*/*"
        )
    except (OSError, httpx.HTTPError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "(Request ID" not in line), type(error).__name__)
        raise RuntimeError(
            f"{repository} at {revision} could not be downloaded from the hub: {reason}; run again, or use a "
            "local copy with source: {folder: FOLDER}"
        ) from error
    for path in files(partial):
        listed = tree[path.name]
        if isinstance(listed, RepoFile) and listed.lfs is not None:
            verify(path, listed.lfs.sha256)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    try:
        check(partial)
    except ValueError:
        shutil.rmtree(partial)
        raise
    _without_marks(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def fetch_folder(source: Path, folder: Path) -> None:
    """Copy the files that we use from a Hugging Face folder. Raises ValueError as `check`."""
    check(source)
    folder.mkdir(parents=True, exist_ok=True)
    for path in files(source):
        shutil.copyfile(path, folder / path.name)
    _without_marks(folder)


def check(folder: Path) -> None:
    """Raise ValueError naming the folder and the fix if it does not hold a usable model."""
    if not folder.is_dir():
        raise ValueError(why_missing(folder))
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json; is this a Hugging Face model folder?")
    if not (folder / WEIGHTS).is_file():
        raise ValueError(_without_weights(str(folder), [path.name for path in folder.iterdir()]))
    for path in folder.glob("*.json"):
        try:
            content = parse_json(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; download or save it again") from None
        if _names_code(content):
            raise ValueError(
                f"{path}: auto_map refers to the model's own code, which is never run; "
                "use a model whose class is part of transformers"
            )


def _names_code(content: Any) -> bool:
    """Whether an `auto_map` stands anywhere in a JSON value; a number under it is that of a word."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("auto_map"), dict | list | str):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _without_marks(folder: Path) -> None:
    """Remove byte order marks, with which transformers reads neither JSON nor the first word of a list."""
    for path in [path for path in files(folder) if path.name != WEIGHTS]:
        content = path.read_bytes()
        if content.startswith(BOM_UTF8):
            path.write_bytes(content.removeprefix(BOM_UTF8))


def _without_weights(where: str, names: list[str]) -> str:
    others = sorted(name for name in names if name.endswith((".bin", ".safetensors", ".pt", ".h5")))
    there = f" (found: {', '.join(others)})" if others else ""
    return f"{where}: no {WEIGHTS}{there}; {AS_ONE_FILE} source: {{folder: FOLDER}}"
