"""Messages, progress and metrics of a training.

All messages go to the logger ``genrec`` of the standard library. The command line prints them on
standard error (`configure`). A program that uses genrec as a library decides by itself, as with any
library: without a handler of its own, Python prints warnings on standard error and drops the rest;
``logging.basicConfig(level=logging.INFO)``, or `configure`, shows the other messages too.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from genrec.config.text import printable
from genrec.training.trackers import open_trackers

logger = logging.getLogger("genrec")
SECONDS_BETWEEN_LINES = 60.0


class StderrHandler(logging.Handler):
    """Prints messages on standard error: information as it is, anything else behind its level.

    ``sys.stderr`` is looked up for every message: progress bars and tests replace it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        try:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            sys.stderr.write(f"{level}{printable(self.format(record))}\n")
            sys.stderr.flush()
        except Exception:  # as in logging's own handlers: a message must not end a training
            self.handleError(record)


def configure(quiet: bool = False, debug: bool = False) -> None:
    """Print genrec's messages on standard error; a later call replaces an earlier one.

    Args:
        quiet: print warnings and errors only.
        debug: print debugging messages too.
    """
    # Not `logging.basicConfig`: the root logger belongs to the program, not to a library.
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())
    logger.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)


class RunLogger:
    """Messages, progress and metrics of one stage of a run.

    Args:
        directory: run directory, receives ``metrics.jsonl`` and TensorBoard's scalars; None writes
            no files.
        stage: what is running, the prefix of all scalars.
        quiet: no information and no progress; warnings are not affected.
        trackers: names of further trackers, see ``genrec.training.trackers``.

    Raises:
        GenrecError: for an unknown tracker, or one that is not installed or cannot start.
    """

    def __init__(
        self,
        directory: Path | None,
        stage: str,
        *,
        quiet: bool = False,
        trackers: Sequence[str] = (),
    ) -> None:
        self.directory, self.stage, self.quiet = directory, stage, quiet
        self._started = time.monotonic()
        self._trackers = open_trackers(directory, stage, trackers)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of a step to all trackers."""
        seconds = time.monotonic() - self._started
        for tracker in self._trackers:
            tracker.log(self.stage, step, seconds, values)

    def resume(self, step: int) -> None:
        """Drop the metrics of later steps, which a process logged whose work was lost.

        Args:
            step: last step that is part of the training; -1 where none is.
        """
        for tracker in self._trackers:
            tracker.resume(self.stage, step)

    def info(self, message: str) -> None:
        """Log a message, unless quiet."""
        if not self.quiet:
            logger.info(message)

    @contextlib.contextmanager
    def progress(self, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        """Show the progress of a loop: a bar in a terminal or a notebook, lines in a log elsewhere.

        Args:
            total: steps of the loop.
            done: steps that were done before, by a training that is resumed.

        Yields:
            A function of the steps that are done and a note, such as the latest metric.
        """
        console = Console(stderr=True)
        if self.quiet:
            yield lambda steps, note: None
        elif sys.stderr.isatty() or _is_notebook(console):
            with _bar(console) as bar:
                task = bar.add_task(self.stage, total=total, completed=done, note="")
                yield lambda steps, note: bar.update(task, completed=steps, note=note)
        else:
            yield _LoggedProgress(self.stage, total, done)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_notebook(console: Console) -> bool:
    """Whether rich can draw a bar in a notebook, for which it needs ipywidgets."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console)


class _LoggedProgress:
    """Logs progress where there is no terminal: at most one line per minute, and one at the end."""

    def __init__(self, stage: str, total: int, done: int) -> None:
        self.stage, self.total, self.first = stage, total, done
        self.started = self.last_line = time.monotonic()

    def __call__(self, done: int, note: str) -> None:
        now = time.monotonic()
        if done < self.total and now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        elapsed = now - self.started
        # Steps that an interrupted process did before took none of this process's time.
        left = elapsed / max(1, done - self.first) * (self.total - done)
        times = f"{_clock(elapsed)} elapsed, {_clock(left)} left"
        logger.info(f"{self.stage}: {done}/{self.total}, {times}{f', {note}' if note else ''}")


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> _clock(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))
