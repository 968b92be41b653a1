"""Claims about progress: lines, bar, growing history, TensorBoard, DVCLive, nondeterministic operations."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from crossmodal_peft.config.plugins import names
from crossmodal_peft.config.validation import load
from crossmodal_peft.training.determinism import determinism
from crossmodal_peft.training.progress import Bar, HistoryFile, ProgressLines, StepReport, open_loggers

PARAMS = Path(__file__).parents[2] / "params.yaml"


def progress(total: int = 3, rows: int = 1) -> StepReport:
    """The report after `total` of ten steps in two epochs."""
    history = [
        {"epoch": e, "loss": 2.0, "learning_rate": 1e-3, "validation_recall": 0.5, "seconds": 9.0}
        for e in range(1, rows + 1)
    ]
    return StepReport("data/lora/0", 1 + total // 5, 2, total % 5, 5, total, 1.5, 1e-3, 101.2, 42.0, history)


def test_lines_report_progress_at_the_given_interval():
    lines: list[str] = []
    seldom, often = ProgressLines(60, lines.append), ProgressLines(0, lines.append)
    seldom.step(progress())
    assert lines == []
    often.step(progress())
    assert lines == ["data/lora/0: epoch 1/2, step 3/5, loss 1.500, 101 samples/s, 42 s left"]
    seldom.epoch(progress())
    assert "loss 2.000, validation recall 50.0 %, 101 samples/s, 42 s left" in lines[1]


def test_a_bar_moves_and_shows_the_same(capsys):
    bar = Bar()
    bar.step(progress())
    bar.bar.refresh()
    bar.close()
    shown = capsys.readouterr().err
    assert "3/10" in shown and "loss 1.500, 101 samples/s, 42 s left" in shown


def test_the_history_grows_by_a_row_per_epoch(tmp_path):
    file = HistoryFile(tmp_path / "run" / "history.csv")
    for rows in (1, 2):
        file.epoch(progress(rows=rows))
        assert len(pd.read_csv(file.path)) == rows
    assert len(list(file.path.parent.iterdir())) == 1


def log_steps(name: str, folder: Path, steps: range, made: int) -> None:
    """Log these steps with a logger, and the end of an epoch after the last."""
    (logger,) = open_loggers([name], lambda _: folder, made)
    for total in steps:
        logger.step(progress(total))
    logger.epoch(progress(steps[-1]))
    logger.close()


def test_tensorboard_has_every_step_once_after_an_interruption(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_steps("tensorboard", tmp_path, range(1, 6), 0)
    log_steps("tensorboard", tmp_path, range(3, 10), 2)  # Resumed from the state of step 2.
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 10))
    assert events.Scalars("validation_recall")[-1].value == 0.5


def test_dvclive_has_every_epoch(tmp_path):
    log_steps("dvclive", tmp_path, range(1, 6), 0)
    log_steps("dvclive", tmp_path, range(6, 10), 5)
    rows = pd.read_csv(next(tmp_path.rglob("validation_recall.tsv")), sep="\t")
    assert list(rows["validation_recall"]) == [0.5, 0.5]


@pytest.mark.parametrize("name", names("loggers"))
def test_a_logger_whose_package_is_missing_says_what_to_install(name, tmp_path, monkeypatch):
    for module in ("dvclive", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"logging.loggers: {name} needs a package: pip install {name}"):
        open_loggers([name], lambda _: tmp_path, 0)


def test_an_unknown_logger_is_refused_with_the_known_ones(tmp_path):
    text = PARAMS.read_text().replace("loggers: []", "loggers: [tensorbord]")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="logging.loggers: 'tensorbord' is not one of: dvclive, tensorboard"):
        load(tmp_path / "params.yaml")


def test_an_operation_without_a_deterministic_implementation_is_named_once():
    lines: list[str] = []
    with determinism(True, lines.append) as found:
        for _ in range(2):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert found == ["put_"]
    assert lines == ["put_ has no deterministic implementation here: a rerun may differ in the last digits"]
    with determinism(False, lines.append) as found:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert found == []
