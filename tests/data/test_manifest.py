"""Claims about the user's own data: a table is enough, and what cannot be used is reported."""

import json
import re
import shutil
import unicodedata
from collections import namedtuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiny_data
import yaml
from conftest import copy_repository, run
from tiny import encoder_of

from crossmodal_peft.config import plugins
from crossmodal_peft.contracts.tiny import write_preprocessing
from crossmodal_peft.data.items import Item, Refused

manifest = plugins.module("datasets", "manifest")
SIDES = ["train"] * 4 + ["validation"] * 2 + ["test"] * 3


def rows(count=9):
    return [
        {
            "id": f"bird {i}",
            "split": SIDES[i],
            "caption": f'A "small" bird no. {i}, singing.',
            "image": f"pictures/{i}.png",
            "audio": f"sounds/{i}.wav",
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("birds")
    for i in range(9):
        tiny_data.picture(folder / "pictures" / f"{i}.png", i)
        tiny_data.sound(folder / "sounds" / f"{i}.wav", i)
    (folder / "pictures" / "broken.png").write_bytes(b"not an image")
    (folder / "sounds" / "broken.wav").write_bytes(b"RIFF not audio")
    return folder


def write(folder, table, name="birds.csv"):
    pd.DataFrame(table).to_csv(folder / name, index=False)
    return folder / name


def settings_of(path, modalities=("text", "image", "audio"), **keys):
    return tiny_data.dataset(kind="manifest", manifest=str(path), modalities=modalities, **keys)


def found(path, **keys):
    return list(manifest.items(path.parent, settings_of(path, **keys)))


def refusals(path, **keys):
    return {item.name: item.reason for item in found(path, **keys) if isinstance(item, Refused)}


def test_a_table_and_its_files_are_prepared_trained_and_evaluated(media, layout):
    table = [*rows(), rows()[0] | {"id": "silent", "audio": "sounds/broken.wav"}]
    data = settings_of(write(media, table, "whole.csv"), max_lost=0.2)
    line, prepared = tiny_data.prepare(data, layout)
    assert line.startswith("tiny: 3 test, 4 train, 2 validation items; ")
    assert "gallery of the test split: 3 audio, 3 image, 3 text; 1 refused" in line
    assert "broken.wav: cannot be decoded" in prepared.set_index("item").reason["silent"]
    assert pd.read_csv(layout.manifest("tiny").with_name("refused.csv")).item.tolist() == ["silent"]
    record = tiny_data.train(data, layout)
    assert len(record["metrics"]) == 6
    assert all(0 <= metrics["hit@1"] <= 1 for metrics in record["metrics"].values())


def test_a_split_column_is_respected_and_without_it_a_hash_decides(media):
    kept = found(write(media, rows()))
    assert [item.split for item in kept] == SIDES
    hashed = found(write(media, [{k: v for k, v in row.items() if k != "split"} for row in rows()]))
    assert [item.split for item in hashed] == [None] * 9


def test_csv_parquet_and_json_lines_give_the_same_items(media):
    table = rows()
    for row in table:
        row["captions"] = ["One. Two.", 'said "three"']
        del row["caption"]
    pd.DataFrame(table).to_parquet(media / "birds.parquet")
    (media / "birds.jsonl").write_text("\n".join(map(json.dumps, table)))
    write(media, [row | {"captions": json.dumps(row["captions"])} for row in table])
    items = found(media / "birds.csv")
    assert items == found(media / "birds.parquet") == found(media / "birds.jsonl")
    assert items[0] == Item(
        name="bird 0",
        group="birds:bird 0",
        texts=["One. Two.", 'said "three"'],
        images=[media / "pictures/0.png"],
        audios=[media / "sounds/0.wav"],
        split="train",
        labels=("one. two", 'said "three"'),
    )


def test_a_name_that_is_composed_in_another_way_on_the_disk_is_found(media):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        file = media / unicodedata.normalize(form, f"Käuzchen {form}") / unicodedata.normalize(form, "ü.png")
        tiny_data.picture(file, 1)
        name = unicodedata.normalize(other, str(file.relative_to(media)))
        [item] = found(write(media, [rows()[0] | {"image": name}], "accents.csv"))
        assert item.images == [file] and name not in str(file)


def test_a_table_whose_name_is_composed_in_another_way_is_found(media):
    path = write(media, rows(), unicodedata.normalize("NFD", "Vögel.csv"))
    data = settings_of(str(path).replace(path.name, unicodedata.normalize("NFC", path.name)))
    assert data.read == [str(path)] and manifest.unpack(media, media, **data.origin) == media
    assert len(manifest.download(media, **data.origin)["sha256"]) == 64
    assert len(list(manifest.items(media, data))) == 9


@pytest.mark.parametrize("name", ["pictures\\0.png", "./pictures/0.png", " pictures/0.png\t"])
def test_names_of_other_systems_and_with_blanks_are_found(media, name):
    [item] = found(write(media, [rows()[0] | {"image": name}], "names.csv"))
    assert item.images == [media / "pictures" / "0.png"]


def test_a_name_is_first_what_is_written(media):
    for i, name in enumerate(("b\\0.png", " 0.png", unicodedata.normalize("NFD", "ä.png"), "ä.png")):
        tiny_data.picture(media / name, 20 + i)
        [item] = found(write(media, [rows()[0] | {"image": name}], "exact.csv"))
        assert item.images == [media / name]


def test_a_text_where_a_file_belongs_is_no_file_however_long(media):
    reasons = refusals(write(media, [rows()[0] | {"image": "A bird. " * 50}], "long name.csv"))
    assert reasons["bird 0"].endswith("no such file")


@pytest.mark.parametrize("name", ["captions (1).csv", "it's [ä] #1 {x}; $y.csv"])
def test_the_name_of_a_table_may_hold_anything(media, name):
    path = write(media, rows(), name)
    assert [type(item) for item in found(path)] == [Item] * 9
    assert re.fullmatch(r"manifest-[\w.-]+-[0-9a-f]{8}", settings_of(path).source)


def test_long_groups_stay_apart_beside_a_missing_one(media):
    table = [row | {"id": i, "group": 2**60 + i} for i, row in enumerate(rows())]
    del table[8]["group"]
    (media / "long.jsonl").write_text("\n".join(map(json.dumps, table)))
    pa.Table.from_pylist(table).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).to_parquet(
        media / "long.parquet"
    )
    for name in ("long.jsonl", "long.parquet"):
        groups = [item.group for item in found(media / name)]
        assert groups == [*(str(2**60 + i) for i in range(8)), "long:8"]


def test_a_group_that_was_rounded_on_the_way_is_refused(media):
    table = [row | {"group": float(2**60 + i) if i else None} for i, row in enumerate(rows())]
    reasons = refusals(write(media, table, "rounded.csv"))
    assert len(reasons) == 8 and "was rounded" not in reasons["bird 1"]
    assert reasons["bird 1"].startswith("group is 1.152921504606847e+18, a rounded number")


def test_columns_that_are_not_read_are_named(media, capsys):
    found(write(media, [row | {"licence": "CC0", "age": 3} for row in rows()], "more.csv"))
    assert capsys.readouterr().out.endswith("more.csv: columns that are not read: licence, age\n")


@pytest.mark.parametrize("header", [" split", "Split", "SPLIT\u00a0", "\ufeffsplit"])
def test_a_header_in_other_letters_is_the_column_it_means(media, header):
    table = [{header if key == "split" else key: value for key, value in row.items()} for row in rows()]
    assert [item.split for item in found(write(media, table, "header.csv"))] == SIDES


@pytest.mark.parametrize("header", ["splits", "spilt", "data_split", "groups", "Label_", "clip id"])
def test_a_header_that_may_be_meant_is_refused(media, header):
    table = [{("id2" if key == "split" else key): value for key, value in row.items()} for row in rows()]
    for row in table:
        row[header] = row.pop("id2")
    if "id" in header:
        table = [{key: value for key, value in row.items() if key != "id"} for row in table]
    with pytest.raises(ValueError, match=f"unknown column '{header}': did you mean '(split|group|label|id)'"):
        found(write(media, table, "near.csv"))


@pytest.mark.parametrize(
    "caption", ["null", "NA", "None", "nan", "\ufeffA bird", "007", "1e3", "TRUE", "=1+1", "A; b\tc"]
)
def test_a_caption_is_what_is_written(media, caption):
    [item] = found(write(media, [rows()[0] | {"caption": caption}], "words.csv"))
    assert item.texts == [caption]


MISTAKES = {
    "no caption": {"caption": " "},
    "no image": {"image": ""},
    "pictures/none.png: no such file": {"image": "pictures/none.png"},
    "/etc/x.png: must be relative": {"image": "/etc/x.png"},
    "split is 'dev', not one of: train, validation, test": {"split": "dev"},
    "split is '', not one of": {"split": ""},
    "its group 'a' is also in train; give all items of a group one split (what they are": {
        "group": "a",
        "split": "test",
    },
    "its file 0.png is also in train, as 'bird 0'; give both one split": {"image": "pictures/0.png"},
    "duplicate id": {"id": "bird 0"},
    "caption holds a list": {"caption": '["one", "two"]'},
    "caption holds a list (['one', 'two']); name the column captions": {"caption": "['one', 'two']"},
    "no id": {"id": ""},
}


@pytest.mark.parametrize("reason", MISTAKES)
def test_an_unusable_item_is_named_with_the_reason(media, reason):
    table = [row | {"group": "a" if row["split"] == "train" else ""} for row in rows()]
    table[8] |= MISTAKES[reason]
    refused = refusals(write(media, table, "mistake.csv"))
    assert len(refused) == 1 and reason in next(iter(refused.values()))


def test_a_run_stops_if_more_items_are_refused_than_allowed(media, layout):
    table = rows()
    for row in table[:2]:
        row["image"] = "pictures/broken.png"
    data = settings_of(write(media, table, "lossy.csv"), max_lost=0.2)
    with pytest.raises(
        ValueError, match=r"2 of 9 items were refused, more than max_lost 0.2 allows \(bird 0: broken"
    ):
        tiny_data.prepare(data, layout)
    assert not layout.manifest("tiny").exists()
    assert len(pd.read_csv(layout.manifest("tiny").with_name("refused.csv"))) == 2


def test_missing_files_stop_a_run_before_anything_is_decoded(media, layout, monkeypatch):
    table = [row | {"audio": "sounds/none.wav"} for row in rows()]
    data = settings_of(write(media, table, "gone.csv"))
    monkeypatch.setattr(manifest, "read_image", None)
    with pytest.raises(ValueError, match=r"9 of 9 items .*\(bird 0: sounds/none.wav: no such file; .*; …\)"):
        tiny_data.prepare(data, layout)


def test_a_long_clip_is_cut_to_the_encoders_window(media, layout):
    found = []
    for seconds in (0.5, 3.0):
        for i in range(9):
            tiny_data.sound(media / "long" / f"{i}.wav", i, seconds)
        table = [row | {"audio": f"long/{i}.wav"} for i, row in enumerate(rows())]
        data = settings_of(write(media, table, "long.csv"), ("text", "audio"))
        tiny_data.prepare(data, layout)
        found.append(np.load(layout.activations("tiny", "audio", "input")))
    assert (found[0] == found[1]).all()


def test_a_full_disk_stops_a_run_before_an_array_is_written(media, layout, monkeypatch):
    data = settings_of(write(media, rows(), "full.csv"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(100))
    with pytest.raises(OSError, match="text.npy: needs 0 MB more, 0 MB are free"):
        tiny_data.prepare(data, layout)


def test_a_changed_table_gives_another_receipt(media, layout):
    receipts = set()
    for table in (rows(), rows(8)):
        data = settings_of(write(media, table, "changing.csv"))
        tiny_data.fetch_dataset(data.source, data.kind, data.origin, layout)
        receipts.add((layout.dataset(data.source) / "source.json").read_text())
    assert len(receipts) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "id,captoin,image\n1,x,y\n",
            "no column caption or captions; its columns are: id, captoin, image",
        ),
        ("b.csv", "id,caption\n1,x\n", "no column image"),
        ("c.csv", "", "c.csv: No columns"),
        ("d.jsonl", '{"id": 1}\n{"id"\n', "d.jsonl, line 2: not valid JSON"),
        ("e.parquet", "not Parquet", "e.parquet"),
    ],
)
def test_an_unreadable_table_gives_a_one_line_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as refusal:
        found(tmp_path / name, modalities=("text", "image"))
    assert "\n" not in str(refusal.value)


def test_a_missing_table_says_where_it_was_looked_for(tmp_path):
    data = settings_of(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="none.csv: no such file or folder; it is relative to"):
        manifest.download(tmp_path, **data.origin)


def test_the_workflow_plans_every_kind_and_rereads_changed_tables_and_folders(media, tmp_path):
    (tmp_path / "project").mkdir()
    folder = copy_repository(tmp_path, tmp_path / "project")
    table, model = write(media, rows(), "planned.csv"), tmp_path / "roberta"
    encoder_of("roberta").model.save_pretrained(model)
    write_preprocessing("roberta", "text", model)
    sound, picture = {"audio": "whisper-tiny-en"}, {"image": "dinov2-small"}
    kinds = {
        "birds": {"kind": "manifest", "manifest": str(table), "encoders": sound | picture},
        "clotho": {"kind": "clotho", "encoders": sound},
        "audiocaps": {"kind": "audiocaps", "encoders": sound},
        "flickr30k": {"kind": "karpathy", "name": "flickr30k", "encoders": picture},
        "coco": {"kind": "karpathy", "name": "coco", "encoders": picture},
        "howto100m": {"kind": "howto100m", "encoders": sound | picture, "folder": "/videos"},
    }
    for block in kinds.values():
        block["encoders"] = {"text": "roberta-base", **block["encoders"]}
    overlay = {
        "encoders": {"roberta-base": {"source": {"folder": str(model)}}},
        "datasets": kinds,
        "matrix": {"datasets": list(kinds), "methods": ["frozen"], "seeds": [0]},
        "paths": {"raw": "raw"},
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    source = settings_of(table).source
    receipts = f"raw/datasets/{source}/source.json raw/encoders/roberta-base/source.json"
    run(f"snakemake --configfile overlay.yaml -- {receipts}", folder, PYTHONPATH=str(folder / "src"))
    assert (folder / "raw/encoders/roberta-base/model.safetensors").is_file()
    assert "Nothing to be done" in run(f"snakemake -n --configfile overlay.yaml -- {receipts}", folder)
    write(media, rows(8), "planned.csv")
    (model / "config.json").write_text((model / "config.json").read_text() + "\n")
    plan = run("snakemake -n --quiet host --configfile overlay.yaml", folder)
    assert f"download the dataset {source}" in plan
    assert "download the encoder roberta-base" in plan
    assert all(f"prepare {name}" in plan for name in kinds)
