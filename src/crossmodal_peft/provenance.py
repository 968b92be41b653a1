"""Where a result comes from: code, packages, hardware and inputs."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crossmodal_peft.files import sha256

PACKAGES = ["torch", "transformers", "peft", "numpy", "pandas", "tokenizers", "safetensors"]


def provenance(inputs: dict[str, str]) -> dict[str, Any]:
    """Versions, git revision, hardware, and the hashes of the inputs by name, as they are now."""
    return {
        "python": platform.python_version(),
        "versions": versions(),
        "git": git_state(),
        "hardware": hardware(),
        "inputs": inputs,
    }


def now() -> str:
    """The time in UTC, such as 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {name: version(name) for name in PACKAGES}


def loaded_code() -> str:
    """A hash of the source files of this package that the process has loaded, except loggers."""
    files = {
        name: sha256(Path(module.__file__))
        for name, module in sorted(sys.modules.items())
        if name.startswith("crossmodal_peft") and ".loggers" not in name and module.__file__
    }
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def git_state() -> dict[str, Any]:
    """Revision of the working folder, and whether tracked files differ from it.

    None outside a repository or without git.
    """
    revision = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!results", ":!dvc.lock")
    return {"revision": revision, "dirty": None if changed is None else bool(changed)}


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in GiB and GPU."""
    import psutil
    import torch

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")
    except OSError:  # There is no git on this machine.
        return None
    return done.stdout.strip() if done.returncode == 0 else None
