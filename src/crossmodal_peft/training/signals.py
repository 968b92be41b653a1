"""The request to stop, which a cluster makes by SIGTERM and a person by Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again.
EXIT_CODE = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A training was asked to stop, and its state is written."""


@contextmanager
def catch_stop_requests() -> Iterator[Callable[[], bool]]:
    """While the block runs, a first request is only noted: the function says whether there was one.

    A second request acts as it does without this.
    """
    requests: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: Any) -> None:
        requests.append(number)
        _restore(before)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: bool(requests)
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
