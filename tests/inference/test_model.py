"""The Python interface: what it embeds, what it refuses, and that it stands on nothing of the project."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tiny_data import picture
from tiny_trained import make_project, make_trained, naming, raw_items

import crossmodal_peft
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import EMBEDDINGS, WEIGHTS
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.inference.model import Model
from crossmodal_peft.retrieval.embeddings import load_embeddings
from crossmodal_peft.stages.export import export_cell

TRIO = ("bert", "dinov2", "whisper")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def cell(layout: Layout) -> Cell:
    return make_trained(layout, TRIO, "lora")


@pytest.fixture(scope="module")
def out(layout: Layout, cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_cell(cell.name, layout, folder)
    return folder


@pytest.fixture(scope="module")
def model(out: Path) -> Model:
    return crossmodal_peft.load(out, device="cpu")


def files(layout: Layout, suffix: str) -> list[Path]:
    return sorted((layout.raw.parent / "files").glob(f"*{suffix}"))


FRESH = """
import sys, numpy as np, crossmodal_peft
model = crossmodal_peft.load(sys.argv[1])
for line in open(sys.argv[2]):
    modality, *items = line.rstrip("\\n").split("\\t")
    np.save(sys.argv[3] + modality, model.encode(modality, items))
import peft, transformers
used = [m.__file__ for n, m in sys.modules.items() if n.startswith(("tests", "workflow", "tiny"))]
assert not used, used
"""


def test_a_process_elsewhere_with_the_folder_alone_gives_the_cells_embeddings(layout, cell, out, tmp_path):
    galleries = load_embeddings(layout.checkpoint(cell.name) / EMBEDDINGS, "test")[cell.dataset]
    lines = [
        "\t".join([modality, *map(str, raw_items(layout, cell, modality, gallery.positions))])
        for modality, gallery in galleries.items()
    ]
    (tmp_path / "items").write_text("\n".join(lines), encoding="utf-8")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in out.rglob("*"):
        target = moved / path.relative_to(out)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    command = [sys.executable, "-c", FRESH, "moved", "items", f"{tmp_path}/"]
    subprocess.run(command, cwd=tmp_path, check=True)
    for modality, gallery in galleries.items():
        found = np.load(tmp_path / f"{modality}.npy")
        np.testing.assert_allclose(found, gallery.embeddings, atol=1e-5, rtol=0)


IMPORT = """
import sys, time
start = time.process_time()
import crossmodal_peft as package
print(time.process_time() - start, "torch" in sys.modules, "pydantic" in sys.modules, package.__version__)
"""


def test_importing_the_package_loads_no_torch_and_takes_little_time():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, loaded, pydantic, version = done.stdout.split()
    assert float(seconds) < 0.3 and (loaded, pydantic) == ("False", "False")
    assert version == crossmodal_peft.__version__


def test_a_cells_folder_gives_the_same_embeddings_as_its_export(layout, cell, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    opened = crossmodal_peft.load(layout.checkpoint(cell.name), device="cpu")
    texts = ["w1 w2", "w3", "w4 w5 w6 w7 w8 w9 w10"]
    np.testing.assert_array_equal(opened.encode_text(texts), model.encode_text(texts))
    assert opened.modalities == model.modalities == ("text", "image", "audio")


def test_embeddings_are_float32_of_unit_length_in_the_order_of_the_items(model):
    texts = [" ".join(f"w{i}" for i in range(n)) for n in (6, 1, 4, 2, 5, 3)]
    found = model.encode_text(texts, batch_size=2)
    assert found.shape == (6, 8) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    alone = np.concatenate([model.encode_text([text]) for text in texts])
    np.testing.assert_allclose(found, alone, atol=1e-5)
    np.testing.assert_allclose(np.diag(model.similarity(found, alone)), 1, atol=1e-5)
    assert model.encode_text([]).shape == (0, 8)


def test_a_picture_is_the_same_as_path_pil_image_and_array(model, layout):
    paths = files(layout, ".png")[:3]
    expected = model.encode_image(paths)
    pictures = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(model.encode_image(pictures), expected)
    np.testing.assert_array_equal(model.encode_image([np.asarray(p) for p in pictures]), expected)
    np.testing.assert_array_equal(model.encode_image([str(path) for path in paths]), expected)


def test_a_sound_is_the_same_as_path_and_as_array_with_its_rate(model, layout):
    [path] = [path for path in files(layout, ".wav") if path.stem == "3"]
    samples, rate = soundfile.read(path, dtype="float32")
    expected = model.encode_audio([path])
    np.testing.assert_array_equal(model.encode_audio([samples], rate=rate), expected)
    stereo = np.stack([samples, samples], axis=1)
    np.testing.assert_allclose(model.encode_audio([stereo], rate=rate), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda m: m.encode_text("a bird"), r'a list is expected, such as \["a bird"\], not one str'),
        (lambda m: m.encode_text(["w1", 3]), "text 1: is a int, not a text"),
        (lambda m: m.encode_text([" "]), "text 0: is empty"),
        (lambda m: m.encode_image(["none.png"]), "none.png: no such file"),
        (lambda m: m.encode_image([np.zeros((4, 4, 3))]), r"image 0: is an array float64 \(4, 4, 3\)"),
        (lambda m: m.encode_audio([np.zeros(9, np.float32)]), "audio 0: is an array; give its sample rate"),
        (lambda m: m.encode_audio([np.zeros(9, np.int16)], rate=16_000), "audio 0: is an array int16"),
        (lambda m: m.encode_text(["w1"], on_error="ignore"), "on_error: 'ignore': must be"),
        (lambda m: m.encode("video", ["x"]), "has no video; it has text, image, audio"),
    ],
)  # fmt: skip
def test_what_cannot_be_embedded_is_refused_by_name(model, call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(model)


def test_skipped_items_are_named_and_their_rows_are_nan(model, tmp_path):
    good, bad = picture(tmp_path / "good.png", 1), tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"bad\.png: cannot be decoded.*; skipped, its row is NaN"):
        found = model.encode_image([bad, good, good], on_error="skip")
    assert np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(found[1:], model.encode_image([good, good], on_error="skip"))


def test_a_folder_with_a_changed_file_is_refused(out, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    tokenizer = copy / "text" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(ValueError, match=r"text/tokenizer\.json: changed or missing since the export"):
        crossmodal_peft.load(copy)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds neither model\.json nor cell\.json"):
        crossmodal_peft.load(tmp_path)


def test_what_does_not_reproduce_the_cell_is_not_written(layout, cell, tmp_path):
    path = layout.raw.parent / "files" / "11.png"
    before = path.read_bytes()
    picture(path, 99)
    try:
        with pytest.raises(ValueError, match=r"the image embeddings differ .*; nothing was written"):
            export_cell(cell.name, layout, tmp_path / "out")
    finally:
        path.write_bytes(before)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten(layout, cell, tmp_path):
    with pytest.raises(ValueError, match="is there already"):
        export_cell(cell.name, layout, tmp_path)


def test_the_card_says_what_it_is_how_good_and_how_to_load_it(model):
    for part in (
        "crossmodal_peft.load(",
        "made here: bert",
        "| text->image",
        "lora (peft_library, r = 4)",
        "hit@10",
        "gallery",
    ):
        assert part in model.card


def test_the_folder_names_no_path_of_the_project(layout, out):
    assert not naming(str(layout.raw.parent), out)


def test_a_bf16_cell_is_exported_and_stays_near(layout, tmp_path):
    cell = make_trained(layout, TRIO, "houlsby", precision="bf16")
    found = export_cell(cell.name, layout, tmp_path / "out")
    assert max(found.values()) < 5e-3
    assert WEIGHTS not in {path.name for path in (tmp_path / "out").iterdir()}
