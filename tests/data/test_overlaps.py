"""Claims about a user's own data: nothing stands on two sides of the split, and what is equal is relevant."""

import shutil
import time
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
import tiny_data
import tiny_raw
import torch
from torch.nn import functional as F

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import Split
from crossmodal_peft.data.arrays import read_manifests
from crossmodal_peft.data.items import Item, Refused, split_of
from crossmodal_peft.data.labels import apart, normal_form, with_labels
from crossmodal_peft.data.overlaps import first_copies, overlaps, own_items
from crossmodal_peft.report.evaluation_table import readable
from crossmodal_peft.retrieval.embeddings import gallery, gallery_rows
from crossmodal_peft.retrieval.evaluate import evaluate
from crossmodal_peft.stages.score import score_split

manifest = plugins.module("datasets", "manifest")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for i in range(40):
        tiny_data.picture(folder / f"{i}.jpg", i)
    for i in range(6):
        tiny_data.sound(folder / f"{i}.wav", i)
    shutil.copy(folder / "0.jpg", folder / "copy of 0.jpg")
    return folder


def settings_of(path, modalities=("text", "image")):
    return tiny_data.dataset(kind="manifest", manifest=str(path), modalities=modalities)


def found(folder, rows, modalities=("text", "image")):
    path = tiny_data.write_csv(folder / "own.csv", rows)
    return list(manifest.items(folder, settings_of(path, modalities)))


def accepted(folder, rows, modalities=("text", "image")):
    items = found(folder, rows, modalities)
    assert all(isinstance(item, Item) for item in items), items
    return items


def side(item):
    return item.split or split_of(item.group, Split())


def flickr(pictures=40):
    """Flickr8k's captions.txt: a row for each of the five captions of a picture, and no other column."""
    return [
        {"image": f"{i}.jpg", "caption": f"Dog {i} seen by person {j} ."}
        for i in range(pictures)
        for j in range(5)
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A dog runs.", "a dog runs"),
        ("A dog  runs .", "A dog runs"),
        ("Ａ dog runs!", "A DOG RUNS"),
        ("Cafe\u0301.", "caf\u00e9"),
        ("a\u00a0dog\truns", "a dog runs"),
    ],
)
def test_captions_are_the_same_without_regard_to_case_spaces_and_punctuation_at_the_end(one, other):
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("A dog, a cat", "A dog a cat"), ("...", "?"), ("C", "C+")])
def test_captions_that_say_something_else_differ(one, other):
    assert normal_form(one) != normal_form(other)


def test_rows_of_one_picture_are_one_item_with_all_its_captions(media):
    items = accepted(media, flickr())
    assert len(items) == 40
    assert items[3].name == "3.jpg" and items[3].texts == [f"Dog 3 seen by person {j} ." for j in range(5)]
    assert len(items[3].also) == 4
    named = accepted(media, [{"id": n, **row} for n, row in enumerate(flickr())])
    assert [(item.images, item.texts) for item in named] == [(item.images, item.texts) for item in items]
    assert named[3].name == "15" and named[3].also == ("16", "17", "18", "19")


def test_rows_of_one_picture_equal_a_list_of_its_captions(media):
    lists = [
        {
            "image": f"{i}.jpg",
            "captions": pd.Series([f"Dog {i} seen by person {j} ." for j in range(5)]).to_json(
                orient="values"
            ),
        }
        for i in range(40)
    ]
    a, b = accepted(media, flickr()), accepted(media, lists)
    assert [(i.name, i.texts, i.labels, i.group) for i in a] == [
        (i.name, i.texts, i.labels, i.group) for i in b
    ]


def prepared(folder, rows, layout, modalities=("text", "image")):
    data = settings_of(tiny_data.write_csv(folder / "own.csv", rows), modalities)
    line, _ = tiny_data.prepare(data, layout)
    return line, read_manifests({"tiny": layout.manifest("tiny")})


def galleries(table, split, vectors):
    """The galleries of a split; `vectors` gives the embedding of a source."""
    found = {}
    for modality in table["modality"].unique():
        rows = gallery_rows(table, split, modality)
        embeddings = torch.tensor(
            np.array([vectors(source) for source in rows["source"]]), dtype=torch.float32
        )
        found[modality] = gallery(F.normalize(embeddings, dim=1), rows)
    return found


def recall(table, vectors, ks=(1, 5, 10), split="test"):
    directions = evaluate({"d": galleries(table, split, vectors)}, ks)
    return {name: direction.summary for name, direction in directions.items()}


def one_hot(source):
    """A perfect model for `flickr`: the embedding says which dog it is."""
    number = int(source.split(".")[0] if source.endswith(".jpg") else source.split()[1])
    return np.eye(40)[number] + 0.01


def test_flickrs_rows_give_the_right_recall_with_the_right_gallery(media, layout):
    line, table = prepared(media, flickr(), layout)
    tests = table[table.split == "test"]
    pictures = tests.loc[tests.modality == "image", "item"].nunique()
    assert f"gallery of the test split: {pictures} image, {5 * pictures} text; 0 refused" in line
    assert "160 rows joined to others with the same files" in line
    summaries = recall(table, one_hot)
    for name, queries, size in (
        ("text->image", 5 * pictures, pictures),
        ("image->text", pictures, 5 * pictures),
    ):
        assert (summaries[name]["queries"], summaries[name]["gallery"]) == (queries, size)
        assert summaries[name]["hit@1"] == 1
    assert summaries["image->text"]["recall@5"] == 1
    assert summaries["image->text"]["caps"] == {"recall@1": 0.2}
    # One model that takes each dog for the next: nothing is right.
    wrong = {
        name: f"{(int(name.split('.')[0]) + 1) % 40}.jpg" for name in tests.source if name.endswith(".jpg")
    }
    assert recall(table, lambda source: one_hot(wrong.get(source, source)), (1,))["text->image"]["hit@1"] < 1


@pytest.mark.parametrize("ids", [True, False])
def test_no_picture_stands_on_two_sides_of_a_split_by_hash(media, ids):
    rows = [{"id": f"x{n}", **row} if ids else row for n, row in enumerate(flickr())]
    rows.append({**({"id": "again"} if ids else {}), "image": "copy of 0.jpg", "caption": "Something else."})
    sides = defaultdict(set)
    for item in accepted(media, rows):
        for picture in item.images:
            sides[picture.read_bytes()].add(side(item))
    assert all(len(of) == 1 for of in sides.values()) and len(sides) == 40


def test_a_file_under_two_names_is_one_item(media):
    rows = [
        {"id": "a", "image": "0.jpg", "caption": "A dog."},
        {"id": "b", "image": "1.jpg", "caption": "A cat."},
        {"id": "c", "image": "copy of 0.jpg", "caption": "A puppy."},
    ]
    first, second = accepted(media, rows)
    assert (first.name, first.also, first.texts) == ("a", ("c",), ["A dog.", "A puppy."])
    assert first.images == [media / "0.jpg"] and second.also == ()


def test_equal_captions_stand_on_one_side(media):
    rows = [{"id": i, "image": f"{i}.jpg", "caption": f"Kind {i % 8}" + "." * (i % 2)} for i in range(40)]
    items = accepted(media, rows)
    of_caption = defaultdict(set)
    for item in items:
        of_caption[normal_form(item.texts[0])].add(item.group)
    assert len(items) == 40 and all(len(groups) == 1 for groups in of_caption.values())
    assert len({item.group for item in items}) == 8


def test_a_group_a_file_and_a_caption_unite_items_through_one_another(media):
    rows = [
        {"id": "a", "group": "g", "caption": "One.", "image": "0.jpg", "audio": "0.wav"},
        {"id": "b", "group": "g", "caption": "Two.", "image": "1.jpg", "audio": "1.wav"},
        {"id": "c", "group": "", "caption": "two", "image": "2.jpg", "audio": "2.wav"},
        {"id": "d", "group": "", "caption": "Four.", "image": "3.jpg", "audio": "2.wav"},
        {"id": "e", "group": "", "caption": "Five.", "image": "4.jpg", "audio": "3.wav"},
    ]
    groups = [item.group for item in accepted(media, rows, ("text", "image", "audio"))]
    assert len(set(groups[:4])) == 1 and groups[4] == "own:e"


def test_captions_that_unite_everything_stop_a_run_with_the_way_out(media, layout):
    rows = [{"id": i, "image": f"{i}.jpg", "caption": "The same."} for i in range(40)]
    with pytest.raises(ValueError, match="one group has 40 of 40 items, .* give them a column `label` too"):
        prepared(media, rows, layout)


def test_a_table_in_which_nothing_is_shared_keeps_its_groups(media):
    rows = [{"id": i, "image": f"{i}.jpg", "caption": f"Dog {i}."} for i in range(40)]
    assert [item.group for item in accepted(media, rows)] == [f"own:{i}" for i in range(40)]


def test_a_table_without_a_usable_row_gives_its_refusals(media):
    items = found(media, [{"id": i, "image": "none.jpg", "caption": "A dog."} for i in range(3)])
    assert [item.reason for item in items] == ["none.jpg: no such file"] * 3


def test_empty_files_are_not_the_same_item(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    rows = [{"id": n, "image": f"{n}.jpg", "caption": n} for n in "ab"]
    assert len(found(tmp_path, rows)) == 2


def test_every_row_of_a_damaged_file_is_refused_and_counted(media, layout):
    (media / "broken.jpg").write_bytes(b"404")
    rows = [*flickr(), *({"image": "broken.jpg", "caption": f"Nothing {i}."} for i in range(20))]
    line, _ = prepared(media, rows, layout)
    assert "; 20 refused" in line
    assert len(pd.read_csv(layout.manifest("tiny").with_name("refused.csv"))) == 20


def divided(count=40):
    sides = ["train"] * 24 + ["validation"] * 6 + ["test"] * 10
    return [{"id": i, "split": sides[i], "image": f"{i}.jpg", "caption": f"Dog {i}."} for i in range(count)]


def test_a_file_on_another_side_of_the_tables_split_is_refused(media):
    rows = divided()
    rows[39]["image"] = "copy of 0.jpg"
    [refused] = [item for item in found(media, rows) if isinstance(item, Refused)]
    assert refused == Refused("39", "its file 0.jpg is also in train, as '0'; give both one split")


def test_captions_on_several_sides_of_the_tables_split_are_counted_and_stay(media, layout):
    rows = divided()
    for i in (0, 38, 39):
        rows[i]["caption"] = "The same."
    line, table = prepared(media, rows, layout)
    assert line.endswith("; 1 caption on several sides, in 2 of 10 test items")
    assert table.groupby("split")["item"].nunique().to_dict() == {"test": 10, "train": 24, "validation": 6}


def digits(**columns):
    """Recordings of spoken digits, as pictures: ten digits, four speakers, six of each."""
    rows = []
    for digit in range(10):
        for speaker in range(4):
            for take in range(6):
                number = len(rows)
                rows.append(
                    {
                        "id": number,
                        "image": f"digits/{number}.png",
                        "caption": f"The digit {digit}, spoken by {speaker}.",
                        **{k: f(digit, speaker, take) for k, f in columns.items()},
                    }
                )
    return rows


@pytest.fixture(scope="module")
def spoken(media):
    for number in range(240):
        tiny_data.picture(media / "digits" / f"{number}.png", number + 1000)
    return media


def take_split(digit, speaker, take):
    return "test" if take == 0 else "validation" if take == 1 else "train"


def test_equal_captions_of_a_split_are_relevant_to_one_another(spoken, layout):
    rows = digits(split=lambda d, s, t: "test" if t < 2 else "validation" if t == 2 else "train")
    line, table = prepared(spoken, rows, layout)
    assert "0 refused" in line and "80 test" in line
    assert "40 captions on several sides, in 80 of 80 test items" in line
    summary = recall(table, lambda source: caption_vector(source, rows))["text->image"]
    assert (summary["queries"], summary["gallery"], summary["hit@1"]) == (40, 80, 1)
    assert not [name for name in summary["caps"] if name.startswith("hit")]


def caption_vector(source, rows):
    """A perfect model of the captions."""
    caption = rows[int(source.split("/")[1][:-4])]["caption"] if "/" in source else source
    return np.random.default_rng(list(caption.encode())).normal(size=16)


def test_a_group_stands_on_one_side_while_a_label_stands_on_all(spoken, layout):
    rows = digits(group=lambda d, s, t: f"speaker {s} take {t}", label=lambda d, s, t: d)
    items = accepted(spoken, rows)
    sides = defaultdict(set)
    for item in items:
        sides[item.group].add(side(item))
    assert all(len(of) == 1 for of in sides.values()) and len(sides) == 24
    labels = Counter((label, side(item)) for item in items for label in item.labels)
    assert len(labels) == 30
    _, table = prepared(spoken, rows, layout)
    tests = table[table.split == "test"]
    assert tests["label"].nunique() == 10
    sizes = recall(table, lambda source: caption_vector(source, rows))["text->image"]
    assert sizes["queries"] == tests.loc[tests.modality == "text", "source"].nunique()


def test_a_label_finer_than_the_captions_caps_recall_and_the_cap_is_reached(spoken, layout):
    rows = digits(
        split=lambda d, s, t: "test" if t < 4 else "validation" if t == 4 else "train", label=lambda *of: of
    )
    _, table = prepared(spoken, rows, layout)
    summaries = recall(table, lambda source: caption_vector(source, rows))
    for summary in summaries.values():
        assert summary["queries"] == 160
        assert summary["caps"] == {"hit@1": 0.25}
        assert summary["hit@1"] == pytest.approx(0.25) and summary["hit@5"] == 1


def test_a_trained_cell_records_the_cap_and_an_evaluation_prints_it(spoken, layout):
    rows = digits(split=take_split, label=lambda digit, speaker, take: f"{digit} {speaker}")
    for row in rows:
        row["caption"] = "A digit." if row["id"] // 6 % 2 else "A number."
    data = settings_of(tiny_data.write_csv(spoken / "own.csv", rows))
    tiny_data.prepare(data, layout)
    record = tiny_data.train(data, layout)
    # Twenty answers to each of two captions, and for a picture, one of twenty equal captions.
    for metrics in record["metrics"].values():
        assert metrics["caps"] == {"hit@1": 0.05, "hit@5": 0.25, "hit@10": 0.5}
        assert metrics["hit@10"] <= 0.5
    shown = readable(score_split("tiny/lora/0", "test", [1, 5, 10], layout))
    assert "] ≤ 5.0 |" in shown and "] ≤ 25.0 |" in shown and "] ≤ 50.0 |" in shown


def test_a_label_left_empty_is_refused(media):
    rows = [row | {"label": "" if row["id"] == 3 else "dog"} for row in divided()]
    [refused] = [item for item in found(media, rows) if isinstance(item, Refused)]
    assert refused == Refused("3", "no label; fill in the column or leave it out")


def test_a_shared_caption_of_two_pictures_finds_both_and_their_other_captions_one(media, layout):
    rows = divided()
    for i, other in ((38, "Fast."), (39, "Slow.")):
        rows.append(rows[i] | {"id": f"{i} b", "caption": "A dog."})
        rows[i]["caption"] = other
    _, table = prepared(media, rows, layout)
    summary = recall(table, lambda source: np.random.default_rng(list(source.encode())).normal(size=8))
    # Ten pictures; eight captions of one each, two of one each, and one of two pictures.
    assert (summary["text->image"]["queries"], summary["text->image"]["gallery"]) == (11, 10)
    of = galleries(table, "test", lambda source: np.ones(4))
    texts = [table.source[position] for position in of["text"].positions]
    shares = {
        text: int(
            sum(bool(set(np.atleast_1d(mine)) & set(np.atleast_1d(theirs))) for theirs in of["image"].labels)
        )
        for text, mine in zip(texts, of["text"].labels)
    }
    assert shares["A dog."] == 2 and shares["Fast."] == shares["Slow."] == 1 and sum(shares.values()) == 12


def test_a_picture_with_several_sounds_stands_once_in_the_gallery(media, layout):
    rows = [
        {"id": i, "split": split, "caption": f"Said {i}.", "image": f"{i // 2}.jpg", "audio": f"{i}.wav"}
        for i, split in enumerate(["train", "train", "validation", "validation", "test", "test"])
    ]
    _, table = prepared(media, rows, layout, ("text", "image", "audio"))
    summaries = recall(table, lambda source: np.ones(4), (1,))
    assert {name: (s["queries"], s["gallery"]) for name, s in summaries.items() if "image" in name} == {
        "text->image": (2, 1), "image->text": (1, 2), "audio->image": (2, 1), "image->audio": (1, 2),
    }  # fmt: skip
    assert summaries["image->audio"]["recall@1"] == 0.5 and summaries["audio->text"]["hit@1"] == 0.5


def test_labels_of_a_table_and_groups_of_another_dataset_go_together():
    rows = pd.DataFrame(
        {
            "dataset": ["a", "a", "b", "b"],
            "split": "test",
            "modality": ["text", "image", "text", "image"],
            "source": ["A dog.", "x.png", "A dog.", "y.png"],
            "group": ["own:1", "own:1", "b:1", "b:1"],
            "labels": ["a dog", "a dog", None, None],
        }
    )
    assert list(with_labels(rows)["labels"]) == [(0,), (0,), (1,), (1,)]


def test_captions_on_different_sides_of_datasets_trained_together_are_counted():
    rows = pd.DataFrame(
        {
            "dataset": ["a", "b", "a", "b", "a", "a", "b"],
            "split": ["train", "test", "test", "test", "train", "test", "train"],
            "labels": [(0, 1), (1,), (2,), (2,), (3,), (3,), (3,)],
        }
    )
    # Caption 1 is in train of a and test of b; caption 3 is a label that a has on both sides itself.
    assert apart(rows) == 1
    assert apart(rows[rows["dataset"] == "a"]) == 0


def test_only_files_with_the_same_size_and_head_are_read(tmp_path, monkeypatch):
    contents = {"a": b"11", "b": b"22", "c": b"11", "d": b"333", "e": b"444"}
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    read = []
    monkeypatch.setattr(
        "crossmodal_peft.data.overlaps.sha256",
        lambda path: read.append(path.name) or contents[path.name].hex(),
    )
    found = first_copies(paths)
    assert {a.name: b.name for a, b in found.items()} == {"a": "a", "b": "b", "c": "a", "d": "d", "e": "e"}
    assert read == ["a", "c"]


def test_what_official_splits_share_is_counted_and_nothing_is_moved(media):
    items = [
        Item("train/0", "d:train/0", ["A dog.", "Rex."], [media / "0.jpg"], split="train"),
        Item("test/0", "d:test/0", ["a dog", "Max."], [media / "1.jpg"], split="test"),
        Item("test/1", "d:test/1", ["Other."], [media / "copy of 0.jpg"], split="test"),
        Item("test/2", "d:test/2", ["Fourth."], [media / "2.jpg"], split="test"),
    ]
    counted = overlaps(items, Split())
    assert str(counted) == "1 file and 1 caption on several sides, in 2 of 3 test items"
    assert str(overlaps(items[3:], Split())) == ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("clotho", "1 file and 5 captions on several sides, in 1 of 1 test items"),
        ("audiocaps", "1 file and 2 captions on several sides, in 1 of 1 test items"),
        ("karpathy", ""),
        ("howto100m", "1 file in several items of one side"),
    ],
)
def test_duplicates_of_published_datasets_are_said(kind, said, tmp_path):
    module, block = plugins.module("datasets", kind), tiny_raw.MAKERS[kind](tmp_path)
    settings = tiny_data.dataset(kind=kind, modalities=module.MODALITIES, **block)
    items = [item for item in module.items(tmp_path, settings) if isinstance(item, Item)]
    assert items and all(item.split and not item.also for item in items)
    assert str(overlaps(items, settings.split)) == said


def test_parts_of_one_video_on_two_sides_are_counted(media):
    shutil.copy(media / "0.wav", media / "v0.mp4")
    shutil.copy(media / "0.wav", media / "v1.mp4")
    items = [
        Item(f"v{i}/0", f"h:v{i}", [f"Cut {i}."], audios=[media / f"v{i}.mp4#t=1.000,2.000"], split=split)
        for i, split in enumerate(["train", "test"])
    ]
    assert "1 file on several sides, in 1 of 1 test items" in str(overlaps(items, Split()))


def test_many_rows_of_one_file_are_joined_in_seconds(media):
    rows = [
        Item(f"{i}", f"own:{i}", [f"Caption {i % 10_000}."], [media / f"{i % 4}.jpg"], labels=(f"{i}",))
        for i in range(20_000)
    ]
    began = time.process_time()
    assert len(list(own_items(rows, by_caption=True))) == 4
    assert time.process_time() - began < 10
