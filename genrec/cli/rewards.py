"""``genrec rewards``: what lists can be rewarded for."""

import json
from typing import Annotated

import typer

from genrec.cli.errors import reports_errors

app = typer.Typer(
    name="rewards",
    help="See what lists can be rewarded for.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def rewards() -> None:
    """See what lists can be rewarded for."""


@app.command("list")
@reports_errors
def list_rewards(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
    """List the built-in rewards and those of installed plugins: name, origin, what each needs, one line.

    \b
    Examples:
      genrec rewards list
      genrec rewards list --json
    """  # noqa: D301
    from genrec.rewards import available

    entries = available()
    if as_json:
        rows = [
            {"name": e.name, "origin": e.origin, "needs": sorted(e.needs), "summary": e.summary, "error": e.error}
            for e in entries
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for entry in entries:
        needs = ",".join(sorted(entry.needs)) or "-"
        typer.echo(f"{entry.name}\t{entry.origin}\t{needs}\t{entry.error or entry.summary}")
