"""The stages of a run: a teacher, a student, a supervised warm-up, an aligned policy.

Each stage leaves a run directory. A stage that is finished is not run again, and one that was
interrupted is resumed.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genrec.agents.distillation import make_demonstrations, pretrain
from genrec.agents.gptrec.initialization import initialize_from_teacher
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.trainer import Trainer
from genrec.agents.trl.model import item_tokenizer
from genrec.config.errors import RunError
from genrec.metrics.calibration import fit_temperature
from genrec.metrics.ranking import evaluate
from genrec.models.popularity_floor import is_above, popularity_ndcg
from genrec.models.scorer import NeuralScorer
from genrec.models.trainer import product_shape
from genrec.pipeline.demonstrations import pool_size, teacher_demonstrations
from genrec.pipeline.provenance import (
    begin_run,
    finish_run,
    is_finished,
    model_digest,
    parent_run,
    require_run,
    settings_in,
    with_decided_precision,
    writing,
)
from genrec.pipeline.reinforcement import reinforce, require_fixed_weights, trainer
from genrec.pipeline.teachers import load_scorer, train_scorer
from genrec.pipeline.warmup import supervised_warmup
from genrec.pipeline.workspace import Workspace
from genrec.recipes import NeuralTeacher
from genrec.recommender import TopK
from genrec.results import Kind, PopularityBaseline, RunPlan
from genrec.rewards import RewardObjective, files_of, parse_rewards, require_times
from genrec.rewards.specs import WeightedReward
from genrec.training.checkpoint import drop_checkpoint

logger = logging.getLogger(__name__)

# Settings of a student that an alignment cannot change
SHAPE = ("hidden_size", "blocks", "heads", "max_length")


def train_teacher(workspace: Workspace, out: Path) -> Path:
    """Train the teacher that the settings name, and calibrate it on the validation cases.

    Args:
        workspace: settings and data.
        out: run directory of the teacher.

    Returns:
        The run directory.
    """
    with writing(out):
        if not is_finished(out, "teacher", workspace):
            _train_teacher(workspace, out)
    return out


def _train_teacher(workspace: Workspace, out: Path) -> None:
    settings, split = workspace.settings, workspace.split
    begin_run(out, "teacher", workspace)
    logger.info("teacher: %s on %s, in %s", settings.teacher.recipe, settings.dataset, out)
    teacher = settings.teacher
    if isinstance(teacher, NeuralTeacher):
        shape = product_shape(teacher, teacher.hidden_size, split.catalogue.num_items)
        teacher = with_decided_precision(teacher, out, workspace.device, shape)
    scorer = train_scorer(
        split,
        teacher,
        seed=settings.seed,
        device=workspace.device,
        directory=out,
        quiet=workspace.quiet,
        k=settings.k,
        trackers=settings.trackers,
    )
    temperature = fit_temperature(scorer, split.valid)
    found = evaluate(TopK(scorer), split.valid, split.catalogue, k=settings.k)
    popularity = popularity_ndcg(split, settings.k)
    above = is_above(found.per_user[f"ndcg@{settings.k}"], popularity)
    finish_run(
        out,
        "teacher",
        workspace,
        val=found.means,
        temperature=temperature.value,
        popularity=PopularityBaseline(ndcg=float(popularity.mean()), teacher_is_above=above),
    )
    drop_checkpoint(out)  # only now: until run.json exists, the training can be resumed from it


def train_student(workspace: Workspace, teacher: Path, out: Path) -> Path:
    """Distil the teacher's lists into a GPTRec.

    Args:
        workspace: settings and data.
        teacher: run directory of the teacher.
        out: run directory of the student.

    Returns:
        The run directory of the student.
    """
    require_run(teacher, ("teacher",), workspace)
    workspace = _with_settings_of(workspace, teacher=teacher)
    origin = {"teacher_weights": model_digest(teacher)}
    with writing(out):
        if not is_finished(out, "student", workspace, **origin):
            _train_student(workspace, teacher, out, origin)
    return out


def _train_student(
    workspace: Workspace, teacher: Path, out: Path, origin: Mapping[str, str]
) -> None:
    settings, split = workspace.settings, workspace.split
    begin_run(out, "student", workspace, **origin)
    logger.info("student: GPTRec learns the lists of %s, in %s", teacher, out)
    scorer, pool = load_scorer(teacher, workspace.device), pool_size(workspace)
    demonstrations = teacher_demonstrations(workspace, scorer, teacher, pool)
    policy = _new_policy(workspace)
    if isinstance(scorer, NeuralScorer):
        initialize_from_teacher(policy, scorer)
    val = pretrain(
        policy,
        demonstrations,
        split=split,
        val_demonstrations=make_demonstrations(scorer, split.valid.histories, pool),
        config=with_decided_precision(
            settings.student,
            out,
            workspace.device,
            policy.product_shape(settings.student.lists_per_step),
        ),
        k=settings.k,
        seed=settings.seed,
        directory=out,
        quiet=workspace.quiet,
        trackers=settings.trackers,
    )
    policy.save_pretrained(out, workspace.item_ids, split.fingerprint)
    finish_run(out, "student", workspace, val=val, parents={"teacher": teacher})
    drop_checkpoint(out)


def align(
    workspace: Workspace,
    rewards: RewardObjective | WeightedReward | Iterable[WeightedReward],
    *,
    out: Path,
    teacher: Path | None = None,
    student: Path | None = None,
) -> Path:
    """Fine-tune a student for rewards; a missing teacher or student is made first, inside ``out``.

    Args:
        workspace: settings and data.
        rewards: specs such as ``"diversity=0.5"``, reward objects, functions, or pairs of these
            with a weight. An accuracy reward joins them unless one is named or switched off. A
            weight that is a range, ``"diversity=0:2"``, gives one policy for all weights in it.
        out: run directory of the aligned policy.
        teacher: run directory of the teacher, whose probabilities reward relevance; None trains
            one.
        student: run directory of the policy to start from; None makes one.

    Returns:
        The run directory of the aligned policy.
    """
    settings = workspace.settings.align
    objective = parse_rewards(rewards, accuracy=settings.accuracy, weight=settings.weight)
    require_times(objective.reward, workspace.split.train)
    require_fixed_weights(objective.ranges, settings.agent)
    train = trainer(settings.agent)
    with writing(out):
        workspace, teacher, student = _with_parts(workspace, out, teacher=teacher, student=student)
        origin = {
            "rewards": tuple(objective.specs),
            "reward_files": tuple(file.digest for file in objective.files),
            "teacher_weights": model_digest(teacher),
            "student_weights": model_digest(student),
        }
        if not is_finished(out, "aligned", workspace, **origin):
            _align(
                workspace,
                objective,
                train,
                out=out,
                teacher=teacher,
                student=student,
                origin=origin,
            )
    return out


def _align(
    workspace: Workspace,
    objective: RewardObjective,
    train: Trainer[Any],
    *,
    out: Path,
    teacher: Path,
    student: Path,
    origin: dict[str, Any],
) -> None:
    settings = workspace.settings.align
    begin_run(out, "aligned", workspace, **origin)
    parents: dict[Kind, Path] = {"teacher": teacher, "student": student}
    start = student
    if settings.warmup_lists:
        start = supervised_warmup(
            workspace,
            objective,
            teacher=teacher,
            student=student,
            out=out / "supervised_warmup",
            origin=origin,
        )
        parents["supervised_warmup"] = start
    policy, val = reinforce(
        workspace, objective, train, teacher=teacher, student=student, start=start, out=out
    )
    policy.save_pretrained(out, workspace.item_ids, workspace.split.fingerprint)
    if settings.agent == "grpo":
        item_tokenizer(workspace.item_ids).save_pretrained(out)
    finish_run(out, "aligned", workspace, val=val, parents=parents, rewards=tuple(objective.specs))
    drop_checkpoint(out)


def _with_parts(
    workspace: Workspace, out: Path, *, teacher: Path | None, student: Path | None
) -> tuple[Workspace, Path, Path]:
    """The run directories of teacher and student, and the workspace with their settings.

    What is missing is made inside ``out``.
    """
    if teacher is None and student is not None:
        teacher = parent_run(student, "teacher")
    if teacher is None:
        teacher = train_teacher(workspace, out / "teacher")
    require_run(teacher, ("teacher",), workspace)
    workspace = _with_settings_of(workspace, teacher=teacher)
    if student is None:
        student = train_student(workspace, teacher, out / "student")
    require_run(student, ("student", "aligned"), workspace)
    return _with_settings_of(workspace, teacher=teacher, student=student), teacher, student


def require_same_files(run: Path, specs: Iterable[str]) -> None:
    """Raise RunError where a reward file has changed since a run was aligned for it.

    Args:
        run: the run.
        specs: its rewards, of which nothing has been executed yet.
    """
    then = RunPlan.read(run).reward_files or ()
    for file, digest_then in zip(files_of(specs), then, strict=True):
        if file.digest != digest_then:
            raise RunError(
                f"{run} was aligned for another version of {file.path}, which has changed since:"
                " restore the file, or align again in another directory"
            )


def _with_settings_of(
    workspace: Workspace, *, teacher: Path, student: Path | None = None
) -> Workspace:
    """The workspace with the settings that its teacher, and the shape of its student, were made
    with; what was asked for and cannot be changed any more is reported.
    """
    settings = workspace.settings
    made = settings_in(teacher).teacher
    if made != settings.teacher:
        _report_ignored(teacher, "teacher", settings.teacher.model_dump(), made.model_dump())
        settings = settings.model_copy(update={"teacher": made})
    if student is not None:
        found, asked = settings_in(student).student.model_dump(), settings.student.model_dump()
        fixed = {key: found[key] for key in SHAPE}
        _report_ignored(student, "student", asked, asked | fixed)
        shaped = settings.student.model_copy(update=fixed)
        settings = settings.model_copy(update={"student": shaped})
    return replace(workspace, settings=settings)


def _report_ignored(run: Path, section: str, asked: dict[str, Any], made: dict[str, Any]) -> None:
    ignored = [f"{section}.{key}={value}" for key, value in asked.items() if made.get(key) != value]
    if ignored:
        logger.warning(
            "%s was made with other settings, which cannot be changed: ignored %s",
            *(run, ", ".join(ignored)),
        )


def _new_policy(workspace: Workspace) -> GPTRec:
    """An untrained GPTRec of the student's size."""
    student, settings = workspace.settings.student, workspace.settings
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        policy = GPTRec(
            num_items=workspace.split.catalogue.num_items,
            hidden_size=student.hidden_size,
            blocks=student.blocks,
            heads=student.heads,
            max_length=student.max_length,
            max_slate=max(20, settings.k),
            dropout=student.dropout,
        )
    return policy.to(workspace.device)
