"""The state of an unfinished training on disk: written whole, vouched for by hashes, never half-used."""

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

from crossmodal_peft.files import atomic_write, sha256
from crossmodal_peft.training import distributed
from crossmodal_peft.training.signals import Interrupted
from crossmodal_peft.training.state import Run, State, capture, restore_run

STATE = "state.json"


@dataclass
class StateFolder:
    """A folder with the last state of a training: `state.json` names its other files, with their hashes.

    `fingerprint` says by name what the training depends on (settings, inputs, code, …): a state of another
    one is never continued. No file is overwritten: a new state's files stand beside the old one's until the
    new `state.json` takes the old one's place in one step.
    """

    folder: Path
    fingerprint: dict[str, Any]
    _files: dict[str, str] = field(default_factory=dict)  # Of the state on disk: name → sha256.

    def write(self, state: State) -> None:
        """Replace the state on disk.

        Raises OSError, with the state before it untouched, if there is no room.
        """
        place = state.facts["place"]
        names = {f"now-{place['epoch']}-{place['step']}.safetensors": state.tensors}
        if state.best:
            names[f"best-{_best_epoch(place['history'])}.safetensors"] = state.best
        try:
            files = {name: self._hash_of(name, tensors) for name, tensors in names.items()}
            content = {"fingerprint": self.fingerprint, "files": files, "facts": state.facts}
            with atomic_write(self.folder / STATE) as path:
                path.write_text(json.dumps({"sha256": _hash(content), **content}))
            self._files = files
        finally:
            self._tidy()

    def _hash_of(self, name: str, tensors: dict[str, Any]) -> str:
        """Write one file of a state, unless the state on disk has it already."""
        if name not in self._files:
            with atomic_write(self.folder / name) as path:
                save_file(tensors, path)
        return self._files.get(name) or sha256(self.folder / name)

    def _tidy(self) -> None:
        """Delete what no `state.json` names: files of states before, and what a killed process left."""
        if not (self.folder / STATE).exists():
            return
        listed = json.loads((self.folder / STATE).read_text())["files"]
        for path in self.folder.glob("*"):
            if path.name not in {STATE, *listed}:
                path.unlink(missing_ok=True)

    def read(self) -> tuple[State | None, str]:
        """The state to go on from, or None; and what is to be said about one that cannot be used.

        A state of another fingerprint, with a missing part or a flipped byte is set aside: its folder gets
        another name. A folder without `state.json` is that of a training that was killed while it wrote its
        first state: there is nothing to keep.
        """
        if not self.folder.exists():
            return None, ""
        if not (self.folder / STATE).exists():
            return None, f"{self.folder}: ended before its first state was whole; beginning at the first step"
        try:
            content = self._checked()
            # What is now; and the best, if there is one.
            loaded = [load_file(self.folder / name) for name in content["files"]]
        except (ValueError, OSError) as reason:
            aside = next(p for n in count(1) if not (p := Path(f"{self.folder}.aside-{n}")).exists())
            self.folder.rename(aside)
            return None, f"{self.folder}: {reason}; kept as {aside}, the training starts anew"
        self._files = content["files"]
        return State(content["facts"], loaded[0], loaded[1] if len(loaded) > 1 else {}), ""

    def _checked(self) -> dict[str, Any]:
        """The content of `state.json`, after everything it vouches for was verified."""
        content = json.loads((self.folder / STATE).read_text())
        if content.pop("sha256", None) != _hash(content):
            raise ValueError(f"{STATE} is damaged")
        other = [key for key in self.fingerprint if content["fingerprint"].get(key) != self.fingerprint[key]]
        if other:
            raise ValueError(f"the state was made with other {', '.join(other)}")
        for name, expected in content["files"].items():
            if not (self.folder / name).exists():
                raise ValueError(f"{name} is missing")
            if sha256(self.folder / name) != expected:
                raise ValueError(f"{name} is damaged")
        return content

    def delete(self) -> None:
        """Delete the state: the training's results are written.

        It loses its name first, in one step: what a kill leaves of it is not taken for a damaged state.
        """
        done = Path(f"{self.folder}.done")
        shutil.rmtree(done, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(done)
        shutil.rmtree(done, ignore_errors=True)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Let no other process train the same cell while the block runs.

    Raises RuntimeError if one does, as when its snakemake was killed and it was not. The lock ends with the
    process, however it ends; on a file system that knows no locks there is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = Path(f"{folder}.lock")
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read() or "another"
            raise RuntimeError(f"{path}: process {who} trains this cell; wait for it, or end it") from None
        except OSError as error:  # Some network file systems: ENOLCK, ENOTSUP.
            print(f"{path}: {error}: nothing here keeps a second process from this cell", flush=True)
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
    """Writes a run's state into `folder` after every epoch, every so many seconds, and on request.

    Without `folder` nothing is kept. `requested` says whether the training was asked to stop.
    """

    folder: StateFolder | None = None
    seconds: float = 600.0
    requested: Callable[[], bool] = lambda: False
    report: Callable[[str], None] = print
    written: float = field(default_factory=time.perf_counter)

    def resume(self, run: Run) -> None:
        """Bring a run to the state on disk, if there is one that it can go on from."""
        if not self.folder:
            return
        state, trouble = distributed.from_main_process(self.folder.read)
        if trouble:
            self.report(trouble)
        if state:
            restore_run(run, state)
            self.report(f"{self.folder.folder}: going on {run.place}")

    def after_step(self, run: Run) -> None:
        """Write, if it is time. Raises Interrupted, with the state written, if there was a request."""
        if distributed.any_process(self.requested()):
            self.write(run)
            distributed.any_process(
                True
            )  # No process ends before the state is written: its end would stop all.
            raise Interrupted(f"stopped as requested; run it again to go on {run.place}")
        if time.perf_counter() - self.written >= self.seconds:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the state now."""
        if self.folder and distributed.is_main_process():
            self.folder.write(capture(run))
        self.written = time.perf_counter()
