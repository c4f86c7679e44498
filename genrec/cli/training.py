"""``genrec train-teacher``, ``pretrain``, ``align`` and ``compare``: the stages of a run."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.config.errors import ConfigError, DataError

if TYPE_CHECKING:
    from genrec.pipeline.workspace import Workspace

Dataset = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="demo, a known name (`genrec data list`), or a path."),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Run folder. An interrupted run in it goes on.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="YAML file, or a shipped one such as demo.yaml or ml-1m.yaml."
    ),
]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Change a setting: key=value, such as teacher.epochs=5."),
]
Seed = Annotated[int | None, typer.Option(help="Of everything random.")]
Device = Annotated[str | None, typer.Option(help="auto, cuda, mps or cpu.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]


@reports_errors
def train_teacher(
    out: Out,
    dataset: Dataset = None,
    recipe: Annotated[
        str | None, typer.Option(help="sasrec, sasrec_softmax, gsasrec, bert4rec, markov ...")
    ] = None,
    config: Config = None,
    change: Change = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and calibrate a teacher: a recommender that scores items.

    \b
    Examples:
      genrec train-teacher --dataset demo --recipe gsasrec --out runs/teacher
      genrec train-teacher --dataset clicks.csv --out runs/t --set read.user=visitor --set
      teacher.epochs=20
    """  # noqa: D301
    from genrec.pipeline import stages

    changes = [*(change or []), *([f"teacher.recipe={recipe}"] if recipe else [])]
    workspace = open_workspace(config, changes, dataset, seed, device, quiet)
    stages.train_teacher(workspace, out)
    _print_result(out, as_json)


@reports_errors
def pretrain(
    teacher: Annotated[Path, typer.Option(help="Run folder of the teacher.")],
    out: Out,
    dataset: Dataset = None,
    config: Config = None,
    change: Change = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach a GPTRec to write the teacher's lists, item by item.

    Settings come from --config, else from the teacher's run.

    \b
    Examples:
      genrec pretrain --teacher runs/teacher --out runs/student
      genrec pretrain --teacher runs/teacher --out runs/student --set student.hidden_size=256
    """  # noqa: D301
    from genrec.pipeline import stages

    workspace = open_workspace(config, change or [], dataset, seed, device, quiet, origin=teacher)
    stages.train_student(workspace, teacher, out)
    _print_result(out, as_json)


@reports_errors
def align(
    out: Out,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            "--reward",
            "-r",
            help="NAME=WEIGHT, repeatable; NAME alone takes the setting align.weight, NAME=LOW:HIGH trains one policy"
            " for all weights in the range. NAME is diversity, novelty, popularity (its negative),"
            " ndcg, relevance, a"
            " plugin's name, module:attr, or file.py:attr.",
        ),
    ] = None,
    dataset: Dataset = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Run folder of the teacher; trained if missing.")
    ] = None,
    student: Annotated[
        Path | None, typer.Option(help="Run folder of the student; made if missing.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(help="Who trains: ppo (ours), sb3 (stable-baselines3) or grpo (TRL)."),
    ] = None,
    config: Config = None,
    change: Change = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a GPTRec with reinforcement learning for what lists should be.

    First the student learns the lists of a greedy re-ranker on the same rewards (--set
    align.warmup_lists=0 leaves that out), then it explores. An accuracy reward joins with weight 1
    unless you name one (relevance=..., ndcg=...) or switch it off (--set align.accuracy=none). A
    missing teacher or student is made first, inside the run folder.

    \b
    Examples:
      genrec align --reward diversity --out runs/diverse
      genrec align -r diversity=0.3 -r popularity=0.1 --teacher runs/teacher --student runs/student
      -o runs/both genrec align --reward diversity=0:2 --out runs/range
      genrec align -r ./my_reward.py:fresh=0.3 -d clicks.csv -o runs/fresh
      genrec align --reward diversity --agent sb3 --out runs/sb3
    """  # noqa: D301
    from genrec.pipeline import stages
    from genrec.rewards import weighted

    if reward:
        weighted(reward)  # a misspelt one is told before anything is loaded
    changes = [*(change or []), *([f"align.agent={agent}"] if agent else [])]
    workspace = open_workspace(
        config, changes, dataset, seed, device, quiet, origin=student or teacher
    )
    stages.align(workspace, reward or [], teacher, student, out)
    _print_result(out, as_json)


@reports_errors
def compare(
    run: Annotated[Path, typer.Argument(help="Run folder of an aligned policy.")],
    dataset: Dataset = None,
    change: Change = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="Measure this many test users only.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure an aligned policy against its teacher, MMR, SOG, DPP, greedy re-ranking and
    baselines.

    Prints each method at its best weight. The run folder gets comparison.json, the picture
    comparison.png, and
    comparison.md: all weights, hypervolumes, side effects.

    \b
    Examples:
      genrec compare runs/diverse
      genrec compare runs/diverse --set compare.weights=41 --json > comparison.json
    """  # noqa: D301
    from genrec.evaluation import comparison

    bad = [text for text in change or [] if not text.startswith("compare.")]
    if bad:
        raise ConfigError(
            f"--set {bad[0]}: a finished run keeps its settings; only compare.* can be changed here"
        )
    workspace = open_workspace(None, change or [], dataset, None, device, quiet, origin=run)
    comparison.compare(workspace, run, users)
    show_comparison(workspace, run, as_json)


def show_comparison(workspace: "Workspace", run: Path, as_json: bool) -> None:
    """Draw and print the comparison that lies in a folder."""
    from genrec import report
    from genrec.results import Comparison

    content = Comparison.read(run)
    report.plot(content, run / "comparison.png")
    (run / "comparison.md").write_text(report.page(content), encoding="utf-8")
    if as_json:
        typer.echo(content.to_json())
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(report.table(content, rows_per_method=1, width=console.width))
    for line in report.sentences(content):
        typer.echo(line)
    workspace.say(f"picture: {run / 'comparison.png'}")
    workspace.say(f"all tables: {run / 'comparison.md'}")


def open_workspace(
    config: Path | None,
    changes: list[str],
    dataset: str | None,
    seed: int | None,
    device: str | None,
    quiet: bool,
    origin: Path | None = None,
) -> "Workspace":
    """The bench of a command: settings of --config, else of the run it starts from, then the other
    options."""
    from genrec.config.reading import Settings, read_settings
    from genrec.pipeline.workspace import prepare_workspace
    from genrec.results import RunMetadata

    start = None
    if origin is not None and config is None:
        start = Settings.model_validate(RunMetadata.read(origin).settings)
    settings = read_settings(config, changes, start, dataset=dataset, seed=seed, device=device)
    try:
        return prepare_workspace(settings, quiet)
    except DataError as error:
        place = Path(settings.dataset)
        if (
            start is None
            or settings.dataset != start.dataset
            or not place.is_absolute()
            or place.exists()
        ):
            raise
        raise DataError(
            f"{origin} was made on {place}, which is not there: give --dataset ({error})"
        ) from None


def _print_result(out: Path, as_json: bool) -> None:
    from genrec.results import RunMetadata

    content = RunMetadata.read(out)
    if as_json:
        typer.echo(json.dumps({"run": str(out), **content.model_dump(mode="json")}, indent=2))
        return
    found = ", ".join(
        f"{name} {value:.4f}"
        for name, value in content.val.items()
        if isinstance(value, float)
    )
    typer.echo(f"{content.kind} in {out}: validation {found}")
