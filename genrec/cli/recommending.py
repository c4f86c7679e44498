"""``genrec recommend``: raw item ids in, a list out."""

import json
from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.errors import reports_errors


@reports_errors
def recommend(
    run: Annotated[Path, typer.Argument(help="Run folder of a teacher, a student or an aligned policy.")],
    history: Annotated[str, typer.Option("--history", help="Raw item ids, oldest first, joined by commas.")],
    k: Annotated[int | None, typer.Option("--k", "-k", min=1, help="Length of the list; the run's by default.")] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beam width of a policy; 1 is greedy.")] = 1,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WEIGHT, repeatable, of a policy that was aligned for a range; the middle of it by default."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Recommend for a history of raw item ids; prints rank, id and title, separated by tabs.

    \b
    Examples:
      genrec recommend runs/demo --history item-0001,item-0042
      genrec recommend runs/demo --history item-0001 --k 5 --json
      genrec recommend runs/range --history item-0001 --weight diversity=0.7
    """  # noqa: D301
    from genrec import runs
    from genrec.experiment import recommend_titles
    from genrec.rewards import read_weights

    ids = [raw.strip() for raw in history.split(",") if raw.strip()]
    length = k or runs.read_json(run / "run.json")["settings"]["k"]
    rows = recommend_titles(run, ids, length, runs.choose_device(device), beams, read_weights(weight or []))
    if as_json:
        typer.echo(json.dumps([{"rank": n, "id": raw, "title": title} for n, (raw, title) in enumerate(rows, 1)]))
        return
    for rank, (raw, title) in enumerate(rows, start=1):
        typer.echo(f"{rank}\t{raw}\t{title}")
