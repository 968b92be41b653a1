"""Datasets that are one Debian package: downloaded, verified and unpacked."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from crossmodal_peft.data.packages import fetch_debian_package
from crossmodal_peft.files import verify


def download(name: str, version: str, sha256: str, licence: str, raw: Path) -> dict[str, str]:
    """Download a Debian package with apt into `raw`; returns the contents of its receipt.

    Raises RuntimeError saying how to continue if apt cannot download it, ValueError if its sha256 differs.
    """
    package = fetch_debian_package(name, version, raw)
    verify(package, sha256)
    return {
        "source": f"Debian package {name} {version}",
        "licence": licence,
        "sha256": sha256,
        "file": package.name,
    }


def unpack(raw: Path, out: Path) -> None:
    """Unpack the package downloaded into `raw` into the folder `out`, once."""
    if out.exists():
        return
    with TemporaryDirectory(dir=raw) as folder:
        subprocess.run(["dpkg-deb", "-x", next(raw.glob("*.deb")), folder], check=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # Another process was faster; its folder is identical.
            os.rename(folder, out)
        Path(folder).mkdir(exist_ok=True)
