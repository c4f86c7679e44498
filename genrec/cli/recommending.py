"""``genrec recommend``: raw item ids in, lists out."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.training import Change, Quiet
from genrec.config.errors import GenrecError

if TYPE_CHECKING:
    from genrec.data import Dataset
    from genrec.pipeline.recommend import Titled, UserHistories

logger = logging.getLogger("genrec")
COLUMNS = ("read.user=", "read.item=", "read.time=", "read.separator=", "read.drop_repeats=")


@reports_errors
def recommend(
    run: Annotated[
        Path, typer.Argument(help="Run folder of a teacher, a student or an aligned policy.")
    ],
    history: Annotated[
        str | None,
        typer.Option(
            "--history", help="One list, after these raw item ids, oldest first, joined by commas."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            help="A list for every user of this log: demo, a known name, or a path.",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", "-k", min=1, help="Length of the list; the run's by default."),
    ] = None,
    beams: Annotated[int, typer.Option(min=1, help="Beam width of a policy; 1 is greedy.")] = 1,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WEIGHT, repeatable, of a policy that was aligned for a range; the middle of it by default."
        ),
    ] = None,
    change: Change = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for machines, with --dataset a line a user.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Recommend after one history, or for every user of a log.

    After a history it prints rank, id and title of each item, separated by tabs; for a log the same
    behind the user, under a line of names. Columns of the log are those that the run was trained
    with; --set read.user=... changes them. Items that the run does not know are left out of the
    histories.

    \b
    Examples:
      genrec recommend runs/demo --history item-0001,item-0042
      genrec recommend runs/demo --history item-0001 --k 5 --json
      genrec recommend runs/range --history item-0001 --weight diversity=0.7
      genrec recommend runs/clicks --dataset today.csv > lists.tsv
    """  # noqa: D301
    from genrec.pipeline.recommend import recommend_titles, recommend_users, user_histories
    from genrec.results import RunMetadata
    from genrec.rewards import read_weights
    from genrec.training.device import choose_device

    if (history is None) == (dataset is None):
        raise GenrecError(
            "give either --history, for one list, or --dataset, for a list for every user of a log"
        )
    if bad := [text for text in change or [] if dataset is None or not text.startswith(COLUMNS)]:
        raise GenrecError(
            f"--set {bad[0]}: only how --dataset is read can be changed here,"
            f" {', '.join(COLUMNS)}..."
        )
    length = k or RunMetadata.read(run).settings["k"]
    place, weights = choose_device(device), read_weights(weight or [])
    if dataset is not None:
        asked = user_histories(run, _log(run, dataset, change or [], quiet))
        _say_left_out(asked)
        _print_lists(
            recommend_users(run, asked, length, place, beams, weights),
            len(asked.users),
            as_json,
            quiet,
        )
        return
    ids = [raw.strip() for raw in (history or "").split(",") if raw.strip()]
    rows = recommend_titles(run, ids, length, place, beams, weights)
    if as_json:
        typer.echo(json.dumps(_ranked(rows)))
        return
    for rank, (raw, title) in enumerate(rows, start=1):
        typer.echo(f"{rank}\t{raw}\t{title}")


def _log(run: Path, source: str, changes: list[str], quiet: bool) -> "Dataset":
    """The log, read with the run's columns; users and items with few events stay in."""
    from genrec.config.reading import Settings, read_settings
    from genrec.data import ReadConfig, load
    from genrec.results import RunMetadata

    start = Settings.model_validate(RunMetadata.read(run).settings)
    read = read_settings(None, changes, start).read
    columns = read.model_dump(include={"user", "item", "time", "separator", "drop_repeats"})
    loaded = load(source, ReadConfig(**columns))
    for sentence in loaded.report.sentences():
        logger.info(sentence)
    return loaded.dataset


def _say_left_out(asked: "UserHistories") -> None:
    if asked.unknown_events:
        logger.warning(
            "%d event(s) of items that the run does not know are left out, and %d user(s) who have"
            " no others get no list",
            asked.unknown_events,
            asked.unknown_users,
        )


def _print_lists(
    lists: "Iterator[tuple[str, Titled]]", total: int, as_json: bool, quiet: bool
) -> None:
    from genrec.training.logger import RunLogger

    if not as_json:
        typer.echo("user\trank\titem\ttitle")
    with RunLogger(None, "recommend", quiet=quiet or sys.stdout.isatty()).progress(total) as bar:
        for done, (user, rows) in enumerate(lists, start=1):
            if as_json:
                typer.echo(json.dumps({"user": user, "items": _ranked(rows)}))
            else:
                typer.echo(
                    "\n".join(
                        f"{user}\t{rank}\t{raw}\t{title}"
                        for rank, (raw, title) in enumerate(rows, 1)
                    )
                )
            bar(done, "")


def _ranked(rows: "Titled") -> list[dict[str, int | str]]:
    return [
        {"rank": rank, "id": raw, "title": title} for rank, (raw, title) in enumerate(rows, start=1)
    ]
