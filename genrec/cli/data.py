"""``genrec data``: list, fetch, describe and convert interaction logs."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.text import echo
from genrec.config.text import printable, tsv_row

if TYPE_CHECKING:
    from genrec.data.sources import Loaded

app = typer.Typer(
    name="data",
    help="List, download, check and convert interaction logs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Source = Annotated[
    str, typer.Argument(help="demo, a known name (see `genrec data list`), or a file or folder.")
]
User = Annotated[str | None, typer.Option(help="Column of the user; guessed by default.")]
Item = Annotated[str | None, typer.Option(help="Column of the item; guessed by default.")]
Time = Annotated[
    str | None, typer.Option(help="Column of the time; guessed, else the order of the file counts.")
]
Separator = Annotated[
    str | None, typer.Option(help="Separator of a text table, for instance ';' or tab.")
]
Items = Annotated[
    Path | None, typer.Option(help="File with titles and genres; found beside the log by default.")
]
MinUserEvents = Annotated[int, typer.Option(min=0, help="Remove users with fewer events.")]
MinItemEvents = Annotated[int, typer.Option(min=0, help="Remove items with fewer events.")]
DropRepeats = Annotated[
    bool, typer.Option("--drop-repeats", help="Keep only a user's first event with an item.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no report, only what was asked for.")
]


@app.command("list")
@reports_errors
def list_sources(as_json: Json = False) -> None:
    """List the built-in and the known datasets.

    \b
    Examples:
      genrec data list
      genrec data list --json
    """  # noqa: D301
    from genrec.data.download import KNOWN, cache_folder
    from genrec.data.sources import BUILT_IN

    cache = cache_folder()
    rows = [{"name": name, "where": "built in", "what": text} for name, text in BUILT_IN.items()]
    for name, known in KNOWN.items():
        where = str(cache / name) if (cache / name).is_dir() else "to download"
        rows.append({"name": name, "where": where, "what": known.summary})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    _print_table(["name", "where", "what"], [list(row.values()) for row in rows])


@app.command("fetch")
@reports_errors
def fetch_dataset(
    name: Annotated[str, typer.Argument(help="A known name, see `genrec data list`.")],
    cache: Annotated[
        Path | None, typer.Option(help="Folder of downloads; GENREC_CACHE or ~/.cache/genrec.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Address of another server's folder with <name>.zip.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Download a known dataset, check it, unpack it, and print its folder.

    An interrupted download is resumed.

    \b
    Examples:
      genrec data fetch ml-latest-small
      genrec data fetch ml-1m --cache data
    """  # noqa: D301
    from genrec.data.download import BASE_URL, KNOWN, fetch

    folder = fetch(name, cache, base_url=base or BASE_URL, quiet=quiet)
    if KNOWN[name].sha256 is None and not quiet:
        echo(
            f"{name} changes with releases: it has no checksum, only the zip file was checked",
            err=True,
        )
    echo(str(folder))


@app.command("describe")
@reports_errors
def describe(
    source: Source,
    user: User = None,
    item: Item = None,
    time: Time = None,
    separator: Separator = None,
    items: Items = None,
    min_user_events: MinUserEvents = 0,
    min_item_events: MinItemEvents = 0,
    drop_repeats: DropRepeats = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read a dataset and say what is in it and what was dropped or changed.

    \b
    Examples:
      genrec data describe demo
      genrec data describe log.csv --user customer --item sku --time day
      genrec data describe ml-1m/ratings.dat --min-item-events 5 --json
    """  # noqa: D301
    loaded = _load(
        source,
        user=user,
        item=item,
        time=time,
        separator=separator,
        items=None if items is None else str(items),
        min_user_events=min_user_events,
        min_item_events=min_item_events,
        drop_repeats=drop_repeats,
    )
    statistics = loaded.dataset.statistics()
    if as_json:
        what = {"name": loaded.dataset.name, "fingerprint": loaded.dataset.fingerprint}
        document = what | {"statistics": statistics, "report": dataclasses.asdict(loaded.report)}
        typer.echo(json.dumps(document, indent=2))
        return
    _print_table(
        [loaded.dataset.name, loaded.dataset.fingerprint],
        [[name, _number(value)] for name, value in statistics.items()],
    )
    _print_report(loaded, quiet)


@app.command("convert")
@reports_errors
def convert(
    source: Source,
    out: Annotated[
        Path, typer.Argument(help="File to write: .txt (SASRec text), .csv or .parquet.")
    ],
    user: User = None,
    item: Item = None,
    time: Time = None,
    separator: Separator = None,
    items: Items = None,
    min_user_events: MinUserEvents = 0,
    min_item_events: MinItemEvents = 0,
    drop_repeats: DropRepeats = False,
    quiet: Quiet = False,
) -> None:
    """Clean a dataset and write it as SASRec text, CSV or Parquet, with its items beside it.

    \b
    Examples:
      genrec data convert demo demo.csv
      genrec data convert ml-latest-small ml.txt --min-user-events 5 --min-item-events 5
    """  # noqa: D301
    from genrec.data.export import write

    loaded = _load(
        source,
        user=user,
        item=item,
        time=time,
        separator=separator,
        items=None if items is None else str(items),
        min_user_events=min_user_events,
        min_item_events=min_item_events,
        drop_repeats=drop_repeats,
    )
    for path in write(loaded.dataset, out):
        echo(str(path))
    _print_report(loaded, quiet)


def _load(source: str, **options: Any) -> "Loaded":
    """The dataset, read with options of ``ReadConfig``."""
    from genrec.data.config import ReadConfig
    from genrec.data.sources import load

    return load(source, ReadConfig(**options))


def _print_table(header: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal, lines with tabs elsewhere."""
    if not sys.stdout.isatty():
        for row in [header, *rows]:
            typer.echo(tsv_row(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in header:
        table.add_column(Text(printable(name, kept="")))
    for row in rows:
        table.add_row(*[Text(printable(cell, kept="")) for cell in row])
    Console().print(table)


def _print_report(loaded: "Loaded", quiet: bool) -> None:
    """The report on stderr; warnings even where quiet."""
    for sentence in () if quiet else loaded.report.sentences():
        echo(sentence, err=True)
    for warning in loaded.report.warnings:
        echo(f"warning: {warning}", err=True)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
