"""``genrec evaluate``: finished runs on the test cases, side by side."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.compare import PIPED_WIDTH
from genrec.cli.errors import reports_errors
from genrec.cli.options import (
    Dataset,
    Device,
    Json,
    Quiet,
    Trust,
    Users,
    command_settings,
    open_workspace,
)
from genrec.cli.text import echo

if TYPE_CHECKING:
    from genrec.pipeline.workspace import Workspace
    from genrec.results import CalibrationRow

logger = logging.getLogger(__name__)


@reports_errors
def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run directories: teachers, students, policies."),
    ],
    dataset: Dataset = None,
    users: Users = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Also draw predicted against observed probabilities of teachers, as this PNG."
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WEIGHT, repeatable, for policies that were aligned for a range of weights;"
            " the middle of the range by default."
        ),
    ] = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure finished runs on the test users: accuracy, diversity, novelty, popularity, minutes.

    Settings come from the first run; all must have been made on the same data and split. Runs that
    differ in the seed alone are also shown as mean and standard deviation, and every run is
    compared with the first, user by user.

    \b
    Examples:
      genrec evaluate runs/sasrec runs/gsasrec
      genrec evaluate runs/teacher --calibration calibration.png --json
      genrec evaluate runs/single runs/range --weight diversity=0.1
    """  # noqa: D301
    settings = command_settings(dataset=dataset, device=device, origin=runs[0], trust=trust)
    workspace = open_workspace(settings, quiet=quiet, origin=runs[0])

    from genrec import report
    from genrec.evaluation import evaluate_runs
    from genrec.rewards import read_weights

    weights = read_weights(weight or [])
    curves = _calibrations(workspace, runs, users, calibration) if calibration else []
    result = evaluate_runs(workspace, runs, users=users, weights=weights, calibration=curves)
    if as_json:
        typer.echo(result.to_json())
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(
        report.evaluation_table(result)
    )
    for line in report.evaluation_sentences(result):
        echo(line)


def _calibrations(
    workspace: "Workspace", runs: Sequence[Path], users: int | None, picture: Path
) -> "list[CalibrationRow]":
    """The calibration of the teachers among the runs, also drawn as a picture."""
    from genrec import report
    from genrec.config.errors import GenrecError
    from genrec.evaluation import measure_calibration
    from genrec.evaluation.runs import kinds_of

    kinds = kinds_of(workspace, runs)
    teachers = [run for run, kind in zip(runs, kinds, strict=True) if kind == "teacher"]
    if not teachers:
        raise GenrecError(
            "--calibration draws the probabilities of teachers, and none of these runs is one"
        )
    found = [each for run in teachers for each in measure_calibration(workspace, run, users=users)]
    report.plot_calibration({f"{each.run}, {each.link}": each.curve for each in found}, picture)
    logger.info("picture: %s", picture)
    return [each.row(workspace.settings.k) for each in found]
