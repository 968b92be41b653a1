"""Text files by people: a byte order mark says the encoding, and without one it is UTF-8."""

import codecs
import re
from pathlib import Path

# UTF-32's mark begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
OTHER_FILES = {
    b"PK\x03\x04": "a workbook (.xlsx) or a zip archive; export it as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook (.xls); export it as CSV",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"PAR1": "a Parquet file; name it .parquet",
}


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark and with its line ends as they are.

    Raises ValueError with line and fix, but without the file, if it is not text in UTF-8 or, with a mark,
    UTF-16 or UTF-32; OSError if it cannot be opened.
    """
    content = path.read_bytes()
    for start, what in OTHER_FILES.items():
        if content.startswith(start):
            raise ValueError(f"is {what}")
    mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
    encoding = MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        line = len(re.split(b"\r\n|\n|\r", content[: content.index(b"\0")]))
        raise ValueError(f"line {line}: a NUL byte, as in UTF-16 without a byte order mark; save it as UTF-8")
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(_undecoded(error)) from None


def at(path: Path, error: Exception) -> str:
    """The message of an error in a file, which may begin with the line."""
    return f"{path}{', ' if str(error).startswith('line ') else ': '}{error}"


def lines_of(text: str) -> list[str]:
    """The lines of a text, which only line feed, carriage return, or both end.

    `str.splitlines` also ends lines at U+2028, U+0085 and others, which are part of texts here.
    """
    return re.split("\r\n|\n|\r", text)


def _undecoded(error: UnicodeDecodeError) -> str:
    """Which line is not in the encoding, how it would read in the most frequent other one, and the fix."""
    before, after = error.object[: error.start], error.object[error.start : error.start + 40]
    line = lines_of(before.decode(error.encoding))
    shown = lines_of(line[-1][-20:] + after.decode("cp1252", "replace"))[0]
    byte = f"byte 0x{error.object[error.start]:02x}"
    if error.encoding != "utf-8":
        return (
            f"line {len(line)}: {byte} is not {error.encoding}, which the byte order mark says; save as UTF-8"
        )
    return (
        f"line {len(line)}: {byte} is not UTF-8 (in Windows-1252: {shown!r}); save the file as UTF-8, "
        "for example: iconv -f WINDOWS-1252 -t UTF-8"
    )
