"""Metrics, messages and progress of a training."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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

from genrec.results import MetricsLine


@dataclass
class Logbook:
    """Metrics of a run: one JSON object a line in ``metrics.jsonl`` and TensorBoard scalars beside
    it.

    Attributes:
        folder: the run folder; None keeps nothing.
        stage: what is running, the prefix of all scalars.
        quiet: no progress bar. There is none either where standard error is not a terminal.
    """

    folder: Path | None
    stage: str
    quiet: bool = False
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._board = None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"))

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Append values of a step."""
        if self.folder is None or self._board is None:
            return
        seconds = round(time.monotonic() - self.started, 2)
        line = MetricsLine.of(values, stage=self.stage, step=step, seconds=seconds)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(line.to_json(indent=None) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{self.stage}/{name}", value, step)

    def say(self, message: str) -> None:
        """A line for the person who watches, on standard error."""
        if not self.quiet:
            Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)

    def warn(self, message: str) -> None:
        """A warning on standard error, also where it is quiet."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"warning: {message}", markup=False
        )

    @contextlib.contextmanager
    def progress(self, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        """A progress bar; call the yielded function with (steps done, a note such as the latest
        metric)."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        hidden = self.quiet or not sys.stderr.isatty()
        with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
            task = bar.add_task(self.stage, total=total, completed=done, note="")
            yield lambda steps, note: bar.update(task, completed=steps, note=note)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
