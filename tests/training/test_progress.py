"""A training can be watched: lines, bar, growing history, TensorBoard, DVCLive; it says what is not exact."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from crossmodal_peft.config.plugins import names
from crossmodal_peft.config.validation import load
from crossmodal_peft.training.determinism import determinism
from crossmodal_peft.training.progress import Bar, HistoryFile, Lines, StepReport, open_loggers

PARAMS = Path(__file__).parents[2] / "params.yaml"


def moment(total: int = 3, rows: int = 1) -> StepReport:
    """After so many steps of ten in two epochs."""
    history = [
        {"epoch": e, "loss": 2.0, "learning_rate": 1e-3, "validation_recall": 0.5, "seconds": 9.0}
        for e in range(1, rows + 1)
    ]
    return StepReport("data/lora/0", 1 + total // 5, 2, total % 5, 5, total, 1.5, 1e-3, 101.2, 42.0, history)


def test_lines_say_where_a_training_is_now_and_then():
    said: list[str] = []
    seldom, often = Lines(60, said.append), Lines(0, said.append)
    seldom.step(moment())
    assert said == []
    often.step(moment())
    assert said == ["data/lora/0: epoch 1/2, step 3/5, loss 1.500, 101 samples/s, 42 s left"]
    seldom.epoch(moment())
    assert "loss 2.000, validation recall 50.0 %, 101 samples/s, 42 s left" in said[1]


def test_a_bar_moves_and_says_the_same(capsys):
    bar = Bar()
    bar.step(moment())
    bar.bar.refresh()
    bar.close()
    shown = capsys.readouterr().err
    assert "3/10" in shown and "loss 1.500, 101 samples/s, 42 s left" in shown


def test_the_history_grows_by_a_row_an_epoch(tmp_path):
    file = HistoryFile(tmp_path / "run" / "history.csv")
    for rows in (1, 2):
        file.epoch(moment(rows=rows))
        assert len(pd.read_csv(file.path)) == rows
    assert len(list(file.path.parent.iterdir())) == 1


def shown_to(name: str, folder: Path, steps: range, made: int) -> None:
    """Show a logger so many steps, with an epoch's end after the last."""
    (logger,) = open_loggers([name], lambda _: folder, made)
    for total in steps:
        logger.step(moment(total))
    logger.epoch(moment(steps[-1]))
    logger.close()


def test_tensorboard_has_every_step_once_after_an_interruption(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown_to("tensorboard", tmp_path, range(1, 6), 0)
    shown_to("tensorboard", tmp_path, range(3, 10), 2)  # The state on disk was of step 2.
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 10))
    assert events.Scalars("validation_recall")[-1].value == 0.5


def test_dvclive_has_every_epoch(tmp_path):
    shown_to("dvclive", tmp_path, range(1, 6), 0)
    shown_to("dvclive", tmp_path, range(6, 10), 5)
    rows = pd.read_csv(next(tmp_path.rglob("validation_recall.tsv")), sep="\t")
    assert list(rows["validation_recall"]) == [0.5, 0.5]


@pytest.mark.parametrize("name", names("loggers"))
def test_a_watcher_whose_package_is_missing_says_what_to_install(name, tmp_path, monkeypatch):
    for module in ("dvclive", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"logging.loggers: {name} needs a package: pip install {name}"):
        open_loggers([name], lambda _: tmp_path, 0)


def test_an_unknown_watcher_is_refused_with_the_known_ones(tmp_path):
    text = PARAMS.read_text().replace("loggers: []", "loggers: [tensorbord]")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="logging.loggers: 'tensorbord' is not one of: dvclive, tensorboard"):
        load(tmp_path / "params.yaml")


def test_an_operation_without_a_deterministic_form_is_named_once():
    said: list[str] = []
    with determinism(True, said.append) as without:
        for _ in range(2):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert without == ["put_"]
    assert said == ["put_ has no deterministic form here: a run again may give other last digits"]
    with determinism(False, said.append) as without:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert without == []
