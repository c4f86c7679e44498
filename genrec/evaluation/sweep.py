"""A sweep: one alignment per weight and seed, then one comparison of them all."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path

import torch

from genrec.config.errors import GenrecError
from genrec.config.trust import Trust, current_trust, set_trust
from genrec.evaluation.comparison import compare_runs
from genrec.pipeline import stages
from genrec.pipeline.provenance import parent_run
from genrec.pipeline.settings import Settings
from genrec.pipeline.workspace import Workspace, prepare_workspace
from genrec.results import Comparison
from genrec.rewards import RewardObjective, parse_rewards
from genrec.rewards.ranges import read_weight
from genrec.training.interruption import Interrupted, Terminated
from genrec.training.run_directory import exclusive

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5  # of a worker, at its parent
SECONDS_TO_SAVE = 30.0  # of a worker whose parent has ended


@dataclass(frozen=True)
class Sweep:
    """What to run.

    Attributes:
        rewards: specs; the one without a weight takes each of the weights, and ranges are allowed.
        weights: texts of numbers or ranges; empty where every reward has a weight of its own.
        seeds: of the alignments, which share teacher and student.
        jobs: number of alignments at the same time; several run in processes of their own.
    """

    rewards: tuple[str, ...]
    weights: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: int = 1


@dataclass(frozen=True)
class Member:
    """One alignment of a sweep.

    Attributes:
        objective: its rewards.
        seed: its seed.
        directory: its run directory.
    """

    objective: RewardObjective
    seed: int
    directory: Path


@dataclass(frozen=True)
class Origin:
    """Runs that every alignment of a sweep starts from.

    Attributes:
        teacher: directory of the teacher.
        student: directory of the student.
    """

    teacher: Path
    student: Path


def run_sweep(
    workspace: Workspace,
    sweep: Sweep,
    *,
    teacher: Path | None,
    student: Path | None,
    out: Path,
    users: int | None = None,
) -> Comparison:
    """Align a student for every weight and seed, and compare them as one curve.

    Finished alignments are not run again; an interrupted one resumes. A missing teacher or student
    is trained first, inside the directory, and serves all.

    Args:
        workspace: settings and data.
        sweep: rewards, weights, seeds, jobs.
        teacher: its directory; None trains one.
        student: its directory; None trains one.
        out: directory for the alignments and the comparison.
        users: compare on this many test cases only.

    Returns:
        The comparison; its ``runs`` are the directories of the alignments.

    Raises:
        GenrecError: if weights and rewards do not fit, see ``plan_sweep``.
    """
    members = plan_sweep(workspace.settings, sweep, out)
    with exclusive(out):
        if teacher is None and student is not None:
            teacher = parent_run(student, "teacher")
        teacher = teacher or stages.train_teacher(workspace, out / "teacher")
        student = student or stages.train_student(workspace, teacher, out / "student")
        finished = _align_all(workspace, members, Origin(teacher, student), jobs=sweep.jobs)
        for done, member in enumerate(finished, start=1):
            logger.info(
                "sweep: %d of %d alignments are finished, the last one in %s",
                done,
                len(members),
                member.directory,
            )
        return compare_runs(
            workspace,
            [member.directory for member in members],
            out=out,
            users=users,
            names=[str(member.directory.relative_to(out)) for member in members],
        )


def plan_sweep(settings: Settings, sweep: Sweep, out: Path) -> list[Member]:
    """Alignments of a sweep, seed by seed, so that the curve of a seed is complete early.

    Raises:
        GenrecError: if there are weights and not exactly one reward lacks one, or if an alignment
            is asked for twice.
    """
    base = parse_rewards(
        sweep.rewards, accuracy=settings.align.accuracy, weight=settings.align.weight
    )
    waiting = [term.name for term in base.terms if not term.weight_given]
    if sweep.weights and len(waiting) != 1:
        raise GenrecError(
            "--weights are for the one reward that is given without a weight, but there are"
            f" {len(waiting)} in {', '.join(sweep.rewards)}: give the others a weight, as in"
            " novelty=0.1"
        )
    members: list[Member] = []
    for seed in sweep.seeds:
        for weight in sweep.weights or ("",):
            objective, name = base, "run"
            if weight:
                low, high = read_weight(weight, waiting[0])
                objective = base.with_weight(waiting[0], low if low == high else (low, high))
                name = f"weight-{weight.replace(':', '-to-')}"
            members.append(Member(objective, seed, out / name / f"seed-{seed}"))
    if len({(*member.objective.specs, member.seed) for member in members}) < len(members):
        raise GenrecError(
            f"--weights {','.join(sweep.weights)} or --seeds {sweep.seeds} name one twice"
        )
    return members


def _align_all(
    workspace: Workspace, members: Sequence[Member], origin: Origin, *, jobs: int
) -> Iterator[Member]:
    """Members of a sweep, each as soon as it is finished."""
    if jobs == 1 or len(members) == 1:
        for member in members:
            _align(workspace, member, origin)
            yield member
        return
    jobs = min(jobs, len(members))
    threads = max(1, torch.get_num_threads() // jobs)
    # A forked child would inherit locked mutexes of the parent's thread pools: spawn.
    workers = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),)
    )
    with workers as pool, _thread_limit(threads):
        futures = {
            pool.submit(
                _align_in_process,
                workspace.settings,
                member.objective.specs,
                seed=member.seed,
                directory=member.directory,
                origin=origin,
                threads=threads,
                trust=current_trust(),
                parent=os.getpid(),
            ): member
            for member in members
        }
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException as error:
            # Running alignments finish, or save a checkpoint where a signal ends the sweep.
            if isinstance(error, KeyboardInterrupt | Terminated):
                for process in active_children():
                    process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt | Terminated):
                number = getattr(error, "number", signal.SIGINT)
                raise Interrupted("stopped; the same command resumes", number) from error
            raise


@contextlib.contextmanager
def _thread_limit(count: int) -> Iterator[None]:
    """Limit of threads for processes that start inside.

    The environment variable also reaches libraries that offer no setting.
    """
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
    settings: Settings,
    specs: Sequence[str],
    *,
    seed: int,
    directory: Path,
    origin: Origin,
    threads: int,
    trust: Trust,
    parent: int,
) -> None:
    """Align in a child process; a reward from a file cannot be sent there and is loaded again."""
    set_trust(trust)
    torch.set_num_threads(threads)
    member = Member(parse_rewards(specs), seed, directory)
    try:
        _align(prepare_workspace(settings, quiet=True), member, origin)
    except Interrupted as interrupted:
        if os.getppid() != parent:  # nobody is left to read this result
            os._exit(128 + interrupted.number)
        raise


def end_with_parent(parent: int) -> None:
    """Watch the parent of a worker from a thread, and end when it has ended in whatever way.

    An alignment saves a checkpoint first, as after SIGTERM.

    Args:
        parent: number of the parent process.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_SAVE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()


def _align(workspace: Workspace, member: Member, origin: Origin) -> None:
    settings = workspace.settings.model_copy(update={"seed": member.seed})
    stages.align(
        replace(workspace, settings=settings),
        member.objective,
        teacher=origin.teacher,
        student=origin.student,
        out=member.directory,
    )
