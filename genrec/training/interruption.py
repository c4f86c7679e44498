"""Ctrl-C lets a training finish its step and save a checkpoint."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Whether the user asked a training to stop.

    Attributes:
        requested: set by the first Ctrl-C; the loop then finishes its step, saves and stops.
    """

    def __init__(self) -> None:
        self.requested = False


class Interrupted(Exception):
    """The user stopped a training, after it was saved; the message says how to resume it."""


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first SIGINT inside the context into ``Interruption.requested``.

    A second one stops at once, without saving. Outside the main thread, where Python cannot set a
    signal handler, SIGINT keeps its meaning.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        # written directly: a handler of `logging` may be in the middle of another message
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once, without saving\n")
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)
