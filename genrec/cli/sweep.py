"""``genrec sweep``: one alignment per weight and seed, and one comparison of all."""

from typing import Annotated

import typer

from genrec.cli.compare import show_comparison
from genrec.cli.errors import reports_errors
from genrec.cli.options import (
    Changes,
    Config,
    Dataset,
    Device,
    Json,
    Out,
    Quiet,
    Student,
    Teacher,
    Trust,
    Users,
    command_settings,
    open_workspace,
)


@reports_errors
def sweep(
    out: Out,
    reward: Annotated[
        list[str],
        typer.Option(
            "--reward",
            "-r",
            help="As for align, repeatable. The one without a weight takes each of --weights;"
            " NAME=LOW:HIGH trains one policy for the range.",
        ),
    ],
    weights: Annotated[str, typer.Option(help="Separated by commas, such as 0,0.1,0.3.")] = "",
    seeds: Annotated[str, typer.Option(help="Random seeds, separated by commas.")] = "0",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Alignments at a time, one process each.")
    ] = 1,
    teacher: Teacher = None,
    student: Student = None,
    users: Users = None,
    dataset: Dataset = None,
    config: Config = None,
    changes: Changes = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Align for every weight and seed, then compare all of them, as one curve, with re-rankers.

    The same command resumes an interrupted sweep and does not repeat what is finished: add weights
    or seeds and run it again. The seeds of one weight are one point of the curve, with a band.
    Several jobs divide the threads of the processor among them; they pay where one alignment does
    not keep it busy.

    \b
    Examples:
      genrec sweep --reward diversity --weights 0,0.05,0.1,0.2 --seeds 0,1,2 --out runs/sweep
      genrec sweep -r diversity=0:2 --seeds 0,1,2 --teacher runs/t --student runs/s -o runs/ranges
      genrec sweep -r novelty -r popularity=0.1 --weights 0.1,0.3 --jobs 2 -o runs/both --json
    """  # noqa: D301
    origin, numbers = student or teacher, _integers(seeds)
    settings = command_settings(
        config=config,
        changes=changes,
        dataset=dataset,
        device=device,
        origin=origin,
        trust=trust,
    )

    from genrec.evaluation.sweep import Sweep, run_sweep

    asked = Sweep(rewards=tuple(reward), weights=tuple(_split(weights)), seeds=numbers, jobs=jobs)
    workspace = open_workspace(settings, quiet=quiet, origin=origin)
    run_sweep(workspace, asked, out=out, teacher=teacher, student=student, users=users)
    show_comparison(out, as_json)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _integers(text: str) -> tuple[int, ...]:
    from genrec.config.errors import GenrecError

    try:
        numbers = tuple(int(part) for part in _split(text))
    except ValueError:
        numbers = ()
    if not numbers:
        raise GenrecError(f"--seeds {text!r} are no integers; write for instance --seeds 0,1,2")
    return numbers
