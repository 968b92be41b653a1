"""Stop requests: SIGTERM from a cluster, Ctrl-C from a person."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again.
EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """The training was asked to stop, and its state is written."""


@contextmanager
def catch_stop_requests() -> Iterator[Callable[[], bool]]:
    """While the block runs, a first stop request is only recorded: the yielded function says whether it came.

    A second request has its usual effect.
    """
    requests: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def record(number: int, frame: Any) -> None:
        requests.append(number)
        _restore(before)

    for number in SIGNALS:
        signal.signal(number, record)
    try:
        yield lambda: bool(requests)
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
