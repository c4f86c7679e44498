"""``genrec sweep``: weights times seeds, and one comparison."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.training import (
    Change,
    Config,
    Dataset,
    Device,
    Json,
    Out,
    Quiet,
    open_workspace,
    show_comparison,
)
from genrec.config.errors import GenrecError


@reports_errors
def sweep(
    out: Out,
    reward: Annotated[
        list[str],
        typer.Option(
            "--reward",
            "-r",
            help="As for align, repeatable. The one without a weight takes each of --weights; NAME=LOW:HIGH trains one"
            " policy for the range.",
        ),
    ],
    weights: Annotated[str, typer.Option(help="Joined by commas, such as 0,0.1,0.3.")] = "",
    seeds: Annotated[str, typer.Option(help="Joined by commas.")] = "0",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Alignments at a time, as processes.")
    ] = 1,
    teacher: Annotated[
        Path | None, typer.Option(help="Run folder of the teacher; trained if missing.")
    ] = None,
    student: Annotated[
        Path | None, typer.Option(help="Run folder of the student; made if missing.")
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="Compare on this many test users only.")
    ] = None,
    dataset: Dataset = None,
    config: Config = None,
    change: Change = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Align for every weight and seed, then compare them all, as one curve, with every re-ranker.

    The same command goes on where it was interrupted, and leaves alone what is finished: add
    weights or seeds and run it again. Seeds of one weight are one point of the curve, with a band.
    Several jobs divide the threads of the processor between them; they pay where one alignment does
    not keep it busy.

    \b
    Examples:
      genrec sweep --reward diversity --weights 0,0.05,0.1,0.2 --seeds 0,1,2 --out runs/sweep
      genrec sweep -r diversity=0:2 --seeds 0,1,2 --teacher runs/teacher --student runs/student -o
      runs/ranges genrec sweep -r novelty -r popularity=0.1 --weights 0.1,0.3 --jobs 2 -o runs/both
      --json
    """  # noqa: D301
    from genrec.evaluation.sweep import Sweep, run_sweep

    asked = Sweep(tuple(reward), tuple(_parts(weights)), _numbers(seeds), jobs)
    workspace = open_workspace(
        config, change or [], dataset, None, device, quiet, origin=student or teacher
    )
    run_sweep(workspace, asked, teacher=teacher, student=student, out=out, users=users)
    show_comparison(workspace, out, as_json)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in _parts(text))
    except ValueError:
        numbers = ()
    if not numbers:
        raise GenrecError(f"--seeds {text!r} are no integers; write for instance --seeds 0,1,2")
    return numbers
