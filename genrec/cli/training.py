"""``genrec train-teacher``, ``pretrain`` and ``align``: the stages of a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.options import (
    Changes,
    Config,
    Dataset,
    Device,
    Json,
    Out,
    Quiet,
    Seed,
    Student,
    Teacher,
    Trust,
    command_settings,
    open_workspace,
)
from genrec.cli.text import echo


@reports_errors
def train_teacher(
    out: Out,
    dataset: Dataset = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="sasrec_softmax, gsasrec, bert4rec, markov ..., or a scorer of your own as"
            " module:attribute. `genrec settings teacher` lists them."
        ),
    ] = None,
    config: Config = None,
    changes: Changes = None,
    seed: Seed = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and calibrate a teacher: a recommender that scores items.

    \b
    Examples:
      genrec train-teacher --dataset demo --recipe gsasrec --out runs/teacher
      genrec train-teacher -d clicks.csv -o runs/t --set read.user=visitor --set teacher.epochs=20
      genrec train-teacher --recipe als --set teacher.factors=128 --out runs/als
    """  # noqa: D301
    named = [f"teacher.recipe={recipe}"] if recipe else []
    settings = command_settings(
        config=config,
        changes=[*named, *(changes or [])],
        dataset=dataset,
        seed=seed,
        device=device,
        trust=trust,
    )
    workspace = open_workspace(settings, quiet=quiet)

    from genrec.pipeline import stages

    stages.train_teacher(workspace, out)
    _print_result(out, as_json)


@reports_errors
def pretrain(
    teacher: Annotated[Path, typer.Option(help="Run directory of the teacher.")],
    out: Out,
    dataset: Dataset = None,
    config: Config = None,
    changes: Changes = None,
    seed: Seed = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Distil the teacher's lists into a GPTRec, which writes them item by item.

    Settings come from --config, else from the teacher's run.

    \b
    Examples:
      genrec pretrain --teacher runs/teacher --out runs/student
      genrec pretrain --teacher runs/teacher --out runs/student --set student.hidden_size=256
    """  # noqa: D301
    settings = command_settings(
        config=config,
        changes=changes,
        dataset=dataset,
        seed=seed,
        device=device,
        origin=teacher,
        trust=trust,
    )
    workspace = open_workspace(settings, quiet=quiet, origin=teacher)

    from genrec.pipeline import stages

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
            help="NAME=WEIGHT, repeatable; NAME alone has the weight align.weight, NAME=LOW:HIGH"
            " trains one policy for all weights in the range. NAME is diversity, novelty,"
            " popularity (its negative), genre_calibration, serendipity, ndcg, relevance, a"
            " plugin's name, module:attribute, or file.py:attribute.",
        ),
    ] = None,
    dataset: Dataset = None,
    teacher: Teacher = None,
    student: Student = None,
    agent: Annotated[
        str | None,
        typer.Option(help="Which agent trains: ppo (genrec's), sb3 (sb3-contrib) or grpo (TRL)."),
    ] = None,
    config: Config = None,
    changes: Changes = None,
    seed: Seed = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a GPTRec with reinforcement learning for what lists should be.

    The student first learns the lists of a greedy re-ranker on the same rewards (supervised
    warm-up; --set align.warmup_lists=0 leaves it out). Then an agent explores. An accuracy reward
    joins with weight 1 unless you name one (relevance=..., ndcg=...) or switch it off (--set
    align.accuracy=none). A missing teacher or student is made first, inside the run directory.

    \b
    Examples:
      genrec align --reward diversity --out runs/diverse
      genrec align -r diversity=0.3 -r popularity=0.1 --teacher runs/teacher -o runs/both
      genrec align --reward diversity=0:2 --out runs/range
      genrec align -r ./my_reward.py:fresh=0.3 -d clicks.csv -o runs/fresh
      genrec align --reward diversity --agent sb3 --out runs/sb3
    """  # noqa: D301
    named = [f"align.agent={agent}"] if agent else []
    origin = student or teacher
    settings = command_settings(
        config=config,
        changes=[*named, *(changes or [])],
        dataset=dataset,
        seed=seed,
        device=device,
        origin=origin,
        trust=trust,
    )

    from genrec.rewards import parse_rewards

    # Parsed before any data is loaded, so that a mistyped reward is reported at once; the object
    # is passed on, so that a file of the user's own is executed once.
    objective = parse_rewards(
        reward or [], accuracy=settings.align.accuracy, weight=settings.align.weight
    )
    workspace = open_workspace(settings, quiet=quiet, origin=origin)

    from genrec.pipeline import stages

    stages.align(workspace, objective, out=out, teacher=teacher, student=student)
    _print_result(out, as_json)


def _print_result(out: Path, as_json: bool) -> None:
    from genrec.results import RunMetadata

    metadata = RunMetadata.read(out)
    if as_json:
        content = {"run": str(out), **metadata.model_dump(mode="json")}
        typer.echo(json.dumps(content, indent=2))
        return
    found = ", ".join(
        f"{name} {value:.4f}" for name, value in metadata.val.items() if isinstance(value, float)
    )
    echo(f"{metadata.kind} in {out}: validation {found}")
