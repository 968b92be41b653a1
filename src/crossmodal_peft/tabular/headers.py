"""Names of columns as people write them: which known column is meant, or "did you mean"."""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

INVISIBLE = "\u200b\ufeff"  # A zero-width space, and a byte order mark where files were joined.
SIMILAR = 0.8  # `splits`, `spilt` and `captoin` are above it, `image_id` and `image` are not.


def meant(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names of columns, those that are a known one but for case and surrounding blanks as known.

    Raises ValueError if two columns have the same name.
    """
    by_plain = {_plain(name): name for name in known}
    names = [by_plain.get(_plain(name), name.strip()) for name in found]
    for place, name in enumerate(names):
        if name and name in names[:place]:
            first = names.index(name)
            raise ValueError(
                f"columns {first + 1} and {place + 1} are {found[first]!r} and {found[place]!r}, "
                "the same name; rename or remove one"
            )
    return names


def require_columns(names: Sequence[str], known: Sequence[str], required: Sequence[tuple[str, ...]]) -> None:
    """Raise ValueError if no column has a required name (one of each tuple), or one resembles a known name.

    A name that resembles a known one may stand beside it.
    """
    for choice in required:
        if not set(choice) & set(names):
            raise ValueError(f"no column {' or '.join(choice)}; its columns are: {', '.join(names)}")
    absent = [name for name in known if name not in names]
    for name in names:
        like = [other for other in absent if name not in known and _resembles(name, other)]
        if like:
            raise ValueError(
                f"unknown column {name!r}: did you mean {like[0]!r}? rename it, to that or to something else"
            )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().strip(INVISIBLE).strip().casefold()


def _resembles(name: str, known: str) -> bool:
    """Whether a name is nearly a known one, or has it as one of its words: `data_split`, `groupId`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    likeness = SequenceMatcher(None, _plain(name), known, autojunk=False).ratio()
    return likeness >= SIMILAR or known in [word.casefold() for word in words]
