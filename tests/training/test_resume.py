"""An interrupted training resumes, and ends bit for bit like an uninterrupted one."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import METHODS
from tiny_cell import Steps, command, equal, make_cell, make_inputs, paths_in, results

from crossmodal_peft.cli.errors import DATA
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.plugins import names
from crossmodal_peft.models.checkpoint import load_model
from crossmodal_peft.training import hardware
from crossmodal_peft.training.cell_data import open_data
from crossmodal_peft.training.checkpointing import STATE, Checkpointer, StateFolder, cell_lock
from crossmodal_peft.training.loop import train
from crossmodal_peft.training.state import State, capture_state, restore_run

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resumes_bit_exactly_from_a_written_state(method, inputs, tmp_path):
    cell = make_cell(method, activation_cache="off", epochs=3)
    torch.manual_seed(1)
    through = capture_state(Steps(inputs, cell).go(12))
    torch.manual_seed(1)
    state_folder = StateFolder(tmp_path / "state", {"settings": method})
    state_folder.write(capture_state(Steps(inputs, cell).go(7)))  # In the second epoch, of five steps each.
    torch.manual_seed(2)
    again = Steps(inputs, cell)
    state, problem = StateFolder(tmp_path / "state", {"settings": method}).read()
    assert not problem
    restore_run(again.run, state)
    assert equal(capture_state(again.go(12)), through)


@pytest.mark.parametrize("loss", names("losses"))
def test_what_a_loss_learns_is_kept_in_a_state(loss, inputs):
    cell = make_cell("frozen", loss={"kind": loss}, epochs=3, activation_cache="off")
    through = Steps(inputs, cell).go(12)
    half = capture_state(Steps(inputs, cell).go(7))
    for scalar in cell.train.loss.scalars:
        assert {f"weights/loss.{scalar}", f"optimizer/exp_avg/loss.{scalar}"} <= half.tensors.keys()
        assert f"loss.{scalar}" in half.best
    again = Steps(inputs, cell)
    restore_run(again.run, half)
    assert equal(capture_state(again.go(12)), capture_state(through))


def test_twenty_kills_at_random_moments_change_no_bit():
    done = subprocess.run(
        [sys.executable, TESTS / "soak_resume.py", "--kills", "20"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # The last training may be killed more than once.
    assert int(re.search(r"killed: (\d+)", done.stdout)[1]) >= 20


@pytest.fixture(scope="module")
def half_done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A state that has a best epoch."""
    return capture_state(Steps(inputs, make_cell("full", epochs=3)).go(7))


@pytest.fixture
def written(half_done: State, tmp_path: Path) -> StateFolder:
    """That state on disk."""
    state_folder = StateFolder(tmp_path / "cell", {"settings": 1, "inputs": 2})
    state_folder.write(half_done)
    return state_folder


def corrupted(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        (STATE, corrupted),
        *product(["now-2-2.safetensors", "best-1.safetensors"], [corrupted, Path.unlink]),
    ],
)
def test_a_state_with_a_flipped_bit_or_a_missing_file_is_moved_aside(written, part, harm):
    harm(written.folder / part)
    state, problem = StateFolder(written.folder, written.fingerprint).read()
    assert state is None
    assert "starts from scratch" in problem and (part in problem or part == STATE)
    assert not written.folder.exists()
    assert Path(f"{written.folder}.aside-1").exists()


def test_a_kill_while_writing_the_first_state_leaves_nothing_to_move_aside(written, half_done):
    (written.folder / STATE).unlink()  # It is written last.
    again = StateFolder(written.folder, written.fingerprint)
    state, problem = again.read()
    assert state is None and "killed before its first state was complete" in problem
    again.write(half_done)
    assert equal(StateFolder(written.folder, written.fingerprint).read()[0], half_done)
    assert not Path(f"{written.folder}.aside-1").exists()


def test_a_state_of_other_settings_is_moved_aside(written):
    state, problem = StateFolder(written.folder, {"settings": 3, "inputs": 2}).read()
    assert state is None
    assert "written with different settings;" in problem


def test_a_full_disk_leaves_the_previous_state_untouched(written, half_done):
    later = State(json.loads(json.dumps(half_done.facts)), half_done.tensors, half_done.best)
    later.facts["place"]["step"] = 3
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="now-2-3.safetensors: no space left"):
            written.write(later)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    state, problem = StateFolder(written.folder, written.fingerprint).read()
    assert not problem and equal(state, half_done)
    names = {path.name for path in written.folder.iterdir()}
    assert names == {STATE, "now-2-2.safetensors", "best-1.safetensors"}


def test_a_state_with_weights_that_are_not_finite_is_not_written(inputs):
    steps = Steps(inputs, make_cell("full"))
    with torch.no_grad():
        steps.run.criterion.logit_scale.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="loss.logit_scale is not finite after step 0"):
        capture_state(steps.run)


def test_two_processes_cannot_train_one_cell(tmp_path):
    with (
        cell_lock(tmp_path / "cell"),
        pytest.raises(RuntimeError, match=f"process {os.getpid()} on .* is already training this cell"),
        cell_lock(tmp_path / "cell"),
    ):
        pass
    with cell_lock(tmp_path / "cell"):
        pass


def test_a_nan_loss_names_step_items_and_rate_and_keeps_the_last_good_state(inputs, tmp_path):
    cell, layout = make_cell("full", epochs=2), Layout.of(paths_in(inputs))
    manifest, activations = open_data(cell, layout)
    model = load_model(cell, layout.folders(cell.encoder_names), "eager")
    state_folder = StateFolder(tmp_path / "cell", {})

    class Poison:
        def step(self, report: Any) -> None:
            if report.total == 7:
                with torch.no_grad():
                    model.towers["text"].projection.weight.fill_(float("nan"))

        def epoch(self, report: Any) -> None: ...

        def close(self) -> None: ...

    with pytest.raises(FloatingPointError, match=r"epoch 2, step 3, at learning rate .*Items: item\d+, item"):
        train(
            model,
            cell,
            manifest,
            activations,
            open_loggers=lambda made: [Poison()],
            checkpointer=Checkpointer(state_folder, 600),
        )
    state, _ = StateFolder(tmp_path / "cell", {}).read()
    assert state.facts["place"]["epoch"] == 2 and state.facts["place"]["step"] == 0
    assert all(torch.isfinite(t).all() for t in state.tensors.values() if t.is_floating_point())


def test_running_out_of_memory_says_what_to_set():
    settings = make_cell("full").train
    explained = pytest.raises(RuntimeError, match=r"train.batch_size \d+, train.micro_batch_size .*; set")
    with explained, hardware.explain_out_of_memory(settings):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="^something else$"), hardware.explain_out_of_memory(settings):
        raise RuntimeError("something else")


def run_cli(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process."""
    call = [sys.executable, "-m", "crossmodal_peft.cli", *arguments]
    return subprocess.run(call, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def through(inputs: Path) -> dict[str, Any]:
    """The results of an uninterrupted training in its own process."""
    cell = make_cell("full")
    done = run_cli(command(inputs, cell))
    assert done.returncode == 0, done.stderr
    assert not Layout.of(paths_in(inputs)).training_state(cell.name).exists()
    return results(Layout.of(paths_in(inputs)), cell)


def test_stop_requests_and_full_disks_end_with_a_message_and_change_no_bit(tmp_path, through):
    cell, layout = make_cell("full"), Layout.of(paths_in(tmp_path))
    make_inputs(layout)
    arguments = command(tmp_path, cell)
    call = [sys.executable, "-m", "crossmodal_peft.cli", *arguments]
    stopped = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "epoch 1/6" in stopped.stdout.readline()
    stopped.send_signal(signal.SIGTERM)
    _, message = stopped.communicate()
    assert stopped.returncode == 75 and "run it again to resume in epoch" in message
    assert (layout.training_state(cell.name) / STATE).exists()
    assert not (layout.checkpoint(cell.name) / "cell.json").exists()
    assert "validation_recall" in (layout.run(cell.name) / "history.csv").read_text()
    full = run_cli(
        arguments,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY)),
    )
    assert full.returncode == DATA and "free some space and run again" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    again = run_cli(arguments)
    assert again.returncode == 0 and "resuming in epoch" in again.stdout
    assert results(layout, cell) == through


def test_results_that_could_not_be_written_need_no_retraining(tmp_path, through):
    cell, layout = make_cell("full"), Layout.of(paths_in(tmp_path))
    make_inputs(layout)
    layout.checkpoints.write_text("not a folder")
    refused = run_cli(command(tmp_path, cell, "{}"))
    assert refused.returncode == DATA and "Traceback" not in refused.stderr
    assert str(layout.checkpoints) in refused.stderr and "epoch" not in refused.stdout
    layout.checkpoints.unlink()
    in_the_way = layout.checkpoint(cell.name) / "embeddings.safetensors"
    in_the_way.mkdir(parents=True)
    failed = run_cli(command(tmp_path, cell, "{}"))
    assert failed.returncode == DATA and "Traceback" not in failed.stderr
    in_the_way.rmdir()
    again = run_cli(command(tmp_path, cell, "{}"))
    assert again.returncode == 0, again.stderr
    assert "resuming in epoch 7 after 0 steps" in again.stdout
    assert "loss" not in again.stdout
    assert results(layout, cell) == through
