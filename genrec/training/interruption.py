"""Ctrl-C lets a training finish its step and save."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Set by Ctrl-C: a loop finishes its step, saves and leaves. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first SIGINT inside the context into ``Interruption.requested``."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once, without saving\n")
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)


class Interrupted(Exception):
    """A run was stopped by the user after saving; the message says how to go on."""
