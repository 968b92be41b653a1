"""Claims about encoders from the Hub and from folders: complete, pinned, without code or pickles."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tiny_data
import torch
from huggingface_hub import constants
from pydantic import TypeAdapter
from tiny import encoder_of, inputs_of
from transformers import ClapFeatureExtractor, CLIPImageProcessor
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import AnyEncoder, Paths
from crossmodal_peft.contracts.tiny import write_preprocessing
from crossmodal_peft.data import hub
from crossmodal_peft.data.receipts import check_receipt
from crossmodal_peft.models.encoder import load_encoder
from crossmodal_peft.stages.download_encoder import fetch_encoder

REVISION = "0123456789abcdef0123456789abcdef01234567"
TEMPLATE = "{repo_id}/resolve/{revision}/{filename}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny RoBERTa as transformers saves it, plus files that must not be used."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-roberta"
    encoder_of("roberta").model.save_pretrained(folder)
    write_preprocessing("roberta", "text", folder)
    (folder / "vocab.txt").write_text("a\nb\n")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


def entry(name: str, path: Path) -> dict:
    """A file as the Hub lists it."""
    content = path.read_bytes()
    listed = {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),
    }
    if name.endswith(".safetensors"):
        digest = hashlib.sha256(content).hexdigest()
        listed["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 100}
    return listed


class Hub(BaseHTTPRequestHandler):
    """Serves the server's `files` (paths by name) at one commit, and records them in its `asked`."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, _ = self.path.partition("?")
        name, files = path.removeprefix(f"/tiny/roberta/resolve/{REVISION}/"), self.server.files
        if path == f"/api/models/tiny/roberta/tree/{REVISION}":
            content = json.dumps([entry(*file) for file in files.items()]).encode()
        elif name in files:
            self.server.asked.append(name)
            content = files[name].read_bytes()
        else:
            self.send_error(404, headers={"X-Error-Code": "RepoNotFound"})
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def send_error(self, code, headers=None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(model, monkeypatch):
    """A Hub on loopback that serves the model: its URL, and the file names it was asked for.

    In this process it replaces the real one.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {str(p.relative_to(model)): p for p in model.rglob("*") if p.is_file()}
    server.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{TEMPLATE}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield endpoint, server.asked
    server.shutdown()


def block(source: dict, **keys) -> str:
    """An encoder's block as JSON."""
    return json.dumps({"modality": "text", "family": "bert", "pooling": "mean", "source": source, **keys})


def arguments(root: Path, repository: str = "tiny/roberta", **keys) -> list[str]:
    """Arguments of the command that Snakemake calls."""
    settings = block({"hub": repository, "revision": REVISION}, **keys)
    paths = json.dumps({"raw": f"{root}/raw"})
    return ["download-encoder", "tiny", "--settings", settings, "--paths", paths]


def fetch(name: str, folder: Path, layout: Layout, **keys) -> None:
    """Copy a folder as an encoder, as the command does."""
    settings = TypeAdapter(AnyEncoder).validate_json(block({"folder": str(folder)}, **keys))
    fetch_encoder(name, settings, layout)


def test_a_hub_model_is_downloaded_without_code_or_pickles(served, model, tmp_path):
    endpoint, asked = served
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": f"{tmp_path}/home"}
    environment["HF_HUB_DISABLE_XET"] = "1"
    command = [sys.executable, "-m", "crossmodal_peft.cli", *arguments(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "raw" / "encoders" / "tiny"
    names = {path.name for path in hub.files(model)}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    assert set(asked) == names == {"config.json", "model.safetensors", *tokenizer}
    assert {path.name for path in folder.iterdir()} == {*names, "source.json"}
    receipt = json.loads((folder / "source.json").read_text())
    assert (receipt["source"], receipt["revision"]) == ("tiny/roberta", REVISION)
    check_receipt(folder)
    inputs = inputs_of("roberta")
    expected = encoder_of("roberta")(*inputs, "input")
    assert torch.equal(load_encoder(folder, "bert", "mean", "eager")(*inputs, "input"), expected)


def test_a_model_that_is_not_on_the_hub_gives_a_one_line_error(served, tmp_path):
    done = CliRunner().invoke(app, arguments(tmp_path, "tiny/other"))
    assert done.exit_code == 3
    assert done.output.count("\n") == 1
    assert f"tiny/other at {REVISION} could not be downloaded from the hub" in done.output
    assert "source: {folder: FOLDER}" in done.output
    assert not (tmp_path / "raw" / "encoders" / "tiny" / "source.json").exists()


def test_weights_that_differ_from_the_hubs_checksum_are_refused(served, model, tmp_path, monkeypatch):
    def damaged(*_, local_dir, **__):
        hub.fetch_folder(model, local_dir)
        (local_dir / "model.safetensors").write_bytes(b"damaged")

    monkeypatch.setattr("huggingface_hub.snapshot_download", damaged)
    with pytest.raises(ValueError, match=r"model\.safetensors: sha256 is .* expected"):
        hub.fetch_repository("tiny/roberta", REVISION, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_model_with_its_own_code_is_refused_and_leaves_nothing_behind(served, model, tmp_path):
    (model / "config.json").rename(tmp_path / "config.json")
    content = json.loads((tmp_path / "config.json").read_text()) | {"auto_map": {"AutoModel": "modeling.Own"}}
    (model / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="auto_map refers to the model's own code, which is never run"):
        hub.fetch_repository("tiny/roberta", REVISION, tmp_path / "encoders" / "tiny")
    (tmp_path / "config.json").replace(model / "config.json")
    assert list((tmp_path / "encoders").iterdir()) == []


def test_a_local_folder_becomes_an_encoder(model, tmp_path):
    layout = Layout.of(Paths(raw=str(tmp_path)))
    fetch("tiny", model, layout)
    folder = layout.encoder("tiny")
    check_receipt(folder)
    assert "pytorch_model.bin" not in {path.name for path in folder.iterdir()}
    inputs = inputs_of("roberta")
    expected = encoder_of("roberta")(*inputs, "input")
    assert torch.equal(load_encoder(folder, "bert", "mean", "eager")(*inputs, "input"), expected)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (shutil.rmtree, "model: no such file or folder; it is relative to the folder that snakemake runs in"),
        (lambda f: (f / "config.json").unlink(), r"no config\.json"),
        (
            lambda f: (f / "model.safetensors").rename(f / "model-00001-of-00002.safetensors"),
            r"no model\.safetensors \(found: model-00001-of-00002\.safetensors, pytorch_model\.bin\)",
        ),
        (
            lambda f: (f / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "code.Own"}}'),
            r"tokenizer_config\.json: auto_map refers to the model's own code",
        ),
        (
            lambda f: (f / "config.json").write_text('{"text": [{"auto_map": {"AutoModel": "code.Own"}}]}'),
            r"config\.json: auto_map refers to the model's own code",
        ),
        (
            lambda f: (f / "modules.json").write_text("[" * 100_000),
            r"modules\.json: not usable JSON: nested too deeply; download or save it again",
        ),
        (lambda f: (f / "added_tokens.json").write_text('{"a": 1, "a": 2}'), r"the key 'a' stands twice"),
    ],
)
def test_an_unusable_folder_is_refused_with_the_fix(model, tmp_path, change, complaint):
    shutil.copytree(model, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(ValueError, match=complaint):
        hub.fetch_folder(tmp_path / "model", tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_a_byte_order_mark_before_json_or_a_vocabulary_is_removed(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        path = tmp_path / "model" / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (tmp_path / "model" / "modules.json").write_text('[{"idx": 0}]')  # sentence-transformers' own file.
    layout = tiny_data.layout_in(tmp_path)
    fetch("tiny", tmp_path / "model", layout)
    copied = {path.name: path.read_bytes() for path in hub.files(layout.encoder("tiny"))}
    assert {path.name: path.read_bytes() for path in hub.files(model)}.items() <= copied.items()
    check_receipt(layout.encoder("tiny"))


def test_a_word_auto_map_in_a_vocabulary_is_no_code(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "vocab.json").write_text('{"auto_map": 7}')
    hub.check(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "keys", "complaint"),
    [
        (lambda f: (f / "tokenizer.json").unlink() or (f / "vocab.txt").unlink(), {}, "no vocabulary"),
        (lambda f: None, {"max_tokens": 513}, "max_tokens is 513, but this encoder takes at most"),
        (lambda f: None, {"family": "vit", "modality": "image"}, "the family vit loads model type vit, not"),
    ],
)
def test_an_encoder_that_could_not_prepare_its_inputs_is_refused_when_it_is_fetched(
    model, tmp_path, change, keys, complaint
):
    shutil.copytree(model, tmp_path / "model")
    change(tmp_path / "model")
    layout = tiny_data.layout_in(tmp_path)
    with pytest.raises(ValueError, match=complaint) as refusal:
        fetch("tiny", tmp_path / "model", layout, **keys)
    assert "\n" not in str(refusal.value)
    assert not (layout.encoder("tiny") / "source.json").exists()


def test_folders_of_other_families_are_prepared_trained_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_data.ENCODERS, "image", {"family": "clip", "pooling": "cls"})
    monkeypatch.setitem(tiny_data.ENCODERS, "audio", {"family": "clap", "pooling": "mean", "seconds": 0.5})
    layout, mine = tiny_data.layout_in(tmp_path), tmp_path / "mine"
    encoder_of("roberta").model.save_pretrained(mine / "text")
    write_preprocessing("roberta", "text", mine / "text")
    encoder_of("clip").model.save_pretrained(mine / "image")
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(mine / "image")
    encoder_of("clap").model.save_pretrained(mine / "audio")
    bands = {"feature_size": 16, "hop_length": 800, "max_length_s": 1}
    ClapFeatureExtractor(truncation="rand_trunc", **bands).save_pretrained(mine / "audio")
    for modality in ("text", "image", "audio"):
        keys = {"modality": modality, **tiny_data.ENCODERS[modality]}
        fetch(f"tiny-{modality}", mine / modality, layout, **keys)
    sides = ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    table = [{"id": i, "split": side, "caption": f"w{i}"} for i, side in enumerate(sides)]
    for row in table:
        row["image"] = tiny_data.picture(tmp_path / "media" / f"{row['id']}.png", row["id"]).name
        row["audio"] = tiny_data.sound(tmp_path / "media" / f"{row['id']}.wav", row["id"]).name
    (tmp_path / "media" / "own.jsonl").write_text("\n".join(json.dumps(row) for row in table))
    data = tiny_data.dataset(
        kind="manifest", manifest=str(tmp_path / "media" / "own.jsonl"), modalities=("text", "image", "audio")
    )
    tiny_data.prepare(data, layout)
    assert np.load(layout.activations("tiny", "image", "input")).shape == (9, 3, 16, 16)
    assert np.load(layout.activations("tiny", "audio", "input")).shape == (9, 61, 16)
    assert len(tiny_data.train(data, layout)["metrics"]) == 6
