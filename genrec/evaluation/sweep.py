"""A sweep: one alignment for each weight and seed, then one comparison of them all."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from genrec.config.errors import GenrecError
from genrec.config.reading import Settings
from genrec.evaluation.comparison import compare_runs
from genrec.pipeline import stages
from genrec.pipeline.workspace import Workspace, folder_of, prepare_workspace
from genrec.rewards import complete_specs
from genrec.rewards.ranges import split_spec
from genrec.training.interruption import Interrupted
from genrec.training.run_directory import write_json


@dataclass(frozen=True)
class Sweep:
    """What is run.

    Attributes:
        rewards: specs; the one without a weight takes each of the weights, and ranges are allowed.
        weights: texts of numbers or ranges; empty where every reward has a weight of its own.
        seeds: of the alignments, which share teacher and student.
        jobs: alignments at a time, each in a process of its own where there are several.
    """

    rewards: tuple[str, ...]
    weights: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int = 1


@dataclass(frozen=True)
class Member:
    """One alignment of a sweep.

    Attributes:
        specs: of its rewards, complete.
        seed: its seed.
        folder: where it goes.
    """

    specs: tuple[str, ...]
    seed: int
    folder: Path


def run_sweep(
    workspace: Workspace,
    chosen: Sweep,
    teacher: Path | None,
    student: Path | None,
    out: Path,
    users: int | None = None,
) -> dict[str, Any]:
    """Align a student for every weight and seed, and compare them as one curve with all re-rankers.

    Alignments that are finished are not run again; one that was interrupted goes on. A missing
    teacher or student is made first, inside the folder, and serves all.

    Args:
        bench: settings and data.
        chosen: rewards, weights, seeds, jobs.
        teacher: its folder; None trains one.
        student: its folder; None makes one.
        out: receives a folder for each alignment and the comparison.
        users: compare on this many test cases only.

    Returns:
        The comparison, with the folders of the alignments as ``runs``.

    Raises:
        GenrecError: if weights and rewards do not fit, see ``members_of``.
    """
    members = members_of(workspace.settings, chosen, out)
    if teacher is None and student is not None:
        teacher = folder_of(student, "teacher")
    teacher = teacher or stages.train_teacher(workspace, out / "teacher")
    student = student or stages.train_student(workspace, teacher, out / "student")
    for done, member in enumerate(
        _aligned(workspace, members, teacher, student, chosen.jobs), start=1
    ):
        workspace.say(
            f"sweep: {done} of {len(members)} alignments are finished, the last one in"
            f" {member.folder}"
        )
    content = compare_runs(workspace, [member.folder for member in members], out, users)
    content["runs"] = [str(member.folder.relative_to(out)) for member in members]
    write_json(out / "comparison.json", content)
    return content


def members_of(settings: Settings, chosen: Sweep, out: Path) -> list[Member]:
    """The alignments of a sweep, seed by seed so that each seed's curve is whole as early as
    possible.

    Raises:
        GenrecError: if weights are given and not exactly one reward waits for one, or if something
            is asked for twice.
    """
    waiting = [place for place, spec in enumerate(chosen.rewards) if not split_spec(spec)[1]]
    if chosen.weights and len(waiting) != 1:
        raise GenrecError(
            "--weights are for the one reward that is given without a weight, but there are"
            f" {len(waiting)} in"
            f" {', '.join(chosen.rewards) or 'no reward'}: give the others a weight, as in"
            " novelty=0.1"
        )
    members: list[Member] = []
    for seed in chosen.seeds:
        for weight in chosen.weights or ("",):
            specs = list(chosen.rewards)
            if weight:
                specs[waiting[0]] += f"={weight}"
            full = tuple(complete_specs(specs, settings.align.accuracy, settings.align.weight))
            name = f"weight-{weight.replace(':', '-to-')}" if weight else "run"
            members.append(Member(full, seed, out / name / f"seed-{seed}"))
    if len({(member.specs, member.seed) for member in members}) < len(members):
        raise GenrecError(
            f"--weights {','.join(chosen.weights)} or --seeds {chosen.seeds} name one twice"
        )
    return members


def _aligned(
    workspace: Workspace, members: Sequence[Member], teacher: Path, student: Path, jobs: int
) -> Iterator[Member]:
    """The members as they are finished."""
    if jobs == 1 or len(members) == 1:
        for member in members:
            _align(_workspace_of(workspace, member), member, teacher, student)
            yield member
        return
    jobs = min(jobs, len(members))
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, _threads(threads):
        settings = workspace.settings
        waiting = {
            pool.submit(_align_in_process, settings, member, teacher, student, threads): member
            for member in members
        }
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except BaseException as error:
            pool.shutdown(
                wait=True, cancel_futures=True
            )  # what runs is let finish, or saves after Ctrl-C
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("stopped; the same command goes on from there") from error
            raise


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that are started inside divide the processor between them, libraries without a
    setting included."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _align_in_process(
    settings: Settings, member: Member, teacher: Path, student: Path, threads: int
) -> None:
    torch.set_num_threads(threads)
    _align(_workspace_of(prepare_workspace(settings, quiet=True), member), member, teacher, student)


def _workspace_of(workspace: Workspace, member: Member) -> Workspace:
    return replace(workspace, settings=workspace.settings.model_copy(update={"seed": member.seed}))


def _align(workspace: Workspace, member: Member, teacher: Path, student: Path) -> None:
    stages.align(workspace, member.specs, teacher, student, member.folder)
