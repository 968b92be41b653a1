"""Claims about the index and the search, against exact search, the evaluation and the trained cells."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import smoke_layout
from torch.nn import functional as F

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import read_manifests
from crossmodal_peft.data.audio import read_waveform
from crossmodal_peft.inference.opening import open_cell
from crossmodal_peft.retrieval.embeddings import Gallery
from crossmodal_peft.retrieval.topk import nearest
from crossmodal_peft.search import index as search_index
from crossmodal_peft.search.demo.queries import Query

IMAGE, SPEECH = "stamps-image/lora/0", "stamps-speech/lora/0"


def random_gallery(size: int, first: int) -> Gallery:
    generator = torch.Generator().manual_seed(first)
    embeddings = F.normalize(torch.randn(size, 16, generator=generator), dim=1)
    positions = np.arange(first, first + size)
    return Gallery(embeddings, positions % 7, positions)


@pytest.fixture
def manifest() -> pd.DataFrame:
    """Twenty captions and forty images of two datasets; captions 0 to 4 are in both."""
    texts = [f"caption {i}" for i in range(15)] + [f"caption {i}" for i in range(5)]
    frame = pd.DataFrame({"source": texts + [f"{i}.png" for i in range(40)]})
    frame["modality"] = ["text"] * 20 + ["image"] * 40
    frame["dataset"] = ["a"] * 15 + ["b"] * 5 + ["a"] * 40
    frame["label"] = [*range(15), *range(5)] + [i % 15 for i in range(40)]
    frame["labels"] = [(label,) for label in frame["label"]]
    return frame.assign(item=[f"item {i}" for i in range(60)])


def test_the_index_finds_what_exact_search_finds(manifest):
    images = random_gallery(40, 20)
    index = search_index.index_galleries("c", "test", [{"image": images}], manifest)
    queries = F.normalize(torch.randn(25, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    exact = nearest(queries, images.embeddings, 10)
    for query, items, scores in zip(queries.numpy(), exact.items, exact.scores):
        found = index.search(query, "image", 10)
        assert found["source"].tolist() == [f"{i}.png" for i in items]
        np.testing.assert_allclose(found["score"], scores, atol=1e-6)


def test_a_caption_in_two_datasets_is_found_once_and_every_item_has_its_caption(manifest):
    texts = random_gallery(20, 0)
    index = search_index.index_galleries(
        "c", "test", [{"text": texts, "image": random_gallery(40, 20)}], manifest
    )
    assert index.items["text"]["source"].tolist() == [f"caption {i}" for i in range(15)]
    assert index.vectors["text"].ntotal == 15
    np.testing.assert_array_equal(index.embedding("text", 3), texts.embeddings[3].numpy())
    assert index.items["image"]["caption"].tolist() == [f"caption {i % 15}" for i in range(40)]


def test_a_stored_index_keeps_what_items_are_relevant_by(manifest, tmp_path):
    manifest["labels"] = [(label, 100 + i % 2) for i, label in enumerate(manifest["label"])]
    index = search_index.index_galleries("c", "test", [{"image": random_gallery(40, 20)}], manifest)
    search_index.save_index(index, "none", tmp_path / "index")
    stored = pd.read_parquet(tmp_path / "index" / "image.parquet")
    query = Query("text", labels=frozenset({3, 101}))
    assert list(stored["labels"].map(query.shares)) == [i % 15 == 3 or i % 2 == 1 for i in range(40)]


def test_no_more_items_are_found_than_there_are(manifest):
    index = search_index.index_galleries("c", "test", [{"image": random_gallery(4, 20)}], manifest)
    found = index.search(np.ones(16), "image", 10)
    assert found["rank"].tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="c has no audio; it has image"):
        index.search(np.ones(16), "audio", 10)


@pytest.fixture
def layout(smoke: Path, tmp_path: Path) -> Layout:
    """The smoke cells, with indexes in a separate folder."""
    layout = smoke_layout(smoke)
    (tmp_path / "prepared").symlink_to(layout.prepared)
    return Layout(layout.raw, tmp_path / "prepared", layout.checkpoints, layout.results)


def test_an_example_finds_what_the_evaluation_retrieved_for_it(smoke, layout):
    queries = pd.read_parquet(smoke_layout(smoke).checkpoint(IMAGE) / "queries.parquet")
    queries = queries[queries["direction"] == "text->image"]
    sources = read_manifests(layout.manifests("stamps-image"))["source"]
    index = search_index.build_index(IMAGE, layout, "test")
    assert len(queries) == len(index.items["text"])
    for row, query in enumerate(queries.itertuples()):
        assert index.items["text"]["source"][row] == sources[query.query]
        found = index.search(index.embedding("text", row), "image", 10)
        np.testing.assert_allclose(found["score"], query.scores, atol=1e-5)
        assert set(found["source"][:3]) == set(sources[query.retrieved[:3]])


@pytest.mark.parametrize(("cell", "modality"), [(IMAGE, "text"), (IMAGE, "image"), (SPEECH, "audio")])
def test_querying_with_an_items_own_content_gives_the_items_embedding(layout, cell, modality):
    index, encoder = search_index.open_index(cell, layout), open_cell(cell, layout)
    stamps = plugins.module("datasets", "stamps")
    root = stamps.unpack(layout.dataset("stamps"), layout.unpacked("stamps"))
    read = {
        "text": str,
        "image": lambda s: stamps.read_image(root / s),
        "audio": lambda s: read_waveform(root / s),
    }
    for row in range(0, len(index.items[modality]), 7):
        embedding = encoder.embed_media(modality, [read[modality](index.items[modality]["source"][row])])[0]
        assert embedding @ index.embedding(modality, row) > 0.995


def test_an_index_of_all_splits_holds_every_item_once(layout):
    index = search_index.build_index(IMAGE, layout, "all")
    manifest = read_manifests(layout.manifests("stamps-image"))
    images = manifest.loc[manifest["modality"] == "image", "source"]
    assert sorted(index.items["image"]["source"]) == sorted(images)
    again = search_index.open_index(IMAGE, layout)
    assert again.split == "all"
    pd.testing.assert_frame_equal(again.items["image"], index.items["image"])


def test_an_index_of_other_weights_is_rebuilt(layout):
    search_index.build_index(IMAGE, layout, "validation")
    file = layout.index(IMAGE) / "index.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"weights_sha256": "0" * 64}))
    assert search_index.open_index(IMAGE, layout).split == "validation"
    assert json.loads(file.read_text()) == content


def test_a_changed_index_is_refused_with_the_command_that_rebuilds_it(layout):
    search_index.build_index(IMAGE, layout, "test")
    file = layout.index(IMAGE) / "image.faiss"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ValueError, match=r"image\.faiss: changed.*crossmodal-peft index"):
        search_index.open_index(IMAGE, layout)


def test_an_incomplete_index_is_rebuilt(layout):
    search_index.build_index(IMAGE, layout, "test")
    (layout.index(IMAGE) / "index.json").unlink()
    assert len(search_index.open_index(IMAGE, layout).items["image"]) > 10


def test_trained_cells_are_those_with_a_cell_file_ordered_by_seed(tmp_path):
    layout = Layout(tmp_path, tmp_path, tmp_path / "checkpoints", tmp_path)
    for seed in (10, 9):
        folder = layout.checkpoint(f"d/lora/{seed}")
        folder.mkdir(parents=True)
        (folder / "cell.json").touch()
    layout.checkpoint("d/full/0").mkdir(parents=True)
    assert layout.trained_cells() == ["d/lora/9", "d/lora/10"]
    shutil.rmtree(layout.checkpoints)
    assert layout.trained_cells() == []
