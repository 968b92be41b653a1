"""Claims about the worked example of one's own data: it is read as the page says."""

import pytest
import tiny_data
from documents import REPOSITORY, blocks
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app

PAGE = REPOSITORY / "docs/own-data.md"
TEXTS = {block.title: block.text for block in blocks(PAGE) if block.title}


@pytest.fixture
def birds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds/birds.csv").write_text(TEXTS["birds/birds.csv"], encoding="utf-8")
    names = [line.rpartition(",")[2] for line in TEXTS["birds/birds.csv"].splitlines()[1:]]
    for number, name in enumerate(dict.fromkeys(names)):
        tiny_data.picture(tmp_path / "birds" / name, number, 300, 200)


def test_the_table_of_the_page_is_read_as_the_page_says(birds):
    done = CliRunner().invoke(app, ["check-data", "birds/birds.csv"])
    assert done.exit_code == 0, done.output
    assert done.output == TEXTS["birds/birds.csv is read as"]
