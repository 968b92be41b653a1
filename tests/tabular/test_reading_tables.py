"""Claims about tables as people have them: read if they can be read in one way only, else refused by line."""

import codecs
import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossmodal_peft.tabular.cells import name, texts
from crossmodal_peft.tabular.table import read_table

KNOWN = ("id", "caption", "captions", "image", "split", "group")
PLAIN = "id,caption,image\n1,A café,a.png\n2,null,b.png\n"
VALUES = {"id": ["1", "2"], "caption": ["A café", "null"], "image": ["a.png", "b.png"]}


def read(folder, content, suffix="csv"):
    path = folder / f"captions (1).{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, KNOWN, [("id",), ("caption", "captions")])


def refusal(folder, content, suffix="csv"):
    with pytest.raises(ValueError, match=r"/captions \(1\)\.") as refused:
        read(folder, content, suffix)
    assert "\n" not in str(refused.value)
    return str(refused.value).partition(f").{suffix}")[2]


SAME = {
    "UTF-8": PLAIN,
    "a byte order mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "line ends of Windows": PLAIN.replace("\n", "\r\n"),
    "line ends of old Macs": PLAIN.replace("\n", "\r"),
    "no last line end": PLAIN.rstrip("\n"),
    "blank lines": "\n" + PLAIN.replace("\n", "\n\n"),
    "rows of delimiters at the end": PLAIN + ",,\n,,\n",
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "a declared delimiter": "sep=;\r\n" + PLAIN.replace(",", ";"),
    "quotes": '"id","caption","image"\n"1","A café","a.png"\n"2","null","b.png"\n',
    "blanks after commas": 'id, caption, image\n1, "A café", a.png\n2, null, b.png\n',
    "trailing commas": PLAIN.replace("\n", ",\n"),
    "trailing commas below the header": PLAIN.replace("png\n", "png,,\n"),
    "row numbers of a data frame": ",id,caption,image\n0,1,A café,a.png\n1,2,null,b.png\n",
    "headers in capitals with blanks": PLAIN.replace("id,caption", "ID, Caption\u00a0"),
    "a column of somebody's own": PLAIN.replace("\n", ",x\n").replace("image,x", "image,note, in short"[:10]),
}


@pytest.mark.parametrize("form", SAME)
def test_a_table_is_the_same_in_every_form_that_can_be_read_in_one_way(tmp_path, form):
    assert read(tmp_path, SAME[form]).columns == VALUES


def test_a_delimiter_in_a_quoted_name_or_a_text_is_none(tmp_path):
    table = read(tmp_path, 'id;"caption";"note, long"\n1;"A; b, c";x\n')
    assert table.columns == {"id": ["1"], "caption": ["A; b, c"]} and table.others == ["note, long"]


def test_lines_count_line_ends_inside_texts(tmp_path):
    table = read(tmp_path, 'id,caption\n1,"one\ntwo"\n\n2,three\n')
    assert table.columns["caption"] == ["one\ntwo", "three"] and table.lines == [2, 5]
    assert table.place(1) == "line 5"


REFUSED = {
    "id,caption,image\n1,A bird,a.png\n2,A red circle, on white,b.png\n": (
        ", line 3: 4 fields, but the header has 3; put a text that holds a comma in double quotes"
    ),
    "id,caption,image\n1,A, b,a.png\n2,A, b,b.png\n": "line 2: 4 fields, but the header has 3 .2 such rows",
    "id,caption,image\n1,A bird\n": ", line 2: 2 fields, but the header has 3; write every field",
    "id,caption,image,\n1,A red circle, on white,b.png\n": ", line 2: column 4 holds 'b.png', but the header",
    ",id,caption\n7,1,A bird\n": ", line 2: column 1 holds '7', but the header has no name",
    'id,caption,image\n1,"A bird,a.png\n2,"A tree",b.png\n': "line 2: .*a quote in it is doubled",
    'id,caption,image\n1,"A \\"small\\" bird",a.png\n': ", line 2: .*a quote in it is doubled",
    'id,caption,image\n1,"A bird,a.png\n': ", line 2: unexpected end of data",
    'id,caption\n1, "A bird"\n': ", line 2: a blank before a quote",
    "id,caption\n1,A bird\n2,\0\n": ", line 3: a NUL byte, as in UTF-16 without",
    "id,caption;image\n1,A;b\n": ", line 1: the header holds comma and semicolon",
    "": ": No columns; the first line",
    "\n\n": ": No columns; the first line",
    "1,A bird,a.png\n": ": no column id; its columns are: 1, A bird, a.png",
    "id,captoin\n": ": no column caption or captions; its columns are: id, captoin",
    "id,caption,splits\n": "did you mean 'split'",
    "id,caption,data_split\n": "did you mean 'split'",
    "id,caption,groupId\n": "did you mean 'group'",
    "id,caption,split,Split\n": "columns 3 and 4 are 'split' and 'Split', the same name",
    "id,caption,note,note\n": "columns 3 and 4 are 'note' and 'note', the same name",
    "Id,caption,id \n": "columns 1 and 3 are 'Id' and 'id ', the same name",
}


@pytest.mark.parametrize("content", REFUSED)
def test_a_table_that_can_be_read_in_two_ways_is_refused_by_line(tmp_path, content):
    assert re.search(REFUSED[content].replace("(", r"\("), refusal(tmp_path, content))


def test_another_encoding_is_refused_by_line_with_the_command_that_mends_it(tmp_path):
    message = refusal(tmp_path, "id,caption\n1,A bird\n2,Ein Käuzchen\n".encode("latin-1"))
    assert message.startswith(", line 3: byte 0xe4 is not UTF-8 (in Windows-1252: '2,Ein Käuzchen'); save")
    assert "line 1: a NUL" in refusal(tmp_path, PLAIN.encode("utf-16-le"))
    assert "line 4: byte 0x0a is not utf-16-le" in refusal(tmp_path, PLAIN.encode("utf-16") + b"\n")


@pytest.mark.parametrize(
    ("start", "what"), [(b"PK\3\4", "workbook"), (b"\x1f\x8b", "gzip"), (b"PAR1", "name it .parquet")]
)
def test_a_file_that_is_no_text_is_named_by_what_it_is(tmp_path, start, what):
    assert what in refusal(tmp_path, start + b"\0\0")


def test_other_columns_are_named(tmp_path):
    assert read(tmp_path, "id,caption,licence,age\n1,A bird,CC0,3\n").others == ["licence", "age"]


def json_lines(*objects):
    return "\n".join(json.dumps(content, ensure_ascii=False) for content in objects)


def test_json_lines_end_at_line_feeds_only(tmp_path):
    texts = ["one\u2028two", "three\u0085four", "five\u000bsix"]
    table = read(tmp_path, json_lines(*({"id": 1, "caption": text} for text in texts)), "jsonl")
    assert table.columns["caption"] == texts and table.lines == [1, 2, 3]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b""])
def test_json_lines_may_begin_with_a_mark_and_hold_blank_lines(tmp_path, mark):
    content = mark + b'\r\n{"id": 1, " Caption": "A"}\r\n\r\n{"id": 2, "x": 1}\r\n'
    table = read(tmp_path, content, "jsonl")
    assert table.columns == {"id": [1, 2], "caption": ["A", None]} and table.lines == [2, 4]
    assert table.others == ["x"]


BIG = 2**62 + 1


def test_long_integers_stay_exact_beside_missing_ones(tmp_path):
    rows = [{"id": BIG, "caption": "A", "group": BIG + 1}, {"id": BIG + 2, "caption": "B", "group": None}]
    expected = {"id": [BIG, BIG + 2], "caption": ["A", "B"], "group": [BIG + 1, None]}
    del rows[1]["group"]
    assert read(tmp_path, json_lines(*rows), "jsonl").columns == expected
    pq.write_table(pa.table(expected), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", KNOWN).columns == expected


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("null", "not a JSON object; write one object a line"),
        ("7", "not a JSON object; write one object a line"),
        ('[{"id": 1}]', "not a JSON object; write one object a line"),
        ('{"id": 1', "not valid JSON: .*; write one object a line"),
        ('{"id": 1, "id": 2}', "the key 'id' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"id": ' + "9" * 5000 + "}", "4300"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path, line, fault):
    assert re.search(
        f"^, line 2: .*{fault}", refusal(tmp_path, f'{{"id": 1, "caption": "A"}}\n{line}', "jsonl")
    )


def test_two_spellings_of_a_key_in_json_lines_are_refused(tmp_path):
    content = json_lines(
        {"id": 1, "caption": "A", "split": "train"}, {"id": 2, "caption": "B", "Split": "test"}
    )
    assert "'split' and 'Split', the same name" in refusal(tmp_path, content, "jsonl")


def test_parquet_is_read_by_its_known_columns_and_bytes_are_text(tmp_path):
    path = tmp_path / "a.parquet"
    captions = [b"caf\xc3\xa9", None, b"null"]
    pd.DataFrame({"Id": [1, 2, 4], "caption": captions, "score": 0.5}).set_index("Id").to_parquet(path)
    table = read_table(path, KNOWN, [("id",)])
    assert table.columns == {"id": [1, 2, 4], "caption": ["café", None, "null"]} and table.others == ["score"]
    assert table.place(1) == "row 2"
    pq.write_table(pa.table({"id": [1], "image": [b"\x89PNG"]}), path)
    with pytest.raises(ValueError, match="a.parquet: the column image holds bytes; it must hold"):
        read_table(path, KNOWN)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"SNAPPY", b"").replace(b"\x15", b"\x1f"))
    with pytest.raises(ValueError, match="a.parquet: not readable as Parquet: "):
        read_table(path, KNOWN)
    path.write_text("not Parquet")
    with pytest.raises(ValueError, match="a.parquet: .*not a parquet file"):
        read_table(path, KNOWN)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (BIG, str(BIG)),
        (5.0, "5"),
        (1.5, "1.5"),
        (" 7e41 ", "7e41"),
        ("NA", "NA"),
        ("", ""),
        (None, ""),
        (float("nan"), ""),
        ([3], "3"),
        ("cafe\u0301", "café"),
        ("2+1e9", "2+1e9"),
    ],
)
def test_a_name_keeps_all_of_its_digits_and_letters(cell, expected):
    assert name(cell, "id") == expected


@pytest.mark.parametrize(
    "cell", [1e18, float("inf"), "1.23457E+18", "1e+16", [1, 2], {"a": 1}, True, b"x", [["a"]]]
)
def test_what_is_no_exact_name_is_refused(cell):
    with pytest.raises(ValueError, match="^group "):
        name(cell, "group")


def test_only_texts_and_integers_are_captions():
    assert texts(["null", " A ", "", None, 7, "NA"], "captions") == ["null", "A", "7", "NA"]
    for cell in ({"raw": "A"}, [["A"]], True, 1.5, b"A", json.loads(r'"\ud83d"')):
        with pytest.raises(ValueError, match="caption holds .*, not a text|caption holds half a character"):
            texts(cell, "caption")
