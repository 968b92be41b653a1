"""Flickr30k and COCO in Karpathy's splits: photographs, each with five captions.

Source: `dataset_flickr30k.json` and `dataset_coco.json` in caption_datasets.zip, which Karpathy publishes;
photographs of Flickr30k through the form at shannon.cs.illinois.edu/DenotationGraph, of COCO from
images.cocodataset.org. Licence: photographs under Flickr's terms of use, for research; captions of COCO CC BY
4.0. Citation: Karpathy, Fei-Fei, "Deep Visual-Semantic Alignments", CVPR 2015; Young et al., "From image
descriptions to visual denotations", TACL 2014; Lin et al., "Microsoft COCO", ECCV 2014.

The split `restval` (COCO validation photographs in neither val nor test) is added to train, as usual.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import DownloadedData, mark
from crossmodal_peft.data import images
from crossmodal_peft.data.archives import unpack as unpack_archive
from crossmodal_peft.data.http import Published, fetch
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.data.named_files import named_file
from crossmodal_peft.files import read_json, sha256
from crossmodal_peft.tabular import cells

MODALITIES = ("text", "image")
SIDES = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
PHOTOGRAPHS = {"flickr30k": 31014, "coco": 123287}
SPLITS_ADDRESS = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
# Checksums from torchvision's COCO dataset; the publisher gives none.
COCO = {
    name: Published(f"http://images.cocodataset.org/zips/{name}.zip", "sha256", digest)
    for name, digest in {
        "train2014": "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        "val2014": "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    }.items()
}
read_image = images.read_image


class Settings(DownloadedData):
    """`name` selects one of the two datasets."""

    kind: Literal["karpathy"]
    name: Literal["flickr30k", "coco"] = Field(description="Which dataset.")

    @property
    def source(self) -> str:
        """The kind, the name, and a short hash of the folder, if one is given."""
        source = f"{self.kind}-{self.name}"
        return source if self.folder is None else f"{source}-{mark(self.folder)}"

    @property
    def origin(self) -> dict[str, Any]:
        """The folder, the mirrors and the name."""
        return super().origin | {"name": self.name}


def download(raw: Path, folder: str | None, mirrors: list[str], name: str) -> dict[str, Any]:
    """Download the photographs of COCO if they are missing; the user provides the rest.

    Raises ValueError saying what to place where if something is missing; RuntimeError or OSError as `fetch`.
    """
    root = Path(folder or raw)
    splits = root / f"dataset_{name}.json"
    if not splits.is_file():
        raise ValueError(
            f"{splits}: no such file; it is published without a checksum: extract it from "
            f"{SPLITS_ADDRESS}, place it there, then run again"
        )
    if name == "coco":
        for part, file in COCO.items():
            if not (root / part).is_dir():
                archive = fetch(file, root, mirrors)
                unpack_archive(archive, root / f".{part}.archive")
                (root / f".{part}.archive" / part).rename(root / part)
                (root / f".{part}.archive").rmdir()
                archive.unlink()
    elif not (root / "flickr30k-images").is_dir():
        raise ValueError(
            f"{root}/flickr30k-images: no such folder; fill in the form at https://shannon.cs.illinois.edu/"
            "DenotationGraph to get the photographs, place the unpacked folder there, then run again"
        )
    return {
        "source": f"{name}, splits of Karpathy",
        "licence": "Flickr's terms of use, for research",
        "folder": str(root),
        "sha256": sha256(splits),
    }


def unpack(raw: Path, out: Path, folder: str | None, mirrors: list[str], name: str) -> Path:
    """The folder that contains everything."""
    return Path(folder or raw)


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """All photographs, in the order of the JSON file; every photograph is its own group.

    Raises ValueError if the file is not such an object.
    """
    path = root / f"dataset_{settings.name}.json"
    fix = f"extract it anew from {SPLITS_ADDRESS}"
    found = read_json(path, fix).get("images")
    if not isinstance(found, list):
        raise ValueError(f"{path}: not one of Karpathy's split files, which have a list of images; {fix}")
    if len(found) != PHOTOGRAPHS[settings.name]:
        published = PHOTOGRAPHS[settings.name]
        yield Refused(path.name, f"has {len(found)} photographs, but {published} were published")
    for number, image in enumerate(found):
        name = image.get("filename") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name:
            yield Refused(f"images[{number}]", f"is not an object with a filename: {str(image)[:40]}")
            continue
        try:
            yield _item(root, name, image, settings.name)
        except ValueError as error:
            yield Refused(name, str(error))


def _item(root: Path, name: str, image: dict[str, Any], dataset: str) -> Item:
    """The item of a photograph. Raises ValueError with the reason if it cannot be used."""
    side, sentences = cells.name(image.get("split"), "split"), image.get("sentences")
    if side not in SIDES:
        raise ValueError(f"split is {side!r}, not one of: {', '.join(SIDES)}")
    if not isinstance(sentences, list) or not all(isinstance(sentence, dict) for sentence in sentences):
        raise ValueError("sentences is not a list of objects")
    texts = cells.texts([sentence.get("raw") for sentence in sentences], "raw")
    if not texts:
        raise ValueError("no caption")
    photograph = named_file(root, f"{image.get('filepath', 'flickr30k-images')}/{name}")
    return Item(name=name, group=f"{dataset}:{name}", texts=texts, images=[photograph], split=SIDES[side])
