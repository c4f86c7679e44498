"""Signals that let a training finish its step and save a checkpoint: Ctrl-C, SIGTERM and SIGHUP.

Schedulers and containers send SIGTERM and kill a few seconds later; a terminal that is closed sends
SIGHUP.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Never

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""The signals that stop a training; Windows has no SIGHUP."""


class Interruption:
    """Whether the user, or a scheduler, asked a training to stop.

    Attributes:
        number: of the first signal; None before. The loop then finishes its step, saves and stops.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

    def stop_if_requested(self, place: str) -> None:
        """Raise Interrupted if a signal came; to be called once everything is saved.

        Args:
            place: where the training stops, such as "after epoch 3".
        """
        if self.number is not None:
            raise Interrupted(f"stopped {place}; the same command resumes from there", self.number)


class Interrupted(Exception):
    """A training was stopped by a signal, after it was saved; the message says how to resume it.

    Attributes:
        number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message, number)
        self.number = number

    def __str__(self) -> str:
        return str(self.args[0])


class Terminated(BaseException):
    """A signal ended a command at a moment when there was nothing to save.

    Like KeyboardInterrupt it is no ``Exception``, so that nothing but ``finally`` stops it.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first signal inside the context into ``Interruption.requested``.

    A second Ctrl-C stops at once, without saving; any other second signal changes nothing, as
    schedulers may repeat theirs. Signals that the process ignores, such as SIGHUP below ``nohup``,
    stay ignored. Outside the main thread, where Python cannot set a signal handler, signals keep
    their meaning.
    """
    interruption = Interruption()

    def request(number: int, frame: FrameType | None) -> None:
        if interruption.number is None:
            interruption.number = number
            again = "; Ctrl-C again stops at once, without saving" * (number == signal.SIGINT)
            # written directly: a handler of `logging` may be in the middle of another message
            with contextlib.suppress(OSError):  # the terminal may be gone
                sys.stderr.write(f"\nstopping after this step{again}\n")
        elif number == interruption.number == signal.SIGINT:
            raise KeyboardInterrupt

    with handling(request):
        yield interruption


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """End what runs inside the context by an exception when SIGTERM or SIGHUP comes.

    Files are then closed, temporary ones removed, and child processes told to stop.

    Raises:
        Terminated: when such a signal comes.
    """

    def end(number: int, frame: FrameType | None) -> Never:
        raise Terminated(number)

    with handling(end, but=(signal.SIGINT,)):
        yield


@contextlib.contextmanager
def handling(handler: "signal._HANDLER", but: tuple[signal.Signals, ...] = ()) -> Iterator[None]:
    """Handle the signals inside the context that the process does not ignore.

    Args:
        handler: called with the number of the signal and the frame that it interrupts.
        but: signals that keep their meaning.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.getsignal(number)
        for number in SIGNALS
        if number not in but and signal.getsignal(number) != signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
