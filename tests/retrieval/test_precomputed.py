"""Claims about precomputed embeddings."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.retrieval.evaluate import evaluate_direction
from crossmodal_peft.retrieval.precomputed import read_embeddings, read_relevance, read_sides
from crossmodal_peft.retrieval.relevance import relevance_from_pairs

KS = (1, 5, 10)


@pytest.fixture
def files(tmp_path):
    """Three queries and two items in files, with ids, and relevant pairs by row and by id."""
    np.save(tmp_path / "q.npy", np.array([[1, 0.1], [0.2, 1], [0, 1]]))
    np.save(tmp_path / "g.npy", np.array([[1, 0], [0, 1]], dtype=np.float32))
    (tmp_path / "q.txt").write_text("cat-1\ncat 2\n0\n")
    (tmp_path / "g.txt").write_text("a cat\na dog\n")
    (tmp_path / "rows.csv").write_text("query,item\n0,0\n1,0\n2,1\n")
    (tmp_path / "ids.csv").write_text("item,query\na cat,cat-1\na cat,cat 2\na dog,0\n")
    return tmp_path


def test_rows_and_ids_give_the_same_result(files):
    ours, theirs = read_sides(files / "q.npy", files / "g.npy")
    by_row = evaluate_direction(ours, theirs, read_relevance(files / "rows.csv", ours, theirs), KS)
    named = read_sides(files / "q.npy", files / "g.npy", files / "q.txt", files / "g.txt")
    by_id = evaluate_direction(*named, read_relevance(files / "ids.csv", *named), KS)
    expected = evaluate_direction(ours, theirs, relevance_from_pairs([0, 1, 2], [0, 0, 1], 3, 2), KS)
    assert by_row.summary == by_id.summary == expected.summary
    assert expected.summary["hit@1"] == pytest.approx(2 / 3)
    assert list(by_id.queries["query"]) == ["cat-1", "cat 2", "0"]
    assert list(by_id.queries["retrieved"][1]) == ["a dog", "a cat"]


def test_equal_embeddings_with_different_answers_cap_recall(tmp_path):
    for side in "qg":
        np.save(tmp_path / f"{side}.npy", np.eye(4)[[0, 0, 2, 3]] + 0.1)
    (tmp_path / "r.csv").write_text("query,item\n0,0\n1,1\n2,2\n3,3\n")
    arguments = [
        f"--{name}={tmp_path / file}"
        for name, file in (
            ("queries", "q.npy"),
            ("gallery", "g.npy"),
            ("relevance", "r.csv"),
            ("out", "o.csv"),
        )
    ]
    done = CliRunner().invoke(app, ["score", "--ks=1,2", *arguments])
    assert done.exit_code == 0, done.output
    assert "] ≤ 75.0 |" in done.output and "≤: the most that the relevance allows" in done.output
    [row] = pd.read_csv(tmp_path / "o.csv").to_dict("records")
    assert (row["hit@1"], row["hit@1_cap"], row["hit@2"]) == (0.75, 0.75, 1) and "hit@2_cap" not in row


PAIRS = [[0, 0], [1, 0], [2, 1]]


def pairs(files, content, name="rows.csv", ids=False):
    (files / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    named = (files / "q.txt", files / "g.txt") if ids else ()
    found = read_relevance(files / name, *read_sides(files / "q.npy", files / "g.npy", *named))
    return np.stack([found.queries, found.items], axis=1).tolist()


ROWS = "query,item\n0,0\n1,0\n2,1\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode("utf-8-sig"),
        ROWS.encode("utf-16"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", ", "),
        ROWS.replace("\n", ",\n"),
        ROWS.replace("\n", "\n\n"),
        ROWS.replace("query", " Query"),
        ",query,item\n0,0,0\n1,1,0\n2,2,1\n",
    ],
)
def test_pairs_are_read_in_every_form_that_has_one_meaning(files, content):
    assert pairs(files, content) == PAIRS


@pytest.mark.parametrize("column", ["relevance", "grade", "score", "Judgement"])
@pytest.mark.parametrize("zero", ["0", "-1", "0.0", " 0 "])
def test_a_pair_with_a_grade_of_0_or_less_is_not_relevant(files, column, zero):
    graded = f"query,item,{column}\n0,0,2\n0,1,{zero}\n1,0,0.5\n2,1,1\n1,1,{zero}\n"
    assert pairs(files, graded) == PAIRS
    assert pairs(files, "item,query\n" + "".join(f"{i},{q}\n" for q, i in PAIRS)) == PAIRS


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("query,item\n0,0,1\n", "rows.csv, line 2: 3 fields, but the header has 2"),
        ("query,item,\n0,0,1\n", "rows.csv, line 2: column 3 holds '1', but the header has no name"),
        ("query,item,query\n0,0,1\n", "rows.csv, line 1: columns 1 and 3 are 'query' and 'query'"),
        ("query,item,note\n0,0,1\n", "rows.csv: the columns note beside query and item; keep one at most"),
        ("query,item,grade,score\n0,0,1,1\n", "rows.csv: the columns grade, score beside"),
        ("query,item,grades\n0,0,1\n", "unknown column 'grades': did you mean 'grade'"),
        ("query,item,grade\n0,0,1\n\n1,0,\n", "rows.csv, line 4: grade is '', not a number"),
        ("query,item,grade\n0,0,yes\n", "rows.csv, line 2: grade is 'yes', not a number"),
        ("query,item,grade\n0,0,nan\n", "rows.csv, line 2: grade is 'nan', not a number"),
        ("query,item,grade\n0,0,0\n", "rows.csv: no relevant pairs; .* with a grade above 0"),
        ("query,item,grade\n0,0,0\n0,0,3\n", "line 3: relevant in one line and not .* line 2; keep one"),
        ("query-id\tcorpus-id\tscore\n0\t0\t1\n", "no column query; its columns are: query-id"),
        ("query,item\n0,0\n2,1.0E+00\n", "rows.csv, line 3: item is 1.0E\\+00, a rounded number"),
        (b"query,item\n0,\xfc\n", "rows.csv, line 2: byte 0xfc is not UTF-8"),
    ],
)
def test_pairs_that_could_be_taken_for_others_are_refused(files, content, fault):
    with pytest.raises(ValueError, match=fault):
        pairs(files, content)


def test_pairs_in_json_lines_and_parquet_are_those_of_the_csv(files):
    frame = pd.DataFrame(PAIRS, columns=["query", "item"])
    assert pairs(files, frame.to_json(orient="records", lines=True), "rows.jsonl") == PAIRS
    frame.astype(float).to_parquet(files / "rows.parquet")
    assert pairs(files, (files / "rows.parquet").read_bytes(), "rows.parquet") == PAIRS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ids_may_have_a_mark_any_line_end_and_any_character(files, encoding, end):
    ids = ["cafe\u0301", "a\u2028b", "\U0001f426 c"]
    (files / "q.txt").write_bytes((end.join(ids)).encode(encoding))
    content = 'query,item\n"café",a cat\na\u2028b,a cat\n\U0001f426 c,a dog\n'
    assert pairs(files, content, ids=True) == PAIRS


def test_ids_that_differ_in_the_composition_of_letters_only_are_refused(files):
    (files / "q.txt").write_text("café\nb\ncafe\u0301\n")
    with pytest.raises(ValueError, match="q.txt, line 3: the id 'café' is used above already"):
        pairs(files, ROWS, ids=True)


def test_the_command_prints_a_table_and_writes_it(files):
    arguments = [f"--{name}={files / file}" for name, file in (("queries", "q.npy"), ("gallery", "g.npy"))]
    arguments += [f"--relevance={files / 'rows.csv'}", f"--out={files / 'out.csv'}"]
    done = CliRunner().invoke(app, ["score", *arguments])
    assert done.exit_code == 0, done.output
    assert "66.7 [" in done.output and "gallery smaller than K = 5, 10" in done.output
    header, row = (files / "out.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(",")))["hit@5"] == "1.0"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1,7", "item 7 is not among the 2 embeddings"),
        ("-1,1", "query -1 is not among the 3 embeddings"),
        ("cat,1", "query cat is not among the 3"),
        ("1.0,1", "query 1.0 is not among the 3"),
        ("1", "1 fields, but the header has 2"),
    ],
)
def test_an_unknown_relevant_pair_is_named_with_its_line(files, line, fault):
    (files / "rows.csv").write_text(f"query,item\n0,0\n{line}\n")
    with pytest.raises(ValueError, match=f"rows.csv, line 3: {fault}"):
        read_relevance(files / "rows.csv", *read_sides(files / "q.npy", files / "g.npy"))


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ("a\nb\n", "q.txt: 2 ids, but .*q.npy has 3 rows"),
        ("a\nb\na\n", "q.txt, line 3: the id 'a' is used above already"),
        ("a\n\nb\n", "q.txt, line 2: the id is empty"),
        ("a\n1.2E+17\nb\n", "q.txt, line 2: the id is 1.2E.17, a rounded number"),
    ],
)
def test_unusable_ids_are_named(files, ids, fault):
    (files / "q.txt").write_text(ids)
    with pytest.raises(ValueError, match=fault):
        read_embeddings(files / "q.npy", files / "q.txt")


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.zeros(3), r"q.npy: expected floats of shape \(items, width\), found float64 \(3,\)"),
        (np.ones((3, 2), dtype=int), "q.npy: expected floats"),
        (
            np.array([[1, 0], [0, np.nan], [0, np.inf]]),
            "q.npy: row 1 holds NaN or infinity in float32; 2 such",
        ),
        (np.full((3, 2), 1e300), "q.npy: row 0 holds NaN or infinity in float32; 3 such"),
        (np.array([[1, 0], [0, 1], [0, 0.0]]), "q.npy: row 2 is zero"),
        (np.ones((3, 4)), "q.npy has embeddings of width 4, .*g.npy of width 2"),
    ],
)
def test_embeddings_that_cannot_be_scored_are_named(files, array, fault):
    np.save(files / "q.npy", array)
    with pytest.raises(ValueError, match=fault):
        read_sides(files / "q.npy", files / "g.npy")


def test_files_of_another_format_are_named(files):
    sides = read_sides(files / "q.npy", files / "g.npy")
    for text, fault in (
        ("", "No columns; the first line"),
        ("query,item\n", "no relevant pairs"),
        ("a\n1\n", "no column query; its columns are: a"),
    ):
        (files / "rows.csv").write_text(text)
        with pytest.raises(ValueError, match=f"rows.csv: .*{fault}"):
            read_relevance(files / "rows.csv", *sides)
    (files / "g.npy").write_text("1 2 3")
    np.savez(files / "q.npz", np.eye(2))
    for name, fault in (("g.npy", "not a .npy file of numbers"), ("q.npz", "archive of several arrays")):
        with pytest.raises(ValueError, match=f"{name}: .*{fault}"):
            read_embeddings(files / name)
