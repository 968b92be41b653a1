"""Claims about the look at one's own data: it says what a preparation would read, share and refuse."""

import re

import pandas as pd
import pytest
import tiny_data
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.data.check import check_table
from crossmodal_peft.report.table_check import described, stops


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for i in range(40):
        tiny_data.picture(folder / f"{i}.jpg", i)
        tiny_data.sound(folder / f"{i}.wav", i, seconds=0.1 if i == 3 else 0.6)
    (folder / "broken.jpg").write_bytes(b"404")
    return folder


def rows(count=40):
    return [{"image": f"{i}.jpg", "caption": f"Dog {i} seen by {j}."} for i in range(count) for j in range(2)]


def report(folder, table, *options):
    path = tiny_data.write_csv(folder / "own.csv", table)
    done = CliRunner().invoke(app, ["check-data", str(path), *options])
    return done.exit_code, " ".join(done.output.split()), " ".join(done.stderr.split())


def test_a_table_is_described_as_it_is_prepared(media, layout):
    table = [
        *rows(),
        {"image": "broken.jpg", "caption": "Nothing."},
        {"image": "gone.jpg", "caption": "Nothing."},
    ]
    code, text, _ = report(media, table)
    assert code == 0
    assert "82 rows; 40 items with text and image; 2 rows refused" in text
    assert "Shared: 40 rows joined to others with the same files." in text
    assert "Relevance: 80 captions or labels" in text
    assert "- 1 × cannot be decoded: broken.jpg" in text and "- 1 × no such file: gone.jpg" in text
    assert "captions: 5 to 5 words" in text and "pictures: 20 to 20 pixels" in text
    assert "- 40 × a picture of 30 × 20 pixels: 0.jpg, 1.jpg, 2.jpg, …" in text
    assert len(re.findall(r"- (?:train|validation|test), \d+\.jpg: Dog \d+ seen by 0\. \(\+ 1\)", text)) == 10
    data = tiny_data.dataset(kind="manifest", manifest=str(media / "own.csv"), modalities=("text", "image"))
    line, _ = tiny_data.prepare(data, layout)
    for split in ("train", "validation", "test"):
        count = re.search(rf"\| {split} \| (\d+) \|", text)[1]
        assert f"{count} {split}" in line
    assert "40 rows joined to others with the same files" in line


def test_what_stands_on_several_sides_of_a_given_split_is_said(media):
    sides = ["train"] * 30 + ["validation"] * 5 + ["test"] * 5
    table = [{"image": f"{i}.jpg", "caption": "The same.", "split": sides[i]} for i in range(40)]
    code, text, _ = report(media, table)
    assert code == 0 and "Split by the column split" in text
    assert "Shared: 1 caption on several sides, in 5 of 5 test items." in text
    assert "the most frequent, 'the same', of 40 items" in text


def test_groups_that_swallow_a_split_are_the_reason_why_a_run_would_stop(media):
    table = [{"image": f"{i}.jpg", "caption": "The same."} for i in range(40)]
    code, text, error = report(media, table)
    assert code == 3 and "a hash of 1 groups, the largest of 40 items" in text
    assert "own.csv: a run would stop: no items in" in error and "a column `label`" in error


def test_too_many_refusals_are_the_reason_why_a_run_would_stop(media):
    checked = check_table(
        tiny_data.write_csv(media / "lossy.csv", rows(4) + [{"image": "broken.jpg"}] * 9), None
    )
    assert stops(checked) == "9 of 17 rows are refused, more than max_lost 0.1 allows"


def test_sounds_are_measured_and_odd_ones_named(media):
    table = [
        {"id": i, "audio": f"{i}.wav", "caption": "long " * (70 if i == 5 else 3) + str(i)} for i in range(40)
    ]
    _, text, _ = report(media, table)
    assert "clips: 0.1 to 0.6 s, half have 0.6 or fewer" in text
    assert "- 1 × a clip of 0.10 s: 3" in text and "- 1 × a caption of 71 words: 5" in text


def test_only_the_files_of_the_first_items_are_decoded_where_that_is_asked_for(media):
    table = [*rows(), {"image": "broken.jpg", "caption": "Nothing."}]
    assert "cannot be decoded" not in report(media, table, "--decode", "5")[1]


def test_a_table_without_two_modalities_is_refused_with_its_columns(media):
    code, _, error = report(media, [{"picture": "0.jpg", "caption": "A dog."}])
    assert code == 3
    assert "needs two of the columns caption (or captions), image and audio; it has caption" in error


def test_a_json_lines_table_is_described_too(media):
    pd.DataFrame(rows()).to_json(media / "own.jsonl", orient="records", lines=True)
    assert "40 items with text and image" in described(
        media / "own.jsonl", check_table(media / "own.jsonl", 0)
    )
