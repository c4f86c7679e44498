"""The command line, ``genrec VERB``: thin commands over the library.

Heavy imports happen inside the commands, so that help, settings and mistyped keys are answered at
once.
"""

from typing import Annotated

import typer

from genrec.cli import data, doctor, rewards
from genrec.cli.compare import compare
from genrec.cli.errors import set_debug
from genrec.cli.evaluate import evaluate
from genrec.cli.recommend import recommend
from genrec.cli.settings import settings
from genrec.cli.sweep import sweep
from genrec.cli.training import align, pretrain, train_teacher

app = typer.Typer(
    name="genrec",
    help=(
        "Train a recommender, teach a generator to write its lists, and align the lists with what"
        " they should be."
    ),
    epilog="Start here: genrec align --config demo.yaml --reward diversity --out runs/demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from genrec import __version__

        typer.echo(f"genrec {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="GENREC_DEBUG", help="Show the traceback of every error."),
    ] = False,
) -> None:
    """Set what holds for every command."""
    set_debug(debug)


app.add_typer(data.app)
app.command("train-teacher")(train_teacher)
app.command()(pretrain)
app.command()(align)
app.command()(compare)
app.command()(sweep)
app.command()(evaluate)
app.command()(recommend)
app.command()(settings)
app.add_typer(rewards.app)
app.command()(doctor.doctor)

__all__ = ["app"]
