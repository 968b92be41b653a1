"""Downloads over HTTP: resumed where a transfer stopped, verified, and renamed once complete."""

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

TRIES = 5  # consecutive attempts without a byte, for each URL
TIMEOUT = 60.0  # seconds without a response
PAUSE = 2.0  # seconds before the next attempt, then doubled
LINE_SECONDS = 30.0  # between progress lines
CHUNK = 2**20
UNREACHABLE = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError)


@dataclass(frozen=True)
class Published:
    """A file as its publisher describes it: URL, algorithm (`md5` or `sha256`) and digest."""

    url: str
    algorithm: str
    digest: str

    @property
    def name(self) -> str:
        """The file name in the URL."""
        return self.url.partition("?")[0].rpartition("/")[2]

    def matches(self, path: Path) -> bool:
        """Whether a file on disk has this digest."""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.digest


def fetch(file: Published, folder: Path, mirrors: list[str]) -> Path:
    """Download a file into a folder from the first URL that has it, unless a verified copy is already there.

    `mirrors` are base URLs, tried before the publisher's. An interrupted download is kept in the folder under
    a temporary name and resumed by the next call. Raises RuntimeError with the reason for each URL and the
    folder where the file can be placed by hand; OSError if the disk is full.
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
            reasons.append(f"{url}: its {file.algorithm} does not match the published {file.digest}")
        except UNREACHABLE as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise RuntimeError(
        f"{file.name} could not be downloaded ({'; '.join(reasons)}); run again to resume, "
        f"or place it in {folder}"
    )


def _transfer_verified(url: str, partial: Path, file: Published) -> bool:
    """Download and verify; on a mismatch delete the file, and if it was a resumed one start over once."""
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
    """Append to `partial` until it is complete; give up after TRIES attempts in a row without a byte."""
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
    """Receive everything after the first `start` bytes; returns whether the file is now complete."""
    headers = {"User-Agent": "crossmodal-peft"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: Any = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # Nothing follows: complete, or another file.
            return True
        raise
    with response:
        start = start if response.status == 206 else 0  # A server without ranges sends the whole file.
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        require_room((total or 0) - start, partial.parent, partial.name[1:].removesuffix(".download"))
        with open(partial, "ab" if start else "wb") as file:
            for received in _chunks(response, start, total, url):
                file.write(received)
        return total is None or partial.stat().st_size == total


def _chunks(response: Any, start: int, total: int | None, url: str) -> Iterator[bytes]:
    """The body of a response in chunks; prints the progress from time to time."""
    done, printed = start, time.monotonic()
    while chunk := response.read(CHUNK):
        yield chunk
        done += len(chunk)
        if time.monotonic() - printed > LINE_SECONDS:
            printed = time.monotonic()
            of = f" of {total / 1e6:,.0f}" if total else ""
            print(f"{url}: {done / 1e6:,.0f}{of} MB", flush=True)
