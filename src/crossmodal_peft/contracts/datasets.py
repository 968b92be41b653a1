"""What every kind of dataset promises, checked on the data of a block of params.yaml."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.schema import DatasetSettings, Modality
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.data.audio import read_waveform
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.files import read_json, write_json

READ = 20  # Items whose pictures and sounds are decoded.
SPLITS = ("train", "validation", "test")
RATES = (16_000, 8_000)  # Hz


@dataclass(frozen=True)
class Case:
    """A kind's module and the settings of one dataset; `layout` says where downloads are kept."""

    module: Any
    settings: DatasetSettings
    layout: Layout

    def __str__(self) -> str:
        return self.settings.source

    @property
    def modalities(self) -> list[Modality]:
        """The modalities of the dataset."""
        return list(self.settings.encoders)

    @property
    def raw(self) -> Path:
        """The folder of the dataset's downloads."""
        return self.layout.dataset(self.settings.source)

    @cached_property
    def receipt(self) -> Any:
        """The receipt of the download, which is made first if necessary, as in the workflow."""
        path = self.raw / RECEIPT
        if not path.exists():
            self.raw.mkdir(parents=True, exist_ok=True)
            write_json(path, self.module.download(self.raw, **self.settings.origin))
        return read_json(path, "delete it to download again")

    @cached_property
    def root(self) -> Path:
        """The folder that holds the files of items."""
        assert self.receipt is not None
        unpacked = self.layout.unpacked(self.settings.source)
        root: Path = self.module.unpack(self.raw, unpacked, **self.settings.origin)
        return root

    @cached_property
    def found(self) -> list[Item | Refused]:
        """Everything that `items` yields."""
        return list(self.module.items(self.root, self.settings))

    @cached_property
    def items(self) -> list[Item]:
        """The items that are not refused."""
        return [item for item in self.found if isinstance(item, Item)]

    def files(self, modality: Modality) -> list[Path]:
        """The files of the first READ items in one modality."""
        return [Path(file) for item in self.items[:READ] for file in item.of(modality)]


def cases(
    module: ModuleType, block: dict[str, Any] | None = None, layout: Layout | None = None
) -> Iterator[Case]:
    """The dataset of a block; a block without `encoders` gets all modalities of its kind.

    Raises ValueError if the block does not fit the kind's settings.
    """
    kind = module.__name__.rpartition(".")[2]
    encoders = dict.fromkeys(module.MODALITIES, "any")
    settings = module.Settings.model_validate({"kind": kind, "encoders": encoders, **(block or {})})
    yield Case(module, settings, layout or Layout.of(Paths()))


def modalities_are_known(case: Case) -> None:
    """MODALITIES names at least two modalities, each once, and includes all of the dataset's."""
    modalities = case.module.MODALITIES
    assert len(modalities) > 1 and len(set(modalities)) == len(modalities), f"MODALITIES is {modalities}"
    extra = set(case.modalities) - set(modalities)
    assert not extra, f"the dataset has {', '.join(sorted(extra))}, which is not in MODALITIES"


def origin_fits_download_and_unpack(case: Case) -> None:
    """`download` and `unpack` accept what the settings give as `origin`."""
    for name, places in (("download", [case.raw]), ("unpack", [case.raw, case.raw])):
        signature = inspect.signature(getattr(case.module, name))
        try:
            signature.bind(*places, **case.settings.origin)
        except TypeError as error:
            raise AssertionError(
                f"{name}{signature} and origin {sorted(case.settings.origin)}: {error}"
            ) from None


def the_receipt_names_its_source(case: Case) -> None:
    """The receipt of the download is a JSON object with `source` and `licence`."""
    receipt = case.receipt
    assert isinstance(receipt, dict), f"the receipt is {type(receipt).__name__}, not an object"
    lacking = [key for key in ("source", "licence") if not receipt.get(key)]
    assert not lacking, f"the receipt has no {' and no '.join(lacking)}"


def something_is_found(case: Case) -> None:
    """`items` yields at least one item, and nothing but items and refusals."""
    others = {type(item).__name__ for item in case.found if not isinstance(item, Item | Refused)}
    assert not others, f"items yields {', '.join(sorted(others))}, neither Item nor Refused"
    assert case.items, f"no item is found under {case.root}; {len(case.found)} are refused"


def names_are_unique(case: Case) -> None:
    """No two items have the same name."""
    seen: set[str] = set()
    for item in case.found:
        assert item.name, "an item has no name"
        assert item.name not in seen, f"{item.name}: the name stands twice"
        seen.add(item.name)


def refusals_have_reasons(case: Case) -> None:
    """Every refusal gives its reason in one line."""
    for item in case.found:
        if isinstance(item, Refused):
            assert item.reason.strip() and "\n" not in item.reason, (
                f"{item.name}: the reason is {item.reason!r}"
            )


def groups_stand_on_one_side(case: Case) -> None:
    """Every item has a group, and all items of a group are on the same side of the split."""
    sides: dict[str, str | None] = {}
    for item in case.items:
        assert item.split is None or item.split in SPLITS, f"{item.name}: split is {item.split!r}"
        assert item.group, f"{item.name}: has no group"
        side = sides.setdefault(item.group, item.split)
        assert side == item.split, f"{item.name}: its group {item.group!r} is in {side} and in {item.split}"


def labels_are_single_lines(case: Case) -> None:
    """What an item is relevant by, where that is not its group, are texts of one line."""
    for item in case.items:
        for label in item.labels:
            assert label.strip() and label.splitlines() == [label], f"{item.name}: the label is {label!r}"


def items_have_every_modality(case: Case) -> None:
    """Every item has something in each modality of the dataset; captions have no blanks at their ends."""
    for item in case.items:
        for modality in case.modalities:
            assert item.of(modality), f"{item.name}: has no {modality}; yield Refused with the reason"
        for text in item.texts:
            assert isinstance(text, str) and text and text == text.strip(), (
                f"{item.name}: the caption is {text!r}"
            )


def files_stand_under_the_root(case: Case) -> None:
    """Pictures and sounds are paths under the folder that `unpack` returns."""
    for item in case.items:
        for path in (*item.images, *item.audios):
            assert isinstance(path, Path), f"{item.name}: {path!r} is not a Path"
            assert path.is_relative_to(case.root), f"{item.name}: {path} is not under {case.root}"


def the_order_is_repeatable(case: Case) -> None:
    """Reading a second time finds the same items in the same order."""
    again = list(case.module.items(case.root, case.settings))
    for first, second in zip(case.found, again):
        assert first == second, (
            f"{first.name}: a second time, {second.name} stands there, or something else in it"
        )
    assert len(again) == len(case.found), f"a second time, there are {len(again)}, not {len(case.found)}"


def pictures_are_rgb(case: Case) -> None:
    """`read_image` gives pictures in RGB, of at least one pixel, or raises ValueError or OSError."""
    if "image" not in case.modalities:
        return
    read = [picture for path in case.files("image") if (picture := readable(case.module.read_image, path))]
    assert read, "none of the first pictures can be read"
    for picture in read:
        assert picture.mode == "RGB", f"a picture is {picture.mode}, not RGB"
        assert min(picture.size) > 0, f"a picture is {picture.size}"


def sounds_are_waves_of_the_rate(case: Case) -> None:
    """`read_audio`, or else the reader of sound files, gives mono float32 waves at the requested rate."""
    if "audio" not in case.modalities:
        return
    read_audio, heard = getattr(case.module, "read_audio", read_waveform), 0
    for path in case.files("audio"):
        waves = [wave for rate in RATES if (wave := readable(read_audio, path, rate)) is not None]
        if len(waves) < len(RATES):
            continue
        heard += 1
        for wave in waves:
            form = f"{wave.dtype} of shape {wave.shape}"
            assert wave.dtype == np.float32 and wave.ndim == 1, f"{path.name}: {form}, not float32 (samples,)"
            assert len(wave) and np.isfinite(wave).all(), f"{path.name}: is empty or not finite"
        seconds = [len(wave) / rate for wave, rate in zip(waves, RATES)]
        close = abs(seconds[0] - seconds[1]) < 0.02
        assert close, (
            f"{path.name}: lasts {seconds[0]:.2f} s at {RATES[0]} Hz and {seconds[1]:.2f} s at {RATES[1]}"
        )
    assert heard, "none of the first sounds can be read"


def readable(read: Any, path: Path, *arguments: int) -> Any:
    """What a reader returns, or None if it refuses with one of the permitted exceptions."""
    try:
        return read(path, *arguments)
    except (ValueError, OSError):
        return None


CHECKS = (
    modalities_are_known,
    origin_fits_download_and_unpack,
    the_receipt_names_its_source,
    something_is_found,
    names_are_unique,
    refusals_have_reasons,
    groups_stand_on_one_side,
    labels_are_single_lines,
    items_have_every_modality,
    files_stand_under_the_root,
    the_order_is_repeatable,
    pictures_are_rgb,
    sounds_are_waves_of_the_rate,
)
