"""Claims about JSON: one way of reading, with a line that names the file."""

import pytest

from crossmodal_peft.files import parse_json, read_json

UNUSABLE = {
    "[]": r"holds \[\], not a JSON object",
    "null": "holds null, not a JSON object",
    "0": "holds 0, not a JSON object",
    '"x"': 'holds "x", not a JSON object',
    "": "not valid JSON",
    "{": "not valid JSON",
    "[" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    '{"a": NaN}': "NaN is not a finite number",
    '{"a": [-Infinity]}': "-Infinity is not a finite number",
    '{"a": 1e999}': "1e999 is not a finite number",
    '{"b": {"a": 1, "c": 2, "a": 1}}': "the key 'a' stands twice",
}


@pytest.mark.parametrize("text", UNUSABLE, ids=lambda text: text[:12])
def test_unusable_json_is_refused_in_one_line_with_the_file_and_the_fix(text, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"some\.json: .*{UNUSABLE[text]}.*; write it again") as refusal:
        read_json(path, "write it again")
    assert "\n" not in str(refusal.value)


def test_json_that_is_not_utf8_is_refused_by_name(tmp_path):
    (tmp_path / "some.json").write_bytes('{"a": "ü"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"some\.json: .*utf-8.*; write it again"):
        read_json(tmp_path / "some.json", "write it again")


def test_a_byte_order_mark_before_json_is_no_part_of_it(tmp_path):
    (tmp_path / "some.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xbc"}')
    assert read_json(tmp_path / "some.json", "") == {"a": "ü"}


def test_numbers_keep_every_bit():
    text = "[0.1, 123456789012345678901, -0.0, 5e-324, 1.7976931348623157e308]"
    assert repr(parse_json(text)) == "[0.1, 123456789012345678901, -0.0, 5e-324, 1.7976931348623157e+308]"
