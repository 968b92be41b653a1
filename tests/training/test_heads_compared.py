"""A claim about the committed comparison of heads, benchmarks/heads.md."""

import pandas as pd
import pytest
from conftest import REPOSITORY

LINEAR = ["ridge to text", "ridge from text", "canonical correlation", "principal components and Procrustes"]
HEAD = "**method `frozen`: the head**"


@pytest.fixture
def recalls() -> pd.DataFrame:
    """Validation recall by way and dataset."""
    lines = (REPOSITORY / "benchmarks" / "heads.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    frame = pd.DataFrame(cells[2:], columns=cells[0])
    return frame.assign(validation=frame.validation.astype(float)).pivot(
        index="way", columns="dataset", values="validation"
    )


def beaten_by_a_point(recalls: pd.DataFrame, way: str) -> bool:
    """Whether a linear closed form is more than a point better than a way on some dataset."""
    return bool((recalls.loc[LINEAR].max() > recalls.loc[way] + 1).any())


def test_no_linear_closed_form_beats_the_head_by_more_than_a_point(recalls):
    assert list(recalls.columns) == ["stamps-image", "stamps-speech"]
    assert not beaten_by_a_point(recalls, HEAD)


def test_a_head_that_is_stopped_early_would_be_beaten(recalls):
    assert beaten_by_a_point(recalls, "InfoNCE from random projections, one epoch")
