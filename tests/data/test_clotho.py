"""Claims about Clotho, on a tiny copy in its official layout, over HTTP on this machine."""

import hashlib
import unicodedata
from dataclasses import replace

import py7zr
import pytest
import tiny_data

from crossmodal_peft.data.datasets import clotho


def clotho_split(folder, split, clips):
    """The three files of a split; one file name has a colon, one an accent, the metadata is ISO-8859-1."""
    names = [f"{split} café: {i}.wav" for i in range(clips)]
    for i, name in enumerate(names):
        tiny_data.sound(folder / split / name, i, seconds=0.6 + 0.1 * i, rate=44_100)
    rows = [
        {"file_name": n} | {f"caption_{i + 1}": f"{q} {n}" for i, q in enumerate(tiny_data.QUIRKS)}
        for n in names
    ]
    tiny_data.write_csv(folder / f"clotho_captions_{split}.csv", rows)
    metadata = "file_name,keywords,license\n" + "".join(f"{n},dog;café,CC0\n" for n in names)
    (folder / f"clotho_metadata_{split}.csv").write_bytes(metadata.encode("iso-8859-1"))


@pytest.fixture
def clotho_server(server, monkeypatch):
    """A local server with Clotho as on Zenodo, but with fewer clips and their digests."""
    folder, parts = server.folder, {}
    for (split, part), clips in zip(clotho.PARTS.items(), (8, 3, 4)):
        clotho_split(folder, split, clips)
        with py7zr.SevenZipFile(folder / f"clotho_audio_{split}.7z", "w") as archive:
            archive.writeall(folder / split, split)
        digests = {
            key: hashlib.md5((folder / name).read_bytes()).hexdigest()
            for key, name in (
                ("audio", f"clotho_audio_{split}.7z"),
                ("captions", f"clotho_captions_{split}.csv"),
                ("metadata", f"clotho_metadata_{split}.csv"),
            )
        }
        parts[split] = replace(part, clips=clips, **digests)
    monkeypatch.setattr(clotho, "PARTS", parts)
    monkeypatch.setattr(clotho, "RECORD", server.url)
    return server


def test_clotho_is_downloaded_prepared_trained_and_evaluated(clotho_server, layout):
    clotho_server.cuts = [100_000_000] * 2 + [3000]  # The archive of development is cut off.
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    line, manifest = tiny_data.prepare(data, layout)
    assert (clotho_server.requests[3][0], clotho_server.requests[3][1]) == (
        "/clotho_audio_development.7z?download=1",
        3000,
    )
    assert (
        "4 test, 8 train, 3 validation items; gallery of the test split: 4 audio, 20 text; 0 refused" in line
    )
    texts = manifest[
        (manifest["item"] == "evaluation/evaluation café: 0.wav") & (manifest.modality == "text")
    ]
    assert texts.source.tolist() == [f"{q} evaluation café: 0.wav".strip() for q in tiny_data.QUIRKS]
    assert not list(layout.raw.rglob("*.7z"))
    record = tiny_data.train(data, layout)
    tiny_data.check_directions(record, 2)


def test_a_corrupted_download_stops_clotho_and_the_next_run_repairs_it(clotho_server, layout):
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    archive = clotho_server.folder / "clotho_audio_validation.7z"
    intact = archive.read_bytes()
    archive.write_bytes(intact[:-1] + b"x")
    with pytest.raises(
        RuntimeError, match="clotho_audio_validation.7z could not be downloaded .* md5 does not match"
    ):
        tiny_data.prepare(data, layout)
    assert not (layout.dataset("clotho") / "source.json").exists()
    archive.write_bytes(intact)
    clotho_server.requests.clear()
    line, _ = tiny_data.prepare(data, layout)
    assert "0 refused" in line
    assert not [path for path, _ in clotho_server.requests if "development" in path]


def test_clotho_in_the_layout_of_the_dcase_baselines_is_read_in_place(clotho_server, layout):
    folder = clotho_server.folder
    (folder / "evaluation" / "evaluation café: 0.wav").unlink()
    (folder / "validation" / "validation café: 1.wav").write_bytes(b"RIFF not audio")
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"], folder=str(folder), max_lost=0.2)
    line, manifest = tiny_data.prepare(data, layout)
    assert clotho_server.requests == []
    reasons = manifest[manifest.reason != ""].set_index("item").reason
    assert "no such file" in reasons["evaluation/evaluation café: 0.wav"]
    assert "cannot be decoded" in reasons["validation/validation café: 1.wav"]
    assert "gallery of the test split: 3 audio, 15 text; 2 refused" in line


def test_a_clotho_table_with_the_wrong_number_of_clips_is_named(clotho_server, layout, monkeypatch):
    parts = clotho.PARTS | {"validation": replace(clotho.PARTS["validation"], clips=1045)}
    monkeypatch.setattr(clotho, "PARTS", parts)
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    reasons = tiny_data.refusals(tiny_data.found(clotho, clotho_server.folder, data))
    assert reasons == {"clotho_captions_validation.csv": "has 3 clips, but 1045 were published"}


def one_clip(root, name, row):
    """Clotho in the layout of DCASE with one clip a split; `row` is the line of the validation's table."""
    for split in clotho.PARTS:
        tiny_data.sound(root / split / name, 1)
        header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
        text = row if split == "validation" else f"{name},A,B,C,D,E\n"
        (root / f"clotho_captions_{split}.csv").write_text(header + text, encoding="utf-8-sig")
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    return [item for item in tiny_data.found(clotho, root, data) if not hasattr(item, "reason")]


@pytest.mark.parametrize("name", [" rain.wav", "rain .wav", "(1) [a] 'b' #c; d.wav", "café.wav", "b\\c.wav"])
def test_a_file_name_of_clotho_may_hold_anything(tmp_path, name):
    items = one_clip(tmp_path, name, f"{unicodedata.normalize('NFD', name)},null,NA,C,D,E\n")
    assert [item.audios[0].name for item in items] == [name] * 3
    assert items[1].texts == ["null", "NA", "C", "D", "E"]


def test_a_row_of_clotho_with_another_number_of_captions_is_refused_by_its_line(tmp_path):
    for row, count in (("a.wav,A, then B,C,D,E,F\n", 7), ("a.wav,A,B,C,D\n", 5)):
        with pytest.raises(ValueError, match=f"clotho_captions_validation.csv, line 2: {count} fields, but"):
            one_clip(tmp_path, "a.wav", row)


SUBSETS = {"development": "dev", "validation": "val", "evaluation": "eval"}  # in aac-datasets


def test_urls_and_digests_are_those_of_the_library_aac_datasets(aac_datasets):
    links = aac_datasets.datasets.functional.clotho._CLOTHO_LINKS["v2.1"]
    for split, part in clotho.PARTS.items():
        theirs = {link["url"]: link["hash_value"] for link in links[SUBSETS[split]].values()}
        ours = [
            clotho._published(f"clotho_captions_{split}.csv", part.captions),
            clotho._published(f"clotho_metadata_{split}.csv", part.metadata),
            clotho._published(f"clotho_audio_{split}.7z", part.audio),
        ]
        assert {file.url: file.digest for file in ours} == theirs


def test_the_library_aac_datasets_reads_the_same_clips_and_captions(clotho_server, tmp_path, aac_datasets):
    clotho.download(tmp_path, folder=None, mirrors=[])
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    items = tiny_data.found(clotho, tmp_path, data)
    for split, subset in SUBSETS.items():
        theirs = aac_datasets.Clotho(tmp_path, subset, verbose=0)
        ours = [item for item in items if item.name.startswith(f"{split}/")]
        assert [item.audios[0].name for item in ours] == theirs[:, "fname"]
        assert [item.texts for item in ours] == [
            [t.strip() for t in texts] for texts in theirs[:, "captions"]
        ]
        assert [str(item.audios[0]) for item in ours] == theirs[:, "fpath"]
