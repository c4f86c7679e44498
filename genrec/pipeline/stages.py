"""The stages of a run: a teacher, a student, an aligned policy, each in a run directory."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from genrec.agents.distillation import make_demonstrations, pretrain
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.initialization import initialize_from_teacher
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.trl.model import item_tokenizer
from genrec.config.errors import GenrecError, RunError
from genrec.config.reading import AlignSettings, Settings
from genrec.data import Cases, Sequences
from genrec.data.cases import random_cases, whole_cases
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.metrics.calibration import fit_temperature
from genrec.metrics.context import Context, Floats
from genrec.metrics.ranking import evaluate, measure
from genrec.models.popularity_floor import is_above, popularity_ndcg
from genrec.models.scorer import NeuralScorer
from genrec.pipeline.demonstrations import (
    greedy_demonstrations,
    is_paid_for_lists,
    pool_size,
    teacher_demonstrations,
    warmup_histories,
    with_room,
)
from genrec.pipeline.loading import calibrated
from genrec.pipeline.workspace import (
    Workspace,
    finish,
    folder_of,
    is_finished,
    require_run,
    start,
)
from genrec.recipes import load_scorer, train_scorer
from genrec.recommender import TopK
from genrec.results import PopularityBaseline, RunMetadata, RunPlan
from genrec.rewards import (
    Ranges,
    WeightedSum,
    checked,
    complete_specs,
    ranges_of,
    require_times,
    reward_files,
    weight_grid,
    weighted,
)
from genrec.training.checkpoint import drop_checkpoint
from genrec.training.run_directory import digest, relative

logger = logging.getLogger("genrec")

# align.agent -> module with ``train``, and the extra of its libraries
TRAINERS = {
    "ppo": ("genrec.agents.ppo", ""),
    "sb3": ("genrec.agents.sb3.trainer", "sb3"),
    "grpo": ("genrec.agents.trl.trainer", "trl"),
}


def train_teacher(workspace: Workspace, out: Path) -> Path:
    """Train and calibrate the teacher that the settings name, in ``out``.

    Returns:
        The folder.
    """
    if is_finished(out, "teacher", workspace):
        return out
    settings = workspace.settings
    start(out, "teacher", workspace)
    workspace.say(f"teacher: {settings.teacher.recipe} on {settings.dataset}, in {out}")
    scorer = train_scorer(
        workspace.split,
        settings.teacher,
        settings.seed,
        workspace.device,
        out,
        workspace.quiet,
        settings.k,
    )
    temperature = fit_temperature(scorer, workspace.split.valid)
    found = evaluate(TopK(scorer), workspace.split.valid, workspace.split.catalogue, k=settings.k)
    popular, ndcg = popularity_ndcg(workspace.split, settings.k), f"ndcg@{settings.k}"
    against = PopularityBaseline(
        ndcg=float(popular.mean()),
        teacher_is_above=is_above(found.per_user[ndcg], popular),
    )
    results = {"temperature": temperature.value, "val": found.means, "popularity": against}
    finish(out, "teacher", workspace, results)
    return out


def train_student(workspace: Workspace, teacher: Path, out: Path) -> Path:
    """Teach a GPTRec the teacher's lists, in ``out``.

    Returns:
        The folder.
    """
    require_run(teacher, ("teacher",), workspace)
    workspace = _as_made(workspace, teacher)
    origin = {"teacher_weights": digest(teacher / "scorer.safetensors")}
    if is_finished(out, "student", workspace, **origin):
        return out
    settings, parts = workspace.settings, workspace.split
    start(out, "student", workspace, **origin)
    workspace.say(f"student: GPTRec learns the lists of {teacher}, in {out}")
    scorer = load_scorer(teacher, workspace.device)
    pool = pool_size(workspace)
    demonstrations = teacher_demonstrations(workspace, scorer, teacher, pool)
    check = make_demonstrations(scorer, parts.valid.histories, pool)
    policy = _new_policy(workspace)
    if isinstance(scorer, NeuralScorer):
        initialize_from_teacher(policy, scorer)
    found = pretrain(
        policy,
        demonstrations,
        split=parts,
        val_demonstrations=check,
        config=settings.student,
        k=settings.k,
        seed=settings.seed,
        directory=out,
        quiet=workspace.quiet,
    )
    policy.save_pretrained(out, parts.catalogue.item_ids[1:].tolist(), parts.fingerprint)
    drop_checkpoint(out)
    finish(out, "student", workspace, {"teacher": relative(teacher, out), "val": found})
    return out


def align(
    workspace: Workspace,
    rewards: Sequence[str],
    teacher: Path | None,
    student: Path | None,
    out: Path,
) -> Path:
    """Fine-tune a student for rewards, in ``out``; a missing teacher or student is made there
    first.

    Args:
        bench: settings and data.
        rewards: such as ``["diversity=0.5"]``; an accuracy reward joins them unless one is named or
            switched off. A weight that is a range, ``["diversity=0:2"]``, makes one policy for all
            weights in it.
        teacher: folder of the teacher, which judges relevance; None trains one.
        student: folder of the policy to start from; None makes one.
        out: folder of the aligned policy.

    Returns:
        The folder.
    """
    names = complete_specs(
        rewards, workspace.settings.align.accuracy, workspace.settings.align.weight
    )
    reward, ranges = weighted(names), ranges_of(names)
    require_times(reward, workspace.split.train)
    settings = workspace.settings.align
    _require_fixed_weights(ranges, settings.agent)
    train = trainer(settings)
    if teacher is None and student is not None:
        teacher = folder_of(student, "teacher")
    teacher = train_teacher(workspace, out / "teacher") if teacher is None else teacher
    require_run(teacher, ("teacher",), workspace)
    workspace = _as_made(workspace, teacher)
    student = train_student(workspace, teacher, out / "student") if student is None else student
    require_run(student, ("student", "aligned"), workspace)
    workspace = _as_made(workspace, teacher, student)
    origin = {
        "rewards": names,
        "reward_files": _digests(names),
        "teacher_weights": digest(teacher / "scorer.safetensors"),
        "student_weights": digest(student / "model.safetensors"),
    }
    if is_finished(out, "aligned", workspace, **origin):
        return out
    start(out, "aligned", workspace, **origin)
    item_ids = workspace.split.catalogue.item_ids[1:].tolist()
    if settings.agent == "grpo":
        item_tokenizer(item_ids).save_pretrained(out)
    begin = student
    if settings.warmup_lists:
        begin = supervised_warmup(
            workspace, reward, teacher, student, out / "supervised_warmup", origin, ranges
        )
    workspace.say(f"aligned: {begin} for {reward.name}, in {out}")
    policy, untouched = (_told_policy(folder, ranges, workspace) for folder in (begin, student))
    if RunMetadata.read(begin).kind != "aligned":  # which was sharpened before
        policy.apply_temperature(settings.temperature)
    chances = calibrated(teacher, workspace).probabilities
    validate = _validation(workspace, reward, ranges, chances)
    env = ListGenerationVectorEnv(
        replace(list_task(workspace, reward, chances, policy.max_length), ranges=ranges),
        num_envs=settings.histories * settings.group_size,
        group_size=settings.group_size,
    )
    found = train(
        policy,
        env,
        validate=validate,
        config=settings,
        k=workspace.settings.k,
        seed=workspace.settings.seed,
        directory=out,
        quiet=workspace.quiet,
    )
    first = validate(untouched)
    if first["objective"] >= found["objective"]:
        workspace.say(
            "nothing was better than the untouched student on the validation cases: it is what is"
            " kept"
        )
        policy, found = untouched, first
    policy.save_pretrained(out, item_ids, workspace.split.fingerprint)
    drop_checkpoint(out)
    places = {
        name: relative(folder, out) for name, folder in (("teacher", teacher), ("student", student))
    }
    places |= {"supervised_warmup": relative(begin, out)} if settings.warmup_lists else {}
    finish(out, "aligned", workspace, {"rewards": names, **places, "val": found})
    return out


def trainer(settings: AlignSettings) -> Callable[..., dict[str, float]]:
    """The ``train`` of the agent; all have the signature of ``genrec.agents.ppo.train``.

    Raises:
        GenrecError: naming what to install where its library is missing, or the setting that it has
            no place for.
    """
    agent = settings.agent
    name, extra = TRAINERS[agent]
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if not extra or library == "genrec":
            raise
        message = f'--agent {agent} needs {library}, which is not installed: pip install "genrec[{extra}]"'
        raise GenrecError(message) from error
    found: Callable[..., dict[str, float]] = module.train
    return found


def supervised_warmup(
    workspace: Workspace,
    reward: WeightedSum,
    teacher: Path,
    student: Path,
    out: Path,
    origin: dict[str, Any],
    ranges: Ranges = MappingProxyType({}),
) -> Path:
    """Teach a student the best lists known for the same rewards, in ``out``, so that PPO has the
    rest to find.

    The lists are written for whole training sequences, over and over, from the teacher's best items
    and with its calibrated probabilities; see ``warmup_histories`` and ``greedy_demonstrations``. Where weights
    have ranges the policy is told which ones a list was written for.

    Returns:
        The folder.
    """
    searched = ", searched" if is_paid_for_lists(reward) else ""
    origin = {**origin, "demonstrations": f"whole sequences{searched}"}
    if is_finished(out, "supervised_warmup", workspace, **origin):
        return out
    start(out, "supervised_warmup", workspace, **origin)
    settings, parts, k = workspace.settings, workspace.split, workspace.settings.k
    scorer, policy = calibrated(teacher, workspace), _told_policy(student, ranges, workspace)
    histories, rows, passes = warmup_histories(workspace, settings.align.warmup_lists, ranges)
    workspace.say(
        f"start: {student} learns {len(rows)} of the best lists known, {passes} time(s) each, in"
        f" {out}"
    )
    demonstrations = greedy_demonstrations(workspace, scorer, histories, rows, reward, ranges)
    check = greedy_demonstrations(
        workspace, scorer, parts.valid.histories, np.arange(len(parts.valid)), reward, ranges
    )
    teaching = settings.student.model_copy(
        update={"hard": 0.0, "temperature": 1.0, "epochs": passes}
    )
    found = pretrain(
        policy,
        demonstrations,
        split=parts,
        val_demonstrations=check,
        config=teaching,
        k=k,
        seed=settings.seed,
        directory=out,
        quiet=workspace.quiet,
    )
    policy.save_pretrained(out, parts.catalogue.item_ids[1:].tolist(), parts.fingerprint)
    drop_checkpoint(out)
    finish(
        out,
        "supervised_warmup",
        workspace,
        {"teacher": relative(teacher, out), "student": relative(student, out), "val": found},
    )
    return out


SHAPE = (
    "hidden_size",
    "blocks",
    "heads",
    "max_length",
)  # of a student, which an alignment cannot change


VALID_WEIGHTS = 5  # points of the grid of weights in a validation


def _told_policy(folder: Path, ranges: Ranges, workspace: Workspace) -> GPTRec:
    """The policy of a folder, conditioned on the ranges where there are any."""
    policy = GPTRec.from_pretrained(folder)[0].to(workspace.device)
    if ranges or policy.ranges:
        policy.condition(ranges, workspace.settings.seed)
    return policy


def _require_fixed_weights(ranges: Ranges, agent: str) -> None:
    if ranges and agent != "ppo":
        name, (low, high) = next(iter(ranges.items()))
        raise GenrecError(
            f"--agent {agent} trains for fixed weights, but {name}={low:g}:{high:g} is a range:"
            " take --agent ppo or"
            " one weight"
        )


def list_task(
    workspace: Workspace,
    reward: WeightedSum,
    chances: Callable[[Sequences], Floats],
    max_length: int,
) -> ListTask:
    """Lists for training users.

    Where events are held back, which teacher and student have never seen, lists are written for
    exactly those: the history is what came before one of them, the target is the event.

    Where none are, a reward that reads targets gets random beginnings of training sequences, the
    event that followed as the target. Any other gets whole training sequences: what came next was
    never shown to the teacher, so its probabilities are as calibrated there as on validation users,
    while on beginnings it promises what it has memorised.
    """
    settings, train = workspace.settings, workspace.split.train
    if settings.hold_back:
        cases = workspace.split.held_back
    elif "targets" in reward.needs:
        count = min(settings.align.updates * settings.align.histories, 100_000)
        cases = random_cases(train, count, np.random.default_rng(settings.seed))
    else:
        cases = whole_cases(train)
    cases = with_room(cases, settings.k, workspace)
    return ListTask(
        cases.histories,
        cases.targets,
        workspace.split.catalogue,
        reward=reward,
        k=settings.k,
        max_length=max_length,
        probabilities=chances,
    )


def require_same_files(run: Path, rewards: Sequence[str]) -> None:
    """Raise RunError where a reward file is not what it was when a run was aligned for it."""
    found = RunPlan.read(run).reward_files or ()
    for file, then, now in zip(reward_files(rewards), found, _digests(rewards), strict=False):
        if then != now:
            raise RunError(
                f"{run} was aligned for another version of {file}, which has changed since: put the"
                " file back as it"
                " was, or align again in another folder"
            )


def _digests(rewards: Sequence[str]) -> list[str]:
    return [digest(Path(file)) for file in reward_files(rewards)]


def _as_made(workspace: Workspace, teacher: Path, student: Path | None = None) -> Workspace:
    """The bench with the settings that its teacher, and the shape of its student, were made
    with."""
    asked = settings = workspace.settings
    for name, run in (("teacher", teacher), ("student", student)):
        if run is None:
            continue
        made = getattr(Settings.model_validate(RunMetadata.read(run).settings), name).model_dump()
        wanted = getattr(asked, name).model_dump()
        fixed = {key: made[key] for key in (SHAPE if name == "student" else made)}
        if ignored := [f"{name}.{key}={wanted[key]}" for key in fixed if wanted[key] != fixed[key]]:
            logger.warning(
                "%s was made with other settings, so these change nothing: %s",
                run,
                ", ".join(ignored),
            )
        part = getattr(asked, name).model_copy(update=fixed)
        settings = settings.model_copy(update={name: part})
    return replace(workspace, settings=settings)


def _validation(
    workspace: Workspace,
    reward: WeightedSum,
    ranges: Ranges,
    chances: Callable[[Sequences], Floats],
) -> Callable[[GPTRec], dict[str, float]]:
    """A function that measures a policy's greedy lists on the validation cases; their mean reward
    is the objective.

    Where weights have ranges, all is the mean over a small grid of them, each objective with the
    weights of its point.
    """
    context = context_of(workspace.split.valid, workspace, reward, chances)
    judged = {term.name: checked(term) for term, _ in reward.terms}
    grid = weight_grid(ranges, VALID_WEIGHTS).tolist() if ranges else [[]]
    points = [dict(zip(ranges, weights, strict=True)) for weights in grid]

    def validate(policy: GPTRec) -> dict[str, float]:
        found = []
        for weights in points:
            slates = NextK(policy.at(weights)).recommend(
                workspace.split.valid.histories, workspace.settings.k
            )
            gains = [
                weights.get(t.name, w) * judged[t.name](slates, context).sum(axis=1)
                for t, w in reward.terms
            ]
            total = float(np.sum(gains, axis=0).mean())
            found.append({"objective": total, **measure(slates, context, judged).means})
        return {name: float(np.mean([each[name] for each in found])) for name in found[0]}

    return validate


def context_of(
    cases: Cases, workspace: Workspace, reward: WeightedSum, chances: Callable[[Sequences], Floats]
) -> Context:
    """The context of one list for each case."""
    needed = chances(cases.histories) if "probabilities" in reward.needs else None
    return Context(
        cases.histories,
        cases.targets,
        workspace.split.catalogue,
        workspace.settings.k,
        of_probabilities=needed,
    )


def _new_policy(workspace: Workspace) -> GPTRec:
    s = workspace.settings.student
    with torch.random.fork_rng():
        torch.manual_seed(workspace.settings.seed)
        policy = GPTRec(
            workspace.split.catalogue.num_items,
            hidden_size=s.hidden_size,
            blocks=s.blocks,
            heads=s.heads,
            max_length=s.max_length,
            max_slate=max(20, workspace.settings.k),
            dropout=s.dropout,
        )
    return policy.to(workspace.device)
