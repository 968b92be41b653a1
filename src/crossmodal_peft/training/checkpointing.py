"""The state of an unfinished training on disk: written atomically, verified by hashes, never used in part."""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from crossmodal_peft.files import atomic_write, read_json, sha256
from crossmodal_peft.training import distributed
from crossmodal_peft.training.signals import Interrupted
from crossmodal_peft.training.state import Run, State, capture_state, restore_run

STATE = "state.json"
DAMAGED = "the state is damaged"


@dataclass
class StateFolder:
    """A folder with the latest state of a training: `state.json` lists its other files with their hashes.

    `fingerprint` holds, by name, what the training depends on (settings, inputs, code, …): a state with a
    different one is never resumed. No file is overwritten: a new state's files are written beside the old
    ones, until the new `state.json` atomically replaces the old one.
    """

    folder: Path
    fingerprint: dict[str, Any]
    _files: dict[str, str] = field(default_factory=dict)  # In the state on disk: name → sha256.

    def write(self, state: State) -> None:
        """Replace the state on disk.

        Raises OSError, leaving the previous state untouched, if the disk is full.
        """
        position = state.facts["place"]
        names = {f"now-{position['epoch']}-{position['step']}.safetensors": state.tensors}
        if state.best:
            names[f"best-{_best_epoch(position['history'])}.safetensors"] = state.best
        try:
            files = {name: self._write_once(name, tensors) for name, tensors in names.items()}
            content = {"fingerprint": self.fingerprint, "files": files, "facts": state.facts}
            with atomic_write(self.folder / STATE) as path:
                path.write_text(json.dumps({"sha256": _hash(content), **content}), encoding="utf-8")
            self._files = files
        finally:
            self._delete_unlisted()

    def _write_once(self, name: str, tensors: dict[str, Any]) -> str:
        """Write one file of a state, unless the state on disk already has it; returns its sha256."""
        if name not in self._files:
            with atomic_write(self.folder / name) as path:
                save_file(tensors, path)
        return self._files.get(name) or sha256(self.folder / name)

    def _delete_unlisted(self) -> None:
        """Delete files that `state.json` does not list: from earlier states or left by a killed process."""
        if not (self.folder / STATE).exists():
            return
        listed = read_json(self.folder / STATE, DAMAGED)["files"]
        for path in self.folder.glob("*"):
            if path.name not in {STATE, *listed}:
                path.unlink(missing_ok=True)

    def read(self) -> tuple[State | None, str]:
        """The state to resume from, or None; and a message about one that cannot be used, or "".

        A state with another fingerprint, a missing file or a flipped byte is kept, but its folder is renamed.
        A folder without `state.json` is left by a training that was killed while writing its first state:
        there is nothing to keep.
        """
        if not self.folder.exists():
            return None, ""
        if not (self.folder / STATE).exists():
            return None, f"{self.folder}: killed before its first state was complete; starting at step 1"
        try:
            content = self._read_verified()
            # The current state, then the best epoch's weights, if there is one.
            loaded = [load_file(self.folder / name) for name in content["files"]]
        except (ValueError, OSError) as reason:
            aside = next(p for n in count(1) if not (p := Path(f"{self.folder}.aside-{n}")).exists())
            self.folder.rename(aside)
            return None, f"{self.folder}: {reason}; moved to {aside}, training starts from scratch"
        self._files = content["files"]
        return State(content["facts"], loaded[0], loaded[1] if len(loaded) > 1 else {}), ""

    def _read_verified(self) -> dict[str, Any]:
        """The content of `state.json`, after verifying it and every file that it lists."""
        content = read_json(self.folder / STATE, DAMAGED)
        if content.pop("sha256", None) != _hash(content):
            raise ValueError(f"{STATE} is corrupted")
        other = [key for key in self.fingerprint if content["fingerprint"].get(key) != self.fingerprint[key]]
        if other:
            raise ValueError(f"the state was written with different {', '.join(other)}")
        for name, expected in content["files"].items():
            if not (self.folder / name).exists():
                raise ValueError(f"{name} is missing")
            if sha256(self.folder / name) != expected:
                raise ValueError(f"{name} is corrupted")
        return content

    def delete(self) -> None:
        """Delete the state, once the training's results are written.

        The folder is renamed first, atomically: a half-deleted one must not be taken for a corrupted state.
        """
        done = Path(f"{self.folder}.done")
        shutil.rmtree(done, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(done)
        shutil.rmtree(done, ignore_errors=True)


@contextmanager
def cell_lock(folder: Path) -> Iterator[None]:
    """Lock a cell, so that no other process trains it while the block runs.

    Raises RuntimeError if another process holds the lock, as when its snakemake was killed and it was not.
    The lock is released when the process ends, however it ends; on a file system without locks there is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = Path(f"{folder}.lock")
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read() or "unknown"
            raise RuntimeError(
                f"{path}: process {owner} is already training this cell; wait for it or stop it"
            ) from None
        except OSError as error:  # Some network file systems: ENOLCK, ENOTSUP.
            print(f"{path}: {error}: no locks here; do not train this cell in a second process", flush=True)
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _best_epoch(history: list[dict[str, float]]) -> int:
    return int(max(history, key=lambda row: row["validation_recall"])["epoch"])


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass
class Checkpointer:
    """Writes a run's state to `folder` after every epoch, every `seconds`, and on a stop request.

    Without a `folder` nothing is written. `requested` returns whether the training was asked to stop.
    """

    folder: StateFolder | None = None
    seconds: float = 600.0
    requested: Callable[[], bool] = lambda: False
    report: Callable[[str], None] = print
    written: float = field(default_factory=time.perf_counter)

    def resume(self, run: Run) -> None:
        """Restore a run from the state on disk, if there is a usable one."""
        if not self.folder:
            return
        state, problem = distributed.from_main_process(self.folder.read)
        if problem:
            self.report(problem)
        if state:
            restore_run(run, state)
            self.report(f"{self.folder.folder}: resuming {run.position}")

    def after_step(self, run: Run) -> None:
        """Write the state, if it is time. On a stop request, writes it and raises Interrupted."""
        if distributed.any_process(self.requested()):
            self.write(run)
            # A barrier: no process may end before the state is written, since that would stop all of them.
            distributed.any_process(True)
            raise Interrupted(f"stopped as requested; run it again to resume {run.position}")
        if time.perf_counter() - self.written >= self.seconds:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the state now."""
        if self.folder and distributed.is_main_process():
            self.folder.write(capture_state(run))
        self.written = time.perf_counter()
