"""Comparison of aligned policies with their competitors: all methods measured on the same users."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from genrec.config.errors import RunError
from genrec.data import Cases
from genrec.evaluation.curves import gaps, gaps_along
from genrec.evaluation.exposure import measure_exposure
from genrec.evaluation.goals import Goals
from genrec.evaluation.hull_areas import measure_hull_areas
from genrec.evaluation.methods import OWN, Method, average_over_seeds, collect_methods, policy_of
from genrec.evaluation.policies import AlignedRuns, read_runs
from genrec.evaluation.side_effects import PolicyDivergence, measure_side_effects
from genrec.metrics.calibration import Calibrated
from genrec.pipeline.loading import calibrated
from genrec.pipeline.provenance import parent_run
from genrec.pipeline.workspace import Workspace
from genrec.rerankers import draw_pool
from genrec.results import Comparison, ComparisonRow, PolicyStatistics, SeedRow
from genrec.rewards import RewardLike, Serendipity, list_metrics
from genrec.training.checkpoint import save_tensors
from genrec.training.logger import RunLogger
from genrec.training.run_directory import exclusive, versions

BATCH_SIZE = 1024  # histories; their candidate pools are in memory at once

logger = logging.getLogger(__name__)


def compare(
    workspace: Workspace,
    run: Path,
    *,
    users: int | None = None,
    rewards: Iterable[RewardLike] = (),
) -> Comparison:
    """Measure an aligned run and its competitors on the test cases.

    All re-rankers choose from the same pool, the teacher's best unseen items. The greedy re-ranker
    maximises the run's own reward, with the teacher's calibrated probabilities in place of the
    unknown target, over a grid of weights. Where a reward is paid at the end of a list, greedy
    follows the surrogate that the reward offers (``genrec.rerankers.HasSurrogate``), and greedy
    with look-ahead takes part as well; see ``genrec.evaluation.reranking.reranker_grids``. No
    method sees a test target.

    A policy that was aligned for a range of weights takes part at a grid of them. The objective
    then has the middle weights.

    Args:
        workspace: settings and data.
        run: directory of an aligned policy.
        users: number of test cases, drawn with the seed; None for all.
        rewards: the objects that the run was aligned for, where it was given any: the run keeps
            only their names.

    Returns:
        The comparison, also written to ``comparison.json`` in the run, with per-user values beside
        it.

    Raises:
        RunError: if the run is not an aligned one, or was made on other data.
    """
    return compare_runs(workspace, [run], out=run, users=users, rewards=rewards)


def compare_runs(
    workspace: Workspace,
    directories: Sequence[Path],
    *,
    out: Path,
    users: int | None = None,
    names: Sequence[str] = (),
    rewards: Iterable[RewardLike] = (),
) -> Comparison:
    """``compare`` for several runs with the same rewards, teacher and student, as one curve.

    Runs that differ in nothing but the seed are one point: the mean of each user's values. Its
    error counts the seeds as well as the users, √(s_users² / N + s_seeds² / S).

    Args:
        workspace: settings and data.
        directories: of aligned policies, whose weights or ranges of weights may differ.
        out: directory for ``comparison.json``.
        users: as for ``compare``.
        names: relative paths of the runs of a sweep, which the comparison then lists.
        rewards: as for ``compare``.

    Raises:
        RunError: if a run is not an aligned one, or was made on other data.
        GenrecError: if the runs were aligned for different rewards.
    """
    aligned = read_runs(workspace, directories, rewards)
    goals = Goals.of(aligned.joint.reward)
    teacher = calibrated(parent_run(aligned.runs[0], "teacher"), workspace)
    methods = list(collect_methods(workspace, aligned, goals))
    cases = workspace.split.test.sample(users, workspace.settings.seed)
    policies = _measure(workspace, methods, goals=goals, teacher=teacher, cases=cases)
    methods = average_over_seeds(methods)
    content = _summary(
        workspace,
        aligned,
        methods=methods,
        policies=policies,
        cases=len(cases),
        temperature=teacher.temperature,
        names=names,
    )
    with exclusive(out):
        _warn_about_losses(content, out)
        # comparison.json comes last: what it stands for is complete.
        _save_users(out / "comparison_users.safetensors", methods, content.k)
        content.write(out)
    return content


def _measure(
    workspace: Workspace,
    methods: Sequence[Method],
    *,
    goals: Goals,
    teacher: Calibrated,
    cases: Cases,
) -> list[PolicyStatistics]:
    """Let every method write its lists for the cases, batch by batch, and follow the policies."""
    settings = workspace.settings
    rewards = [*list_metrics(workspace.split.catalogue), Serendipity()]
    rewards += [term for term, _ in goals.weighted_sum.terms]
    metrics = {reward.name: reward for reward in rewards}
    followed = {
        method.name: PolicyDivergence(method.name, method.policy)
        for method in methods
        if method.policy is not None
    }
    log = RunLogger(None, "compare", quiet=workspace.quiet)
    starts = range(0, len(cases), BATCH_SIZE)
    with log.progress(len(starts)) as bar:
        for done, start in enumerate(starts, start=1):
            batch = cases.take(np.arange(start, min(start + BATCH_SIZE, len(cases))))
            pool = draw_pool(
                teacher,
                batch.histories,
                workspace.split.catalogue,
                k=settings.k,
                candidates=settings.compare.candidates,
                probabilities=teacher.probabilities,
            )
            for method in methods:
                slates = method.measure_batch(
                    pool, targets=batch.targets, goals=goals, metrics=metrics
                )
                if method.policy is not None:
                    student = followed["student"].policy
                    followed[method.name].add(student, batch.histories, slates)
            bar(done, f"{len(methods)} rows")
    return [divergence.summary() for divergence in followed.values()]


def _summary(
    workspace: Workspace,
    aligned: AlignedRuns,
    *,
    methods: Sequence[Method],
    policies: Sequence[PolicyStatistics],
    cases: int,
    temperature: float,
    names: Sequence[str],
) -> Comparison:
    """Everything that is computed from the measured methods."""
    settings, k, objective = workspace.settings, workspace.settings.k, aligned.joint
    goals = Goals.of(objective.reward)
    axis = f"{goals.name}@{k}"
    seed, resamples = settings.seed, settings.compare.resamples
    rewarded = [f"{term.name}@{k}" for term, _ in goals.terms]
    members = [member for method in methods for member in method.members]
    return Comparison(
        reward=goals.name,
        weights={term.name: weight for term, weight in objective.reward.terms},
        ranges=objective.ranges,
        k=k,
        dataset=Path(settings.dataset).name,
        split=settings.split,
        fingerprint=workspace.split.fingerprint,
        cases=cases,
        seed=seed,
        candidates=settings.compare.candidates,
        resamples=resamples,
        temperature=temperature,
        versions=versions(),
        rows=tuple(_rows(methods, k)),
        gaps=tuple(gaps(methods, axis, k=k, seed=seed, resamples=resamples)),
        gaps_along=tuple(gaps_along(methods, axis, k=k)),
        hull_areas=measure_hull_areas(methods, axis, k=k, seed=seed, resamples=resamples),
        side_effects=tuple(measure_side_effects(methods, axis, rewarded)),
        seeds=tuple(_seed_row(member, k) for member in members),
        policy_weight=policy_of(methods).weight,
        policies=tuple(policies),
        runs=tuple(names),
    )


def _rows(methods: Sequence[Method], k: int) -> list[ComparisonRow]:
    """Means over the users, and metrics of all lists together.

    npcount is popularity relative to that of the lists of the popularity recommender.
    """
    popularity = f"popularity@{k}"
    most = next(method for method in methods if method.name == "popularity").mean(popularity)
    return [
        ComparisonRow(
            method=method.name,
            weight=method.weight,
            metrics={
                **{name: method.mean(name) for name in method.per_user},
                f"npcount@{k}": method.mean(popularity) / most,
                **_overall(method, k),
            },
            errors=_errors(method),
            exposure=measure_exposure(method, k),
        )
        for method in methods
    ]


def _errors(method: Method) -> dict[str, float]:
    """Standard error of each mean, over the users and, where there are several, over the seeds."""
    errors = {}
    for name in method.per_user:
        values = method.values(name).astype(np.float64)
        squared = values.var(ddof=1) / len(values)
        if method.members:
            means = [member.mean(name) for member in method.members]
            squared += np.var(means, ddof=1) / len(means)
        errors[name] = float(np.sqrt(squared))
    return errors


def _seed_row(method: Method, k: int) -> SeedRow:
    means = {name: method.mean(name) for name in method.per_user}
    metrics = means | _overall(method, k)
    return SeedRow(method=method.name, weight=method.weight, seed=method.seed, metrics=metrics)


def _overall(method: Method, k: int) -> dict[str, float]:
    return {f"{name}@{k}": value for name, value in method.overall.items()}


def _warn_about_losses(content: Comparison, out: Path) -> None:
    """Warn if a comparison that the new one does not contain is about to be replaced."""
    try:
        before = Comparison.read(out)
    except RunError:  # there is none, or none that this version can read
        return
    lost = []
    if before.cases > content.cases:
        lost.append(f"{before.cases - content.cases:,} of its {before.cases:,} cases")
    if points := _points(before) - _points(content):
        lost.append(f"{len(points)} of the {len(_points(before))} points of its aligned policies")
    if lost:
        file = out / Comparison.file_name
        logger.warning("%s is replaced by a comparison without %s", file, " and ".join(lost))


def _points(content: Comparison) -> set[tuple[float | None, int | None]]:
    """(weight, seed) of the aligned policies of a comparison; a mean over seeds has seed None."""
    # A single policy has no weight in its row: there is no curve. Its run has one.
    only = content.weights.get(content.reward)
    rows = [(row.weight, None) for row in content.rows if row.method == OWN]
    seeds = [(row.weight, row.seed) for row in content.seeds if row.method == OWN]
    return {(only if weight is None else weight, seed) for weight, seed in [*rows, *seeds]}


def _save_users(path: Path, methods: Sequence[Method], k: int) -> None:
    """Per-user NDCG and objective of every row, for paired tests."""
    tensors = {}
    for method in methods:
        name = method.name if method.weight is None else f"{method.name} {method.weight:g}"
        for metric in (f"ndcg@{k}", "objective"):
            values = method.values(metric).astype(np.float32)
            tensors[f"{name}/{metric}"] = torch.from_numpy(values)
    save_tensors(path, tensors)
