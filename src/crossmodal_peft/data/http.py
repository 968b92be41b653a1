"""Files over HTTP: resumed where an interrupted transfer stopped, verified, and named when they are whole."""

import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from crossmodal_peft.files import require_room

TRIES = 5  # in a row without a byte, for each address
TIMEOUT = 60.0  # seconds without an answer
PAUSE = 2.0  # seconds before another try, then doubled
LINE_SECONDS = 30.0  # between progress lines
CHUNK = 2**20
UNREACHABLE = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Published:
    """A file as its publisher describes it: address, and `md5` or `sha256` with its digest."""

    url: str
    algorithm: str
    digest: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.partition("?")[0].rpartition("/")[2]

    def matches(self, path: Path) -> bool:
        """Whether a file has this digest."""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.digest


def fetch(file: Published, folder: Path, mirrors: list[str]) -> Path:
    """Download a file into a folder, from the first address that has it; a verified one is not fetched again.

    `mirrors` are addresses of folders, tried before the publisher's. What arrived of an interrupted transfer
    stays beside it under a name of its own, and the next call continues it. Raises RuntimeError with a reason
    for each address, which says where the file can be put by hand; OSError if the disk has no room.
    """
    path = folder / file.name
    if path.exists() and file.matches(path):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.download")
    reasons = []
    for url in [*[f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors], file.url]:
        try:
            if _transfer_verified(url, partial, file):
                partial.replace(path)
                return path
            reasons.append(f"{url}: its {file.algorithm} is not the published {file.digest}")
        except UNREACHABLE as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise RuntimeError(
        f"{file.name} cannot be had ({'; '.join(reasons)}); run again to continue, or put it into {folder}"
    )


def _transfer_verified(url: str, partial: Path, file: Published) -> bool:
    """Transfer; another content is deleted, and fetched again from the start if only its rest was fetched."""
    for _ in range(2):
        resumed = partial.exists()
        _transfer(url, partial)
        if file.matches(partial):
            return True
        partial.unlink()
        if not resumed:
            break
    return False


def _transfer(url: str, partial: Path) -> None:
    """Append to `partial` until it is as long as the file at `url`; gives up after TRIES without a byte."""
    failures = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            if _receive(url, partial, before):
                return
            error: Exception = ConnectionError("the connection ended early")
        except urllib.error.HTTPError as refusal:
            if refusal.code < 500 and refusal.code != 429:
                raise
            error = refusal
        except UNREACHABLE as failure:
            error = failure
        progressed = partial.exists() and partial.stat().st_size > before
        failures = 0 if progressed else failures + 1
        if failures == TRIES:
            raise error
        time.sleep(PAUSE * 2**failures)


def _receive(url: str, partial: Path, start: int) -> bool:
    """Receive what comes after the first `start` bytes; returns whether the file is whole now."""
    headers = {"User-Agent": "crossmodal-peft"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: Any = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # Nothing comes after it: it is whole, or of another file.
            return True
        raise
    with response:
        start = start if response.status == 206 else 0  # A server without ranges sends all of it again.
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        require_room((total or 0) - start, partial.parent, partial.name[1:].removesuffix(".download"))
        with open(partial, "ab" if start else "wb") as file:
            for received in _chunks(response, start, total, url):
                file.write(received)
        return total is None or partial.stat().st_size == total


def _chunks(response: Any, start: int, total: int | None, url: str) -> Iterator[bytes]:
    """What a response holds, in chunks; says from time to time how far it is."""
    done, said = start, time.monotonic()
    while chunk := response.read(CHUNK):
        yield chunk
        done += len(chunk)
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            of = f" of {total / 1e6:,.0f}" if total else ""
            print(f"{url}: {done / 1e6:,.0f}{of} MB", flush=True)
