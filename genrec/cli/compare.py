"""``genrec compare``: an aligned policy against its teacher, re-rankers and baselines."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.options import (
    Changes,
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

logger = logging.getLogger(__name__)

PIPED_WIDTH = 160  # columns of a table that goes to a file or another program


@reports_errors
def compare(
    run: Annotated[Path, typer.Argument(help="Run directory of an aligned policy.")],
    dataset: Dataset = None,
    changes: Changes = None,
    users: Users = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare an aligned policy with its teacher, its student, re-rankers and baselines.

    Prints each method at its best weight. The run directory gets comparison.json, the picture
    comparison.png, and comparison.md with all weights, areas under hulls, side effects and
    exposure by position.

    \b
    Examples:
      genrec compare runs/diverse
      genrec compare runs/diverse --set compare.weights=41 --json > comparison.json
    """  # noqa: D301
    from genrec.config.errors import ConfigError

    if bad := [text for text in changes or [] if not text.startswith("compare.")]:
        raise ConfigError(
            f"--set {bad[0]}: a finished run keeps its settings; only compare.* can be changed here"
        )
    settings = command_settings(
        changes=changes, dataset=dataset, device=device, origin=run, trust=trust
    )
    workspace = open_workspace(settings, quiet=quiet, origin=run)

    from genrec.evaluation import comparison
    from genrec.training.run_directory import exclusive

    with exclusive(run):
        comparison.compare(workspace, run, users=users)
        show_comparison(run, as_json)


def show_comparison(run: Path, as_json: bool) -> None:
    """Draw and print the comparison in a run directory."""
    from genrec import report
    from genrec.config.writing import write_text
    from genrec.results import Comparison

    content = Comparison.read(run)
    picture, page = run / "comparison.png", run / "comparison.md"
    report.plot(content, picture)
    write_text(page, report.page(content))
    if as_json:
        typer.echo(content.to_json())
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(report.table(content, rows_per_method=1, width=console.width))
    exposure = report.exposure_table(content)
    if exposure is not None:
        console.print(exposure)
    for line in report.sentences(content):
        echo(line)
    logger.info("picture: %s", picture)
    logger.info("all tables: %s", page)
