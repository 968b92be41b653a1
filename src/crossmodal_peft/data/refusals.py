"""Why a picture, sound or video cannot be used: the one exception of their readers."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Unusable(ValueError):
    """A medium cannot be used. The message continues a sentence that begins with its name: "is silent"."""


@contextmanager
def decoding() -> Iterator[None]:
    """Turn every exception of a decoder into a refusal: what damaged files raise is not documented.

    Raises Unusable with the decoder's reason in one line.
    """
    try:
        yield
    except Unusable:
        raise
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except Exception as error:
        raise Unusable(f"cannot be decoded: {in_one_line(error)}") from error


def by_reason(reasons: Iterable[str]) -> str:
    """How often each kind of reason occurs, most often first: `3 cannot be decoded, 1 is silent`.

    Names of files, numbers and details after a colon, semicolon or bracket are left out.
    """
    counts = Counter(map(kind_of, reasons))
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def kind_of(reason: str) -> str:
    """A reason without names of files, numbers and details."""
    reason = re.sub(r"^(row \d+|[^:]*\.\w{1,5}): ", "", reason)
    reason = re.split(r"[:;(]", reason)[0].strip()
    return re.sub(r"'[^']*'|\d[\d.,]*", "…", reason)


def in_one_line(error: Exception) -> str:
    """The reason without the path, which is named before it."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"
