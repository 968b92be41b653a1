"""Claims about cells trained in several processes: two on this CPU, with gloo."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from distributed_worker import CASES
from safetensors.torch import load
from tiny import batch_of, loss_of, method, plain_gradients, trio_of
from tiny_cell import command, ended, fork, make_cell, make_inputs, paths_in, results

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.training import distributed

WORKER = [sys.executable, str(Path(__file__).parents[1] / "distributed_worker.py")]


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """Loss and gradients of every case, by rank."""
    folder = tmp_path_factory.mktemp("gradients")
    distributed.launch([*WORKER, "gradients", str(folder)], 2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: "-".join(map(str, CASES[case])))
def test_two_processes_compute_the_loss_and_gradients_of_one_on_the_whole_batch(case, gradients):
    name, trio, _, loss_kind = CASES[case]
    loss, expected = plain_gradients(trio_of(method(name), trio), loss_of(loss_kind), *batch_of(trio))
    assert "loss.logit_scale" in expected
    for found_loss, found in (of_process[case] for of_process in gradients):
        torch.testing.assert_close(found_loss, loss, atol=1e-6, rtol=1e-6)
        assert found.keys() == expected.keys()
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, atol=1e-6, rtol=1e-6)


def test_both_processes_have_bit_identical_gradients(gradients):
    for (_, first), (_, second) in zip(*gradients, strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", r"process 1 of 2 was killed by SIGKILL \(out of memory\?\); the others were stopped"),
        ("error", r"process \d of 2 failed with exit code 1: .*; the others were stopped"),
    ],
)
def test_a_dying_process_is_named_and_the_other_does_not_wait(how, message, capfd):
    began, handler = time.monotonic(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match=message):
        distributed.launch([*WORKER, "die", how], 2)
    assert time.monotonic() - began < 120  # Mostly for imports; gloo by itself would wait 10 minutes.
    assert signal.getsignal(signal.SIGTERM) == handler
    if how == "error":
        assert "the disk is full" in capfd.readouterr().err


def test_shares_cover_the_batch_and_differ_by_one_at_most(monkeypatch):
    monkeypatch.setattr(distributed.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed.distributed, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(range(8)[distributed.share(8)])
    assert [item for share in shares for item in share] == list(range(8))
    assert {len(share) for share in shares} == {2, 3}
    with pytest.raises(ValueError, match="a batch of 2 items for 3 processes"):
        distributed.share(2)


def test_a_number_of_processes_that_differs_from_the_settings_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match=r"train\.processes: 2, but 3 were started"), distributed.group(2):
        pass


def trained(root: Path, processes: int) -> tuple[Layout, int]:
    """Train a tiny cell of 100 steps through the command line; its layout, and its process."""
    make_inputs(Layout.of(paths_in(root)))
    return Layout.of(paths_in(root)), fork(command(root, cell(processes)), root / "log")


def cell(processes: int):
    return make_cell("full", epochs=20, processes=processes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The results of a tiny cell trained by two processes."""
    root = tmp_path_factory.mktemp("pair")
    layout, process = trained(root, 2)
    assert ended(process) == 0, (root / "log").read_text()
    return results(layout, cell(2))


def test_two_processes_train_as_one(pair, tmp_path):
    layout, process = trained(tmp_path, 1)
    assert ended(process) == 0, (tmp_path / "log").read_text()
    alone, both = load(results(layout, cell(1))["weights"]), load(pair["weights"])
    # A hundred steps amplify the rounding differences of sums in another order.
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-3)


def test_two_processes_that_are_asked_to_stop_resume_bit_exactly(pair, tmp_path):
    layout, process = trained(tmp_path, 2)
    while not (layout.training_state(cell(2).name) / "state.json").exists():
        assert os.waitpid(process, os.WNOHANG) == (0, 0), (tmp_path / "log").read_text()
        time.sleep(0.01)
    os.kill(process, signal.SIGTERM)
    assert ended(process) == 75, (tmp_path / "log").read_text()
    assert ended(fork(command(tmp_path, cell(2)), tmp_path / "log")) == 0
    log = (tmp_path / "log").read_text()
    assert log.count("resuming") == 1, log  # Only rank 0 reports.
    assert results(layout, cell(2)) == pair
