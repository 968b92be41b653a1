"""Datasets that are one Debian package: downloaded, verified and unpacked."""

from pathlib import Path

from crossmodal_peft.data.archives import fill_once
from crossmodal_peft.data.packages import fetch_debian_package, unpack_debian_package
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
    """Unpack the package downloaded into `raw` into the folder `out`, as `fill_once`.

    Raises ValueError if `raw` does not hold exactly one package, RuntimeError if it cannot be unpacked.
    """
    if out.exists():
        return
    packages = [path.name for path in raw.glob("*.deb")]
    if len(packages) != 1:
        raise ValueError(
            f"{raw}: holds {', '.join(sorted(packages)) or 'none'}, not exactly one Debian package; "
            f"delete {raw} to download it again"
        )
    fill_once(out, lambda folder: unpack_debian_package(raw / packages[0], folder))
