"""Claims about a whole dataset with media as people have them: what is prepared, refused and counted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_data
from PIL import Image

from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.inference.model import Model
from crossmodal_peft.inference.opening import open_cell
from crossmodal_peft.search.index import open_index
from crossmodal_peft.search.query import read_query, search_for

GOOD = 12
REFUSED = {
    "broken": "broken.png: cannot be decoded: it is not an image in a known format",
    "strip": "strip.png: is too thin: 300 × 1 pixels",
    "blank": "blank.png: has no content: it is white everywhere",
    "silent": "silent.wav: is silent: ",
    "short": "short.wav: is empty",
    "mute": "mute.wav: is silent: ",
}


@pytest.fixture
def table(tmp_path):
    """Items of 16-bit grey pictures and stereo in opposite phases, and one for each refusal."""
    folder = tmp_path / "media"
    tiny_data.sound(folder / "good.wav", 1)
    tiny_data.picture(folder / "good.png", 1)
    rows = []
    for i in range(GOOD):
        ramp = np.linspace(5_000 * i, 65_535, 400).reshape(20, 20).astype(np.uint16)
        Image.fromarray(ramp).save(folder / f"{i}.png")
        wave = 0.5 * np.sin(np.arange(9_600) * (0.05 + 0.01 * i))
        soundfile.write(folder / f"{i}.wav", np.stack([wave, -wave], 1), 16_000)
        side = ("train", "train", "validation", "test")[i % 4]
        rows.append({"id": i, "split": side, "image": f"{i}.png", "audio": f"{i}.wav"})
    (folder / "broken.png").write_bytes(b"not an image")
    Image.effect_noise((300, 1), 50).save(folder / "strip.png")
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(folder / "blank.png")
    for name, samples in (
        ("silent", np.zeros(9_600)),
        ("short", np.zeros(0)),
        ("mute", np.zeros((9_600, 2))),
    ):
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    for name, reason in REFUSED.items():
        suffix = reason.partition(": ")[0][-4:]
        files = {
            "image": "good.png",
            "audio": "good.wav",
            {".png": "image", ".wav": "audio"}[suffix]: name + suffix,
        }
        rows.append({"id": name, "split": "train", **files})
    return tiny_data.write_csv(folder / "media.csv", [{"caption": f"no. {row['id']}", **row} for row in rows])


def test_media_are_prepared_or_refused_by_name_and_counted_by_reason(table, layout):
    modalities = ("text", "image", "audio")
    data = tiny_data.dataset(kind="manifest", manifest=str(table), modalities=modalities, max_lost=0.5)
    line, manifest = tiny_data.prepare(data, layout)
    reasons = tiny_data.reasons(manifest)
    assert set(reasons) == set(REFUSED)
    for name, reason in REFUSED.items():
        assert reasons[name].startswith(reason)
    assert (
        "6 refused: 2 is silent, 1 cannot be decoded, 1 is too thin, 1 has no content, 1 is empty (" in line
    )
    listed = pd.read_csv(layout.manifest("tiny").with_name("refused.csv"))
    assert dict(zip(listed["item"], listed["reason"])) == reasons
    for modality in ("image", "audio"):
        array = np.load(layout.activations("tiny", modality, "input"))[:GOOD]
        assert len(np.unique(array.reshape(GOOD, -1), axis=0)) == GOOD


def test_a_search_refuses_a_file_by_its_name(table, layout):
    data = tiny_data.dataset(kind="manifest", manifest=str(table), modalities=("text", "image"), max_lost=0.5)
    tiny_data.prepare(data, layout)
    tiny_data.train(data, layout)
    subject = open_index("tiny/lora/0", layout), open_cell("tiny/lora/0", layout)
    found = search_for(*subject, "image", table.with_name("3.png"), "text", 3)
    assert found["rank"].tolist() == [1, 2, 3]
    for name in ("broken", "strip", "blank"):
        path = table.with_name(f"{name}.png")
        with pytest.raises(ValueError, match=f"^{path} ") as refusal:
            search_for(*subject, "image", path, "text", 3)
        assert str(refusal.value).startswith(f"{path} {REFUSED[name].partition(': ')[2]}")


def test_a_query_is_read_as_the_data_is(table):
    encoder = SimpleNamespace(family="ast", seconds=0.25)
    heard = read_query("audio", table.with_name("3.wav").read_bytes(), encoder)
    assert len(heard) == 4_000 and heard.std() > 0.3
    pixels = np.asarray(read_query("image", table.with_name("3.png").read_bytes(), encoder))
    assert pixels.min() == 58 and pixels.max() == 255
    for reason in REFUSED.values():
        file, _, reason = reason.partition(": ")
        with pytest.raises(Unusable, match=reason):
            read_query("image" if ".png" in file else "audio", table.with_name(file).read_bytes(), encoder)


def test_a_query_of_which_the_encoder_sees_one_colour_is_refused():
    picture = Image.new("RGB", (50, 50), "white")
    picture.paste("red", (0, 0, 5, 50))
    prepare = {"image": lambda _: (np.full((1, 3, 8, 8), 255, np.uint8), None)}
    model = Model(None, "", None, prepare)
    with pytest.raises(Unusable, match="has nothing left at the encoder's size"):
        model.embed_media("image", [picture])
