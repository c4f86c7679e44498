"""Experiment trackers: where the metrics of a training are written.

JSON lines and TensorBoard are always written to the run directory. Weights & Biases and MLflow are
imported when they are asked for, and configured by their own environment variables
(``WANDB_MODE``, ``WANDB_PROJECT``; ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``). Both get
one run per stage, named after its directory; a training that is resumed starts another one under
the same name and continues its step numbers.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genrec.config.errors import GenrecError
from genrec.config.writing import naming, write_text
from genrec.results import MetricsLine

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
PROJECT = "genrec"  # of Weights & Biases, and the experiment of MLflow, unless the user names one


class Tracker(Protocol):
    """Receives the metrics of a training."""

    def log(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Write the metrics of a step.

        Args:
            stage: what is trained, such as "teacher".
            step: epochs, steps or updates that are complete.
            seconds: since the training started or was resumed.
            values: metric name -> value.
        """
        ...

    def resume(self, stage: str, step: int) -> None:
        """Drop the metrics of later steps: a process logged them whose work was lost.

        Args:
            stage: what is trained.
            step: last step that is part of the training; -1 where none is.
        """
        ...

    def close(self) -> None:
        """Write out whatever is held back."""
        ...


class JsonLines:
    """One JSON object per line in ``metrics.jsonl``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / METRICS

    def log(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Append a line."""
        line = MetricsLine.of(values, stage=stage, step=step, seconds=round(seconds, 2))
        # Opened for every line, so that a process that is killed loses none.
        with naming(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(line.to_json(indent=None) + "\n")

    def resume(self, stage: str, step: int) -> None:
        """Keep the lines of other stages, and those up to the step."""
        if not self.file.exists():
            return
        written = self.file.read_text(encoding="utf-8")
        lines = written.splitlines(keepends=True)
        # A process that was killed may have left half of its last line.
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        kept = [line for line in lines if not _is_later(line, stage, step)]
        if "".join(kept) != written:
            write_text(self.file, "".join(kept))

    def close(self) -> None:
        """Do nothing: every line is written at once."""


def _is_later(line: str, stage: str, step: int) -> bool:
    """Whether a line of ``metrics.jsonl`` is of that stage and of a later step."""
    content = json.loads(line)
    return bool(content["stage"] == stage and content["step"] > step)


class TensorBoard:
    """Scalars named ``stage/metric`` in ``tensorboard/``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "tensorboard"
        self.purge_step: int | None = None
        self._writer: SummaryWriter | None = None

    @property
    def writer(self) -> "SummaryWriter":
        """TensorBoard's writer, which makes its file when it is first used."""
        if self._writer is None:
            # imported late: it takes a second, and nothing else here needs torch
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.directory), purge_step=self.purge_step)
        return self._writer

    def log(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Add a scalar per metric."""
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def resume(self, stage: str, step: int) -> None:
        """Tell TensorBoard not to show what older files of the directory have of later steps."""
        self.purge_step = step + 1

    def close(self) -> None:
        """Flush the scalars."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Metrics named ``stage/metric`` in a run of Weights & Biases (extra ``wandb``).

    Args:
        directory: gives the run its name and its group, and holds wandb's files; None leaves both
            to wandb.
        stage: the type of the job.

    Raises:
        GenrecError: if wandb is not installed or cannot start a run.
    """

    def __init__(self, directory: Path | None, stage: str) -> None:
        wandb = _import_tracker("wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        place = str(directory) if directory else None
        try:
            # create_new: a run that the user's own program has open stays untouched
            self.run = wandb.init(
                project=project, dir=place, name=place, job_type=stage, reinit="create_new"
            )
        except wandb.Error as error:
            raise GenrecError(f"tracker wandb: {error}") from error

    def log(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Log all metrics of a step."""
        self.run.log({f"{stage}/{name}": value for name, value in values.items()}, step=step)

    def resume(self, stage: str, step: int) -> None:
        """Do nothing: a training that is resumed has a run of its own."""

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


class MLflow:
    """Metrics named ``stage/metric`` in a run of MLflow (extra ``mlflow``).

    MLflow allows no ``@`` in a name: ``ndcg@10`` becomes ``ndcg_at_10``. Its client is used rather
    than its global active run, so that a run that the user's own program has open stays untouched.

    Args:
        directory: gives the run its name; None leaves it to MLflow.
        stage: what is trained.

    Raises:
        GenrecError: if MLflow is not installed or its store cannot be used.
    """

    def __init__(self, directory: Path | None, stage: str) -> None:
        mlflow = _import_tracker("mlflow")
        self.metric = mlflow.entities.Metric
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        try:
            self.client = mlflow.MlflowClient()
            found = self.client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self.client.create_experiment(name)
            run_name = str(directory) if directory else None
            run = self.client.create_run(experiment, run_name=run_name, tags={"stage": stage})
        except mlflow.MlflowException as error:
            raise GenrecError(f"tracker mlflow: {error}") from error
        self.run_id: str = run.info.run_id

    def log(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Log all metrics of a step."""
        now = int(time.time() * 1000)
        metrics = [
            self.metric(_mlflow_name(f"{stage}/{name}"), value, now, step)
            for name, value in values.items()
        ]
        self.client.log_batch(self.run_id, metrics=metrics)

    def resume(self, stage: str, step: int) -> None:
        """Do nothing: a training that is resumed has a run of its own."""

    def close(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.run_id)


def _mlflow_name(name: str) -> str:
    """A name of the characters that MLflow allows.

    >>> _mlflow_name("align/val/ndcg@10")
    'align/val/ndcg_at_10'
    """
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


TRACKERS: dict[str, Callable[[Path | None, str], Tracker]] = {
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def open_trackers(directory: Path | None, stage: str, names: Sequence[str] = ()) -> list[Tracker]:
    """The trackers of a training: JSON lines and TensorBoard where there is a run directory, and
    those that are named.

    Raises:
        GenrecError: for an unknown name, or a tracker that is not installed or cannot start.
    """
    if unknown := [name for name in names if name not in TRACKERS]:
        raise GenrecError(
            f"unknown tracker {unknown[0]!r}; choose from {', '.join(sorted(TRACKERS))}"
        )
    trackers: list[Tracker] = [TRACKERS[name](directory, stage) for name in names]
    if directory is not None:
        trackers += [JsonLines(directory), TensorBoard(directory)]
    return trackers


def _import_tracker(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # Installed, but something that it imports is missing: its own message is the better one.
        if error.name != name:
            raise
        raise GenrecError(
            f'tracker {name} is not installed: pip install "genrec[{name}]"'
        ) from error
