"""What is said in a video and when, in the three formats in which HowTo100M's narrations are published."""

import pickle
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossmodal_peft.data.items import Refused
from crossmodal_peft.data.named_files import named_file
from crossmodal_peft.tabular.table import read_table

DEPTH = 8  # Narrations have 3 levels.
LISTS = ("start", "end", "text")  # Start and end in seconds; parallel lists.


def narrations(path: Path, wanted: set[str]) -> dict[str, Any]:
    """The narrations of the wanted videos, or why one is refused: in a folder of CSV files, JSON or a pickle.

    A JSON file is streamed, so that only these are kept in memory. Raises ValueError naming the file if it is
    damaged, or if it is a pickle that would build or call anything but dicts, lists, strings and numbers.
    """
    if path.is_dir():
        found = {video: _read_csv(path, video) for video in sorted(wanted)}
        return {video: narration for video, narration in found.items() if narration is not None}
    if path.suffix == ".pickle":
        return {video: lists for video, lists in _read_pickle(path).items() if video in wanted}
    return _read_json(path, wanted)


def said(narration: Any) -> list[tuple[Any, Any, Any]]:
    """Start, end and text of what is said. Raises ValueError if it is not three lists of equal length."""
    lists: list[Any] = [narration.get(name) for name in LISTS] if isinstance(narration, dict) else [None]
    if not all(isinstance(values, list) for values in lists) or len({*map(len, lists)}) > 1:
        raise ValueError("its narration is not three lists of equal length: start, end and text")
    return list(zip(*lists))


def _read_csv(folder: Path, video: str) -> dict[str, list[Any]] | Refused | None:
    try:
        path = named_file(folder, f"{video}.csv")
    except ValueError:
        return None
    try:
        return read_table(path, LISTS, required=[(name,) for name in LISTS]).columns
    except ValueError as error:
        return Refused(video, str(error))


def _read_json(path: Path, wanted: set[str]) -> dict[str, Any]:
    import ijson

    found: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:
            if file.read(len(BOM_UTF8)) != BOM_UTF8:
                file.seek(0)
            events = _flat(ijson.basic_parse(file, use_float=True))
            for video, lists in ijson.kvitems(ijson.parse(events), ""):
                if video in found:
                    raise ValueError(f"{path}: {video} stands twice; remove one")
                if video in wanted:
                    found[video] = lists
    except ijson.JSONError as error:
        raise ValueError(f"{path}: not valid JSON: {' '.join(str(error).split())}") from None
    return found


def _flat(events: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The events of an object of flat values. Raises JSONError for others: depth costs memory squared."""
    import ijson

    depth = 0
    for kind, value in events:
        if depth == 0 and kind != "start_map":
            found = "a list" if kind == "start_array" else "null" if value is None else value
            raise ijson.JSONError(f"it holds {found}, not an object with a key for each video")
        depth += (kind in ("start_map", "start_array")) - (kind in ("end_map", "end_array"))
        if depth > DEPTH:
            raise ijson.JSONError(f"it is nested in more than {DEPTH} levels")
        yield kind, value


class PlainUnpickler(pickle.Unpickler):
    """Unpickles only what needs no class or function: dicts, lists, strings and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every class and function."""
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is never loaded")


def _read_pickle(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            found = PlainUnpickler(file).load()
        except Exception as error:  # Damaged pickles raise nearly everything.
            raise ValueError(f"{path}: pickle refused: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: pickle refused: not a dict")
    return found
