"""Items that share a file or a caption: kept on one side of the split, joined, or counted.

Files are the same if their bytes are, captions if their `normal_form` is.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossmodal_peft.config.schema import Split
from crossmodal_peft.data.items import Item, Refused, split_of
from crossmodal_peft.data.labels import normal_form
from crossmodal_peft.files import sha256

Key = tuple[str, str]  # what is shared (file, caption or group), and which one
HEAD = 4096  # bytes
FRAGMENT = "#t="  # A path such as <video>#t=1,2 is a part of its file.


def own_items(found: Sequence[Item | Refused], by_caption: bool) -> Iterator[Item | Refused]:
    """The items of a user's table, so that nothing stands on two sides of the split.

    Rows whose files are all the same become one item with the captions and labels of all. Without a split of
    the table, items that share a group, a file or (`by_caption`) a caption become one group, named by the
    first of their groups in alphabetical order. With it, an item whose group or file is on another side
    already is refused.
    """
    items = [item for item in found if isinstance(item, Item)]
    first = first_copies(path for item in items for path in files_of(item))
    copies = [_with_first(item, first) if isinstance(item, Item) else item for item in found]
    divided = any(item.split for item in items)
    yield from joined(list(_on_one_side(copies)) if divided else _grouped(copies, by_caption))


def files_of(item: Item) -> list[Path]:
    """The files of an item's pictures and sounds."""
    return [_file(path) for path in (*item.images, *item.audios)]


def first_copies(paths: Iterable[Path]) -> dict[Path, Path]:
    """For every file, the first of those with the same bytes; whole files are read only where heads agree.

    Empty files, and those that cannot be read, are like no other.
    """
    found = list(dict.fromkeys(paths))
    alike = [found]
    for trait in (_size, _head, sha256):
        alike = [same for of in alike for same in _by_trait(of, trait)]
    first = {path: of[0] for of in alike for path in of}
    return {path: first.get(path, path) for path in found}


def _by_trait(paths: Sequence[Path], trait: Callable[[Path], Any]) -> list[list[Path]]:
    """The paths that share a trait, which is read only if there are several."""
    sharing: dict[Any, list[Path]] = defaultdict(list)
    for path in paths if len(paths) > 1 else ():
        with suppress(OSError):
            sharing[trait(path)].append(path)
    return [of for value, of in sharing.items() if len(of) > 1 and value]


def _size(path: Path) -> int:
    return path.stat().st_size


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def joined(found: Iterable[Item | Refused]) -> list[Item | Refused]:
    """Items with the same pictures and sounds made one, at the place of the first."""
    places: dict[tuple[tuple[Path, ...], tuple[Path, ...]], list[Item]] = {}
    made: list[list[Item] | Refused] = []
    for item in found:
        if isinstance(item, Refused):
            made.append(item)
            continue
        same = places.setdefault((tuple(item.images), tuple(item.audios)), [])
        if not same:
            made.append(same)
        same.append(item)
    return [_joined(of) if isinstance(of, list) else of for of in made]


def _joined(same: Sequence[Item]) -> Item:
    first, *others = same
    if not others:
        return first
    return replace(
        first,
        texts=list(dict.fromkeys(text for item in same for text in item.texts)),
        labels=tuple(sorted({label for item in same for label in item.labels})),
        also=tuple(item.name for item in others),
    )


def _with_first(item: Item, first: dict[Path, Path]) -> Item:
    images, audios = (list(dict.fromkeys(first[path] for path in of)) for of in (item.images, item.audios))
    return replace(item, images=images, audios=audios)


def _file(path: Path) -> Path:
    """The file of a path, which may be that of a part of it."""
    name, mark, _ = path.name.rpartition(FRAGMENT)
    return path.with_name(name) if mark and not path.exists() else path


def _on_one_side(found: Sequence[Item | Refused]) -> Iterator[Item | Refused]:
    """The items of a divided table; those whose group or file is on another side are refused."""
    sides: dict[Key, tuple[str | None, str]] = {}
    for item in found:
        if isinstance(item, Refused):
            yield item
            continue
        keys = [("group", item.group), *(("file", str(path)) for path in files_of(item))]
        taken = next((key for key in keys if sides.get(key, (item.split,))[0] != item.split), None)
        if taken is None:
            sides |= {key: (item.split, item.name) for key in keys if key not in sides}
            yield item
        else:
            yield Refused(item.name, _refusal(taken, *sides[taken]))


def _refusal(key: Key, side: str | None, name: str) -> str:
    kind, value = key
    if kind == "group":
        fix = "give all items of a group one split (what they are relevant by is `label`)"
        return f"its group {value!r} is also in {side}; {fix}"
    return f"its file {Path(value).name} is also in {side}, as {name!r}; give both one split"


def _grouped(found: Sequence[Item | Refused], by_caption: bool) -> list[Item | Refused]:
    """The items with one group for all that share a group, file or caption, directly or through others."""
    items = [item for item in found if isinstance(item, Item)]
    keys = [[("group", item.group), *shareable(item, by_caption)] for item in items]
    part_of = components(keys)
    names: dict[int, str] = {}
    for part, item in zip(part_of, items, strict=True):
        names[part] = min(names.get(part, item.group), item.group)
    groups = iter(part_of)
    return [replace(item, group=names[next(groups)]) if isinstance(item, Item) else item for item in found]


def shareable(item: Item, by_caption: bool = True) -> list[Key]:
    """What an item may share with another: its files and captions."""
    captions = item.texts if by_caption else []
    return [
        *(("file", str(path)) for path in dict.fromkeys(files_of(item))),
        *(("caption", text) for text in dict.fromkeys(map(normal_form, captions))),
    ]


def components(keys: Sequence[Sequence[Key]]) -> list[int]:
    """A number for each list of keys: the same for lists that share a key, directly or through others."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    codes: dict[Key, int] = {}
    pairs = [(row, codes.setdefault(key, len(codes))) for row, of in enumerate(keys) for key in of]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    size = len(keys) + len(codes)
    graph = coo_array((np.ones(len(pairs)), (rows, len(keys) + columns)), shape=(size, size))
    return [int(part) for part in connected_components(graph, directed=False)[1][: len(keys)]]


def united(groups: Iterable[str]) -> str:
    """What to do where one group, given for each item, has most items; "" if none has."""
    sizes = Counter(groups)
    largest = max(sizes.values(), default=0)
    if 2 * largest <= sizes.total():
        return ""
    return (
        f"one group has {largest} of {sizes.total()} items, which share files, captions or their group: if "
        "captions are labels, give them a column `label` too; or give the column `split`"
    )


@dataclass(frozen=True)
class Overlaps:
    """How many files and captions stand in several items of one side, and on several sides of the split.

    `joined`: rows whose files were those of another; `test`: test items of which a file or caption stands on
    another side too, `of` so many.
    """

    joined: int
    shared: Counter[str]
    across: Counter[str]
    test: int
    of: int

    def __str__(self) -> str:
        """What a user has to know, in one line; empty if there is nothing."""
        rows = f"{self.joined} row{'s' if self.joined > 1 else ''}"
        parts = [f"{rows} joined to others with the same files"] if self.joined else []
        parts += [f"{_counted(self.shared)} in several items of one side"] if self.shared else []
        if self.across:
            parts += [f"{_counted(self.across)} on several sides, in {self.test} of {self.of} test items"]
        return "; ".join(parts)


def overlaps(items: Sequence[Item], split: Split) -> Overlaps:
    """Count what the items share."""
    first = first_copies(path for item in items for path in files_of(item))
    sides: dict[Key, list[str]] = defaultdict(list)
    own: list[tuple[str, list[Key]]] = []
    for item in items:
        copies = replace(item, images=[], audios=[first[path] for path in files_of(item)])
        own.append((item.split or split_of(item.group, split), shareable(copies)))
        for key in own[-1][1]:
            sides[key].append(own[-1][0])
    across = {key for key, of in sides.items() if len(set(of)) > 1}
    shared = [key for key, of in sides.items() if len(of) > 1 and key not in across]
    test = [keys for side, keys in own if side == "test"]
    return Overlaps(
        joined=sum(len(item.also) for item in items),
        shared=Counter(kind for kind, _ in shared),
        across=Counter(kind for kind, _ in across),
        test=sum(any(key in across for key in keys) for keys in test),
        of=len(test),
    )


def _counted(counts: Counter[str]) -> str:
    words = [
        f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}"
        for kind in ("file", "caption")
        if counts[kind]
    ]
    return " and ".join(words)
