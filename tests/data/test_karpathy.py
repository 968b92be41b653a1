"""Claims about Flickr30k and COCO, on tiny copies with the split files of Karpathy & Fei-Fei."""

import hashlib
import json
import shutil
import zipfile

import pytest
import tiny_data

from crossmodal_peft.data.datasets import karpathy
from crossmodal_peft.data.http import Published
from crossmodal_peft.data.items import Refused


def karpathy_json(root, name, sides):
    """Write a split file and its photographs; `sides` has the split of each."""
    images = []
    for i, side in enumerate(sides):
        entry = {"filename": f"{i}.jpg", "split": side, "imgid": i}
        entry |= {"filepath": "val2014" if i % 2 else "train2014"} if name == "coco" else {}
        entry["sentences"] = [{"raw": f"{q} {i}", "tokens": ["x"]} for q in tiny_data.QUIRKS]
        tiny_data.picture(root / entry.get("filepath", "flickr30k-images") / entry["filename"], i)
        images.append(entry)
    (root / f"dataset_{name}.json").write_text(json.dumps({"images": images, "dataset": name}))


SIDES = ["train"] * 5 + ["restval"] * 3 + ["val"] * 3 + ["test"] * 4


def test_flickr30k_says_what_is_missing_and_continues_once_it_is_there(layout, monkeypatch):
    monkeypatch.setitem(karpathy.PHOTOGRAPHS, "flickr30k", len(SIDES))
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    root = layout.dataset("karpathy-flickr30k")
    with pytest.raises(ValueError, match=r"dataset_flickr30k.json: no such file; .*caption_datasets.zip"):
        tiny_data.prepare(data, layout)
    karpathy_json(root, "flickr30k", SIDES)
    (root / "flickr30k-images").rename(root / "elsewhere")
    with pytest.raises(ValueError, match="flickr30k-images: no such folder; fill in the form"):
        tiny_data.prepare(data, layout)
    (root / "elsewhere").rename(root / "flickr30k-images")
    line, _ = tiny_data.prepare(data, layout)
    assert (
        "4 test, 8 train, 3 validation items; gallery of the test split: 4 image, 20 text; 0 refused" in line
    )
    tiny_data.check_directions(tiny_data.train(data, layout), 2)


def test_coco_is_downloaded_prepared_trained_and_evaluated(server, layout, monkeypatch):
    monkeypatch.setitem(karpathy.PHOTOGRAPHS, "coco", len(SIDES))
    karpathy_json(server.folder, "coco", SIDES)
    root = layout.dataset("karpathy-coco")
    root.mkdir(parents=True)
    shutil.move(server.folder / "dataset_coco.json", root)
    for part in karpathy.COCO:
        with zipfile.ZipFile(server.folder / f"{part}.zip", "w") as archive:
            for path in sorted((server.folder / part).iterdir()):
                archive.write(path, f"{part}/{path.name}")
        digest = hashlib.sha256((server.folder / f"{part}.zip").read_bytes()).hexdigest()
        file = Published(f"{server.url}/gone/{part}.zip", "sha256", digest)
        monkeypatch.setitem(karpathy.COCO, part, file)
    data = tiny_data.dataset(kind="karpathy", name="coco", modalities=["text", "image"], mirrors=[server.url])
    line, _ = tiny_data.prepare(data, layout)
    assert "4 test, 8 train, 3 validation items" in line
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["train2014", "val2014"]
    tiny_data.check_directions(tiny_data.train(data, layout), 2)


def test_unusable_photographs_are_named_with_the_reason(tmp_path, monkeypatch):
    karpathy_json(tmp_path, "flickr30k", ["train", "train", "other", "test"])
    content = json.loads((tmp_path / "dataset_flickr30k.json").read_text())
    content["images"][0]["sentences"] = [{"raw": " "}]
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps(content))
    (tmp_path / "flickr30k-images" / "1.jpg").unlink()
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    assert tiny_data.refusals(tiny_data.found(karpathy, tmp_path, data)) == {
        "dataset_flickr30k.json": "has 4 photographs, but 31014 were published",
        "0.jpg": "no caption",
        "1.jpg": "flickr30k-images/1.jpg: no such file",
        "2.jpg": "split is 'other', not one of: train, restval, val, test",
    }


ODD = [None, 5, "x", [], {}, True, [None], ["x"], [{}], [{"raw": None}]]


@pytest.mark.parametrize("odd", ODD, ids=map(str, ODD))
def test_anything_in_the_place_of_a_value_is_refused_by_the_name_of_the_photograph(tmp_path, odd):
    karpathy_json(tmp_path, "flickr30k", ["train"] * 5)
    path = tmp_path / "dataset_flickr30k.json"
    content = json.loads(path.read_text())
    for image, key in zip(content["images"], ("filename", "split", "sentences", "filepath")):
        image[key] = odd
    content["images"].append(odd)
    path.write_text(json.dumps(content))
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    items = tiny_data.found(karpathy, tmp_path, data)
    assert [item.name for item in items if not isinstance(item, Refused)] == ["4.jpg"]
    assert len(items) == 7 and all("\n" not in item.reason for item in items if isinstance(item, Refused))
    for whole in (odd, {"images": odd}):
        path.write_text(json.dumps(whole))
        if not (isinstance(whole, dict) and isinstance(odd, list)):
            with pytest.raises(ValueError, match="dataset_flickr30k.json: "):
                tiny_data.found(karpathy, tmp_path, data)


def test_a_byte_order_mark_before_the_split_file_does_not_matter(tmp_path):
    karpathy_json(tmp_path, "flickr30k", ["train"])
    path = tmp_path / "dataset_flickr30k.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    assert [item.name for item in tiny_data.found(karpathy, tmp_path, data)][1:] == ["0.jpg"]


def test_datasets_share_a_receipt_only_if_they_share_a_source():
    pair = {"modalities": ["text", "image"]}
    blocks = [
        tiny_data.dataset(kind="karpathy", name="coco", **pair),
        tiny_data.dataset(kind="karpathy", name="coco", limit=5, **pair),
        tiny_data.dataset(kind="karpathy", name="coco", folder="/data/coco", **pair),
        tiny_data.dataset(kind="karpathy", name="flickr30k", **pair),
    ]
    sources = [block.source for block in blocks]
    assert sources[0] == sources[1] == "karpathy-coco"
    assert len(set(sources)) == 3
