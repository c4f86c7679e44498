"""The command line: ``genrec VERB``. Heavy imports happen inside the commands, so that help answers
at once."""

import typer

from genrec.cli import data, doctor, rewards
from genrec.cli.evaluating import evaluate
from genrec.cli.recommending import recommend
from genrec.cli.sweeping import sweep
from genrec.cli.training import align, compare, pretrain, train_teacher

app = typer.Typer(
    name="genrec",
    help="Train a recommender, teach a generator to write its lists, align the lists with what they should be.",
    epilog="Start here: genrec align --config demo.yaml --reward diversity --out runs/demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app)
app.command("train-teacher")(train_teacher)
app.command()(pretrain)
app.command()(align)
app.command()(compare)
app.command()(sweep)
app.command()(evaluate)
app.command()(recommend)
app.add_typer(rewards.app)
app.command()(doctor.doctor)

__all__ = ["app"]
