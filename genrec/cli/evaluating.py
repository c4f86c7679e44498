"""``genrec evaluate``: finished runs on the test cases, side by side."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.training import Dataset, Device, Json, Quiet, open_workspace
from genrec.config.errors import GenrecError

if TYPE_CHECKING:
    from genrec.pipeline.workspace import Workspace
    from genrec.results import CalibrationRow


@reports_errors
def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders: teachers, students, aligned."),
    ],
    dataset: Dataset = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="Measure this many test users only.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Also draw the calibration curves of the teachers, as this PNG."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WEIGHT, repeatable, for policies that were aligned for a range; the middle of it by default."
        ),
    ] = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure finished runs on the test users: accuracy, diversity, novelty, popularity, minutes of
    training.

    Settings come from the first run; all must have been made on the same data and split. Runs that
    differ in the seed alone are also shown as mean and standard deviation, and every run is
    compared with the first, user by user.

    \b
    Examples:
      genrec evaluate runs/sasrec runs/gsasrec
      genrec evaluate runs/teacher --calibration reliability.png --json
      genrec evaluate runs/single runs/range --weight diversity=0.1
    """  # noqa: D301
    from genrec import report
    from genrec.evaluation import evaluate_runs
    from genrec.rewards import read_weights

    weights = read_weights(weight or [])
    workspace = open_workspace(None, [], dataset, None, device, quiet, origin=folders[0])
    rows = []
    if calibration:
        rows = _calibrations(workspace, folders, users, calibration)
    result = evaluate_runs(workspace, folders, users=users, weights=weights, calibration=rows)
    if as_json:
        typer.echo(result.to_json())
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(report.evaluation_table(result))
    for line in report.evaluation_sentences(result):
        typer.echo(line)


def _calibrations(
    workspace: "Workspace", folders: Sequence[Path], users: int | None, picture: Path
) -> "list[CalibrationRow]":
    from genrec import report
    from genrec.evaluation import measure_calibration
    from genrec.evaluation.runs import kinds_of

    kinds = kinds_of(workspace, folders)
    teachers = [folder for folder, kind in zip(folders, kinds, strict=True) if kind == "teacher"]
    if not teachers:
        raise GenrecError(
            "--calibration draws the probabilities of teachers, and none of these runs is one"
        )
    found = [
        each for folder in teachers for each in measure_calibration(workspace, folder, users=users)
    ]
    report.plot_calibration({f"{each.run}, {each.link}": each.curve for each in found}, picture)
    workspace.say(f"picture: {picture}")
    return [each.row(workspace.settings.k) for each in found]
