"""Control-C as a flag: the step in flight is finished and kept before the run stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from synthrelease.errors import Interrupted


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.asked = False

    def stopped(self, where: str) -> Interrupted:
        """The error that ends an interrupted run whose state is kept."""
        return Interrupted(f"training was interrupted {where}; what was done is kept", fix="Go on with --resume.")


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn the first Control-C into a flag; a second one interrupts at once. Only the main thread can listen."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        request.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
