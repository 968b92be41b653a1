"""Raw data of every kind of dataset in small, as it stands on a disk before it is prepared."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
from tiny_data import QUIRKS, layout_in, picture, sound, write_csv
from tiny_soundfont import write_soundfont

from crossmodal_peft.data.datasets import audiocaps, clotho, phrases, stamps
from crossmodal_peft.data.instruments import INSTRUMENTS
from crossmodal_peft.files import write_json


def video(path: Path, seconds: int = 6, rate: int = 16_000) -> None:
    """Write a video whose picture gets brighter and whose tone gets louder with every second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=4)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sounds = container.add_stream("aac", rate=rate, layout="mono")
        for i in range(4 * seconds):
            pixels = np.full((32, 32, 3), 40 * (i // 4), np.uint8)
            pixels[:8, :8] += 50
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        wave = np.sin(np.arange(seconds * rate) * 440 * 2 * np.pi / rate)
        wave = (wave * np.repeat(np.maximum(np.arange(seconds), 0.2) / seconds, rate)).astype(np.float32)
        for start in range(0, len(wave), 1000):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1000], format="fltp", layout="mono")
            frame.rate, frame.pts = rate, start
            container.mux(sounds.encode(frame))
        for stream in (pictures, sounds):
            container.mux(stream.encode())


def _write_receipt(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "source.json", {"source": "here", "licence": "none"})


def make_manifest(root: Path) -> dict[str, Any]:
    """A table with files of both kinds; one picture is missing."""
    rows = []
    for i in range(6):
        picture(root / "pictures" / f"{i}.png", i)
        sound(root / "sounds" / f"{i}.wav", i)
        rows.append(
            {"id": i, "caption": QUIRKS[i % 5], "image": f"pictures/{i}.png", "audio": f"sounds/{i}.wav"}
        )
    (root / "pictures" / "5.png").unlink()
    return {"manifest": str(write_csv(root / "birds.csv", rows))}


def make_stamps(root: Path) -> dict[str, Any]:
    """Unpacked stamps with a receipt, so that nothing is downloaded; one is not spoken."""
    layout = layout_in(root)
    folder = layout.unpacked("stamps") / stamps.STAMPS
    for i in range(4):
        picture(folder / "animals" / f"{i}.png", i)
        (folder / "animals" / f"{i}.txt").write_text(f"Animal {i}.\n")
        sound(folder / "animals" / f"{i}_desc_{'es' if i else 'ro'}.ogg", i)
    _write_receipt(layout.dataset("stamps"))
    return {}


def make_phrases(root: Path) -> dict[str, Any]:
    """An unpacked SoundFont, of sine waves, with a receipt, so that nothing is downloaded."""
    layout = layout_in(root)
    presets = [(instrument.bank, instrument.program) for instrument in INSTRUMENTS.values()]
    write_soundfont(layout.unpacked("phrases") / phrases.FONTS / phrases.FONT, presets)
    _write_receipt(layout.dataset("phrases"))
    return {}


def make_karpathy(root: Path) -> dict[str, Any]:
    """Flickr30k's split file and photographs."""
    images = []
    for i, side in enumerate(["train", "train", "val", "test"]):
        picture(root / "flickr30k-images" / f"{i}.jpg", i)
        sentences = [{"raw": f"{quirk} {i}"} for quirk in QUIRKS]
        images.append({"filename": f"{i}.jpg", "split": side, "sentences": sentences})
    (root / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    return {"name": "flickr30k", "folder": str(root)}


def make_clotho(root: Path) -> dict[str, Any]:
    """In the layout of the DCASE baselines."""
    for split in clotho.PARTS:
        sound(root / split / "a.wav", 1, rate=44_100)
        captions = {f"caption_{i + 1}": quirk for i, quirk in enumerate(QUIRKS)}
        write_csv(root / f"clotho_captions_{split}.csv", [{"file_name": "a.wav", **captions}])
    return {"folder": str(root)}


def make_audiocaps(root: Path) -> dict[str, Any]:
    """In the layout of aac-datasets; of each split one clip is gone."""
    for split in audiocaps.SIDES:
        sound(root / "AUDIOCAPS" / "audio_32000Hz" / split / f"{split}_30.flac", 2, rate=32_000)
        rows = [
            {"audiocap_id": i, "youtube_id": video_id, "start_time": 30, "caption": quirk}
            for i, (video_id, quirk) in enumerate(
                [(split, QUIRKS[0]), (split, QUIRKS[1]), ("gone", QUIRKS[2])]
            )
        ]
        write_csv(root / "AUDIOCAPS" / "csv_files_v1" / f"{split}.csv", rows)
    return {"folder": str(root)}


def make_howto100m(root: Path) -> dict[str, Any]:
    """Two videos, of which one has no narration."""
    video(root / "videos" / "v0.mp4")
    shutil.copy(root / "videos" / "v0.mp4", root / "videos" / "v1.mp4")
    rows = [{"start": 0.5, "end": 1.0, "text": "cut it."}, {"start": 2.0, "end": 3.0, "text": 'say "stir"'}]
    write_csv(root / "captions" / "v0.csv", rows)
    return {"folder": str(root), "min_seconds": 2}


# Kind → what writes its raw data into a folder and returns the keys of its block.
MAKERS = {
    "audiocaps": make_audiocaps,
    "clotho": make_clotho,
    "howto100m": make_howto100m,
    "karpathy": make_karpathy,
    "manifest": make_manifest,
    "phrases": make_phrases,
    "stamps": make_stamps,
}
