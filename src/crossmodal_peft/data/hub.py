"""Encoders from the Hugging Face hub, or a folder in its form: weights and settings, no code, no pickles."""

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from crossmodal_peft.files import verify

WEIGHTS = "model.safetensors"
FILES = ("*.json", "*.txt", WEIGHTS)  # Of the top folder: settings, tokeniser, weights.
AS_ONE_FILE = (
    "save it with transformers' save_pretrained(FOLDER, max_shard_size='100GB') and name that folder:"
)


def files(folder: Path) -> list[Path]:
    """The files of a Hugging Face folder that are used, by name."""
    return sorted(p for p in folder.glob("*") if p.is_file() and any(fnmatch(p.name, f) for f in FILES))


def fetch_repository(repository: str, revision: str, folder: Path) -> None:
    """Download a model of the hub at a commit into `folder`, which appears when all of it is there.

    An interrupted download goes on; weights are checked by the sha256 that the hub lists. Raises RuntimeError
    if the hub cannot give it, ValueError as `check`.
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
            f"the hub does not give {repository} at {revision}: {reason}; run again, or bring the files in a "
            "folder of your own: source: {folder: FOLDER}"
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
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def fetch_folder(source: Path, folder: Path) -> None:
    """Copy the files of a Hugging Face folder that are used. Raises ValueError as `check`."""
    check(source)
    folder.mkdir(parents=True, exist_ok=True)
    for path in files(source):
        shutil.copyfile(path, folder / path.name)


def check(folder: Path) -> None:
    """Raise ValueError that names the folder and the fix if it holds no model that can be used."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no config.json; is it a model's folder in the form of Hugging Face?")
    if not (folder / WEIGHTS).is_file():
        raise ValueError(_without_weights(str(folder), [path.name for path in folder.iterdir()]))
    for path in folder.glob("*.json"):
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "auto_map" in content:
            raise ValueError(
                f"{path}: auto_map names code of the model's own, which is never run; "
                "take a model whose class is part of transformers"
            )


def _without_weights(where: str, names: list[str]) -> str:
    others = sorted(name for name in names if name.endswith((".bin", ".safetensors", ".pt", ".h5")))
    there = f" (there are: {', '.join(others)})" if others else ""
    return f"{where}: no {WEIGHTS}{there}; {AS_ONE_FILE} source: {{folder: FOLDER}}"
