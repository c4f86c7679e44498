"""``genrec recommend``: raw item ids in, lists out."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.options import Changes, Quiet, Trust
from genrec.config.text import tsv_row
from genrec.config.trust import trust_everything

if TYPE_CHECKING:
    from genrec.data import Dataset
    from genrec.pipeline.item_index import TitledList
    from genrec.pipeline.recommend import UserHistories

logger = logging.getLogger(__name__)

# What --set may change here: how the log of --dataset is read
READABLE = ("read.user=", "read.item=", "read.time=", "read.separator=", "read.drop_repeats=")


@reports_errors
def recommend(
    run: Annotated[
        Path, typer.Argument(help="Run directory of a teacher, a student or an aligned policy.")
    ],
    history: Annotated[
        str | None,
        typer.Option(
            "--history", help="One list, after these raw item ids: oldest first, comma-separated."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", help="A list for every user of this log: demo, a known name, a path."
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
            help="NAME=WEIGHT, repeatable, for a policy that was aligned for a range of weights;"
            " the middle of the range by default."
        ),
    ] = None,
    changes: Changes = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    trust: Trust = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --dataset one line per user.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Recommend after one history, or for every user of a log.

    For a history it prints rank, id and title of each item, separated by tabs; for a log the same
    after the user, below a line with the names of the columns. Cells with tabs, line ends or quotes
    are quoted as in CSV, other control characters are written out, and cells that a spreadsheet
    would compute get an apostrophe in front; --json has every id and title as it is.

    The log is read with the columns that the run was trained with; --set read.user=... changes
    them. Items that the run does not know are left out of the histories.

    \b
    Examples:
      genrec recommend runs/demo --history item-0001,item-0042
      genrec recommend runs/demo --history item-0001 --k 5 --json
      genrec recommend runs/range --history item-0001 --weight diversity=0.7
      genrec recommend runs/clicks --dataset today.csv > lists.tsv
    """  # noqa: D301
    from genrec.config.errors import GenrecError

    if (history is None) == (dataset is None):
        raise GenrecError(
            "give either --history, for one list, or --dataset, for a list for every user of a log"
        )
    unusable = [text for text in changes or [] if not text.startswith(READABLE)]
    if changes and (dataset is None or unusable):
        raise GenrecError(
            f"--set {(unusable or changes)[0]}: only how --dataset is read can be changed here,"
            f" {', '.join(READABLE)}..."
        )

    from genrec.pipeline.provenance import settings_in
    from genrec.pipeline.recommend import recommend_titles, recommend_users, user_histories
    from genrec.rewards import read_weights
    from genrec.training.device import choose_device
    from genrec.training.logger import configure

    configure(quiet=quiet)
    if trust:
        trust_everything()
    length = k or settings_in(run).k
    chosen_device, weights = choose_device(device), read_weights(weight or [])
    if dataset is not None:
        users = user_histories(run, _log_of(run, dataset, changes or []))
        _report_left_out(users)
        lists = recommend_users(
            run, users, length, device=chosen_device, beams=beams, weights=weights
        )
        _print_lists(lists, len(users.users), as_json, quiet)
        return
    raw_ids = [raw.strip() for raw in (history or "").split(",") if raw.strip()]
    rows = recommend_titles(
        run, raw_ids, length, device=chosen_device, beams=beams, weights=weights
    )
    if as_json:
        typer.echo(json.dumps(_ranked(rows)))
        return
    for rank, (raw, title) in enumerate(rows, start=1):
        typer.echo(tsv_row([rank, raw, title], terminal=sys.stdout.isatty()))


def _log_of(run: Path, source: str, changes: list[str]) -> "Dataset":
    """The log, read with the run's columns; users and items with few events stay in."""
    from genrec.data import load
    from genrec.pipeline.provenance import settings_in
    from genrec.pipeline.settings import read_settings

    read = read_settings(None, changes, settings_in(run)).read
    unfiltered = read.model_copy(update={"items": None, "min_user_events": 0, "min_item_events": 0})
    loaded = load(source, unfiltered)
    for sentence in loaded.report.sentences():
        logger.info(sentence)
    return loaded.dataset


def _report_left_out(users: "UserHistories") -> None:
    if users.unknown_events:
        logger.warning(
            "%d event(s) with items that the run does not know are left out, and %d user(s) who"
            " have no others get no list",
            *(users.unknown_events, users.unknown_users),
        )


def _print_lists(
    lists: "Iterator[tuple[str, TitledList]]", total: int, as_json: bool, quiet: bool
) -> None:
    from genrec.training.logger import RunLogger

    if not as_json:
        typer.echo("user\trank\titem\ttitle")
    run_logger = RunLogger(None, "recommend", quiet=quiet or sys.stdout.isatty())
    with run_logger.progress(total) as bar:
        for done, (user, rows) in enumerate(lists, start=1):
            if as_json:
                typer.echo(json.dumps({"user": user, "items": _ranked(rows)}))
            else:
                ranked = enumerate(rows, start=1)
                terminal = sys.stdout.isatty()
                for rank, (raw, title) in ranked:
                    typer.echo(tsv_row([user, rank, raw, title], terminal=terminal))
            bar(done, "")


def _ranked(rows: "TitledList") -> list[dict[str, int | str]]:
    return [
        {"rank": rank, "id": raw, "title": title} for rank, (raw, title) in enumerate(rows, start=1)
    ]
