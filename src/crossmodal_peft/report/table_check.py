"""What a user's table gives, in words for a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from textwrap import shorten
from typing import TYPE_CHECKING

import pandas as pd

from crossmodal_peft.data.overlaps import united
from crossmodal_peft.data.refusals import kind_of

if TYPE_CHECKING:
    from crossmodal_peft.data.check import Checked, Measured

SPLITS = ("train", "validation", "test")
SHOWN = 10  # examples, kinds of refusals and of odd items
NAMED = 3  # rows of a kind
LONGEST = 80  # characters of a caption
SIZES = {
    "text": ("captions", "words"),
    "image": ("pictures", "pixels on the short side"),
    "audio": ("clips", "s"),
}


def described(table: Path, checked: "Checked") -> str:
    """The report: counts, splits, what is shared, refusals, sizes, odd items and ten examples."""
    modalities = list(checked.settings.encoders)
    parts = [
        f"{table}: {checked.rows} rows; {len(checked.items)} items with {' and '.join(modalities)}; "
        f"{len(checked.refused)} rows refused",
        _splits(checked, modalities),
        _shared(checked),
        _listed("Refused", _by_kind([(kind_of(one.reason), one.name) for one in checked.refused])),
        _listed("Sizes", list(_sizes(checked.items, modalities))),
        _listed("Odd", _by_kind([(what, one.item.name) for one in checked.items for what in one.odd])),
        _listed("Examples", [_example(one, table.parent) for one in _spread(checked.items)]),
    ]
    return "\n\n".join(part for part in parts if part)


def stops(checked: "Checked") -> str:
    """Why a run with the default settings would stop; "" if it would not."""
    limit = checked.settings.max_lost
    if len(checked.refused) > limit * checked.rows:
        return (
            f"{len(checked.refused)} of {checked.rows} rows are refused, more than max_lost {limit:g} allows"
        )
    empty = set(SPLITS) - {one.split for one in checked.items}
    why = united(one.item.group for one in checked.items) or "see `group` and `split`"
    return f"no items in {', '.join(sorted(empty))}; {why}" if empty else ""


def _splits(checked: "Checked", modalities: Sequence[str]) -> str:
    rows = []
    for split in SPLITS:
        items = [one.item for one in checked.items if one.split == split]
        counts = {m: sum(len(item.of(m)) for item in items) for m in modalities}
        rows.append({"split": split, "items": len(items), **counts})
    groups = Counter(one.item.group for one in checked.items)
    if any(one.item.split for one in checked.items):
        how = "by the column split"
    else:
        how = f"by a hash of {len(groups)} groups, the largest of {max(groups.values(), default=0)} items"
    return f"Split {how}:\n\n{pd.DataFrame(rows).to_markdown(index=False)}"


def _shared(checked: "Checked") -> str:
    labels = Counter(label for one in checked.items for label in one.item.labels)
    most = "".join(f", the most frequent, {label!r}, of {n} items" for label, n in labels.most_common(1))
    return f"Shared: {checked.shared or 'nothing'}. Relevance: {len(labels)} captions or labels{most}."


def _sizes(items: "Sequence[Measured]", modalities: Sequence[str]) -> Iterator[str]:
    for modality in modalities:
        sizes = [size for one in items for size in one.sizes.get(modality, [])]
        noun, unit = SIZES[modality]
        if sizes:
            least, half, most = (f"{value:.4g}" for value in (min(sizes), median(sizes), max(sizes)))
            yield f"{noun}: {least} to {most} {unit}, half have {half} or fewer"


def _by_kind(found: Sequence[tuple[str, str]]) -> list[str]:
    """Kinds with their number and the names of the first, most frequent first; `found`: (kind, name)."""
    names: dict[str, list[str]] = {}
    for kind, name in found:
        names.setdefault(kind, []).append(name)
    return [
        f"{len(of)} × {kind}: {', '.join(of[:NAMED])}" + (", …" if len(of) > NAMED else "")
        for kind, of in sorted(names.items(), key=lambda entry: -len(entry[1]))
    ]


def _spread(items: "Sequence[Measured]") -> "list[Measured]":
    """SHOWN items from the whole table."""
    return [items[i] for i in sorted({i * len(items) // SHOWN for i in range(SHOWN)})] if items else []


def _example(one: "Measured", root: Path) -> str:
    files = [path.relative_to(root).as_posix() for path in (*one.item.images, *one.item.audios)]
    first, more = one.item.texts[:1], len(one.item.texts) - 1
    captions = [shorten(text, LONGEST, placeholder=" …") for text in first] + [f"(+ {more})"] * (more > 0)
    named = [] if one.item.name == " + ".join(files) else [f"[{', '.join(files)}]"]
    return " ".join([f"{one.split}, {one.item.name}:", *captions, *named])


def _listed(heading: str, lines: Sequence[str]) -> str:
    more = [f"- … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join([f"{heading}:", *(f"- {line}" for line in lines[:SHOWN]), *more]) if lines else ""
