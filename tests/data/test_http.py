"""Claims about downloads over HTTP, against a server on this machine, and about archives."""

import hashlib
import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import namedtuple

import py7zr
import pytest
from loopback import serve

from crossmodal_peft.data import archives, http
from crossmodal_peft.data.http import Published, fetch

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0)
    monkeypatch.setattr(http, "CHUNK", 1000)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "data.bin").write_bytes(CONTENT)
    with serve(tmp_path / "served") as server:
        yield server


def published(server, content=CONTENT, algorithm="md5"):
    url = f"{server.url}/data.bin?download=1"
    return Published(url, algorithm, hashlib.new(algorithm, content).hexdigest())


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_downloaded_and_verified_only_once(server, tmp_path, algorithm):
    file = published(server, algorithm=algorithm)
    assert fetch(file, tmp_path / "raw", []).read_bytes() == CONTENT
    fetch(file, tmp_path / "raw", [])
    assert len(server.requests) == 1
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["data.bin"]


def test_an_interrupted_download_resumes_where_it_stopped(server, tmp_path):
    server.cuts = [3000, 2500]
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT
    assert [start for _, start in server.requests] == [0, 3000, 5500]


def test_a_killed_download_is_resumed_by_the_next_run(server, tmp_path):
    (tmp_path / ".data.bin.download").write_bytes(CONTENT[:7000])
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT
    assert server.requests == [("/data.bin?download=1", 7000)]


def test_a_download_that_was_complete_before_the_kill_is_only_verified(server, tmp_path):
    (tmp_path / ".data.bin.download").write_bytes(CONTENT)
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT


def test_without_range_requests_the_whole_file_is_downloaded_again(server, tmp_path):
    server.ranges, server.cuts = False, [3000]
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT


def test_a_resumed_download_that_does_not_verify_starts_over(server, tmp_path):
    (tmp_path / ".data.bin.download").write_bytes(b"of another file")
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT
    assert [start for _, start in server.requests] == [15, 0]


def test_a_corrupted_file_is_refused_and_leaves_nothing_behind(server, tmp_path):
    with pytest.raises(
        RuntimeError,
        match=r"data.bin could not be downloaded .*its md5 does not match the published .*place it in",
    ):
        fetch(published(server, b"other"), tmp_path / "raw", [])
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_damaged_file_under_the_right_name_is_downloaded_again(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"damaged")
    assert fetch(published(server), tmp_path, []).read_bytes() == CONTENT


def test_mirrors_are_tried_before_the_publisher(server, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    file = published(server)
    fetch(file, tmp_path / "a", [mirror.as_uri(), f"{server.url}/nowhere"])
    assert [path for path, _ in server.requests] == ["/nowhere/data.bin", "/data.bin?download=1"]
    (mirror / "data.bin").write_bytes(CONTENT)
    fetch(file, tmp_path / "b", [mirror.as_uri()])
    assert len(server.requests) == 2


def test_a_url_that_fails_is_retried_and_one_that_refuses_is_not(server, tmp_path):
    for status, tries in ((503, http.TRIES), (403, 1)):
        server.status, server.requests = status, []
        with pytest.raises(RuntimeError, match=r"data.bin\?download=1: (Service Unavailable|Forbidden)"):
            fetch(published(server), tmp_path, [])
        assert len(server.requests) == tries


def test_a_full_disk_is_detected_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(100))
    with pytest.raises(OSError, match="data.bin: needs 0 MB more, 0 MB are free"):
        fetch(published(server), tmp_path / "raw", [])
    assert not list((tmp_path / "raw").iterdir())


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_7z(path, files):
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writef(io.BytesIO(content), name)


WRITERS = {"a.zip": write_zip, "a.tar.gz": write_tar, "a.7z": write_7z}


@pytest.mark.parametrize("name", WRITERS)
def test_an_archive_unpacks_completely(tmp_path, name):
    WRITERS[name](tmp_path / name, {"audio/one: two.wav": b"1", "audio/b.wav": b"22"})
    archives.unpack(tmp_path / name, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in tmp_path.glob("out/*/*")}
    assert found == {"audio/one: two.wav": b"1", "audio/b.wav": b"22"}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out"])


@pytest.mark.parametrize("name", WRITERS)
def test_a_decompression_bomb_is_refused_before_anything_is_written(tmp_path, name):
    WRITERS[name](tmp_path / name, {f"{i}.wav": bytes(2**20) for i in range(3)})
    with pytest.raises(ValueError, match="refused as a decompression bomb"):
        archives.unpack(tmp_path / name, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])  # py7zr does not write such names; see below.
@pytest.mark.parametrize(
    "entry", ["../out.wav", "/tmp/out.wav", "a/../../out.wav", "C:/out.wav", "..\\out.wav"]
)
def test_a_path_outside_the_folder_is_refused(tmp_path, name, entry):
    WRITERS[name](tmp_path / name, {"in.wav": b"1", entry: b"2"})
    with pytest.raises(ValueError, match="is outside the target folder"):
        archives.unpack(tmp_path / name, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_7z_path_outside_the_folder_is_refused(tmp_path):
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)  # Names are then stored as plain text.
        for name in ("in.wav", "aaaout.wav"):
            archive.writef(io.BytesIO(b"1"), name)
    old, new = ("aaaout".encode("utf-16-le"), "../out".encode("utf-16-le"))
    content = bytearray(path.read_bytes().replace(old, new))
    start, size = struct.unpack_from("<QQ", content, 12)
    struct.pack_into("<I", content, 28, zlib.crc32(content[32 + start : 32 + start + size]))
    struct.pack_into("<I", content, 8, zlib.crc32(content[12:32]))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'\.\./out\.wav' is outside the target folder"):
        archives.unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.7z"]


def test_links_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "link", "link")
    for name in ("a.zip", "a.tar", "a.7z"):
        with pytest.raises(ValueError, match="'link' is a link or a device"):
            archives.unpack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.7z", "a.rar"])
def test_a_damaged_archive_gives_a_one_line_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=f"^{name}: (damaged|not a zip)") as refusal:
        archives.unpack(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_an_archive_larger_than_the_free_disk_space_is_refused(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", {"a.wav": b"1" * 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(100))
    with pytest.raises(OSError, match=r"a.zip: needs 0 MB more"):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
