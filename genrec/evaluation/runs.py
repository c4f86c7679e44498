"""Evaluation of finished runs on the test cases: metrics, means over seeds, differences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from genrec.config.errors import GenrecError
from genrec.metrics.context import Floats
from genrec.metrics.ranking import evaluate
from genrec.metrics.significance import holm, paired_t
from genrec.pipeline.loading import load_policy, open_recommender
from genrec.pipeline.provenance import ALL_DEPEND_ON, SECTIONS, require_run
from genrec.pipeline.workspace import Workspace
from genrec.results import (
    CalibrationRow,
    EvaluationResult,
    Kind,
    PairedDifference,
    RunMetadata,
    RunRow,
    SeedSummary,
    read_metrics,
)
from genrec.rewards import list_metrics, require_inside

KINDS: tuple[Kind, ...] = ("teacher", "student", "supervised_warmup", "aligned")


@dataclass(frozen=True, eq=False)
class Measured:
    """A run and its metrics on the test cases.

    Attributes:
        run: its directory.
        metadata: its ``run.json``.
        means: metric name -> mean over the cases.
        per_user: metric name -> (N,) value of each case.
        minutes: of its training as its log has them, interruptions left out; None without a log.
        weights: name of a reward -> the weight that a policy for ranges is conditioned on.
    """

    run: Path
    metadata: RunMetadata
    means: Mapping[str, float]
    per_user: Mapping[str, Floats]
    minutes: float | None
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Recipe of a teacher, kind of any other run, with the weights it is conditioned on."""
        kind = self.metadata.kind
        plain = str(self.metadata.settings["teacher"]["recipe"]) if kind == "teacher" else kind
        return " ".join([plain, *(f"{name}={weight:g}" for name, weight in self.weights.items())])

    @property
    def seed(self) -> int:
        """Random seed of the run."""
        return int(self.metadata.settings["seed"])

    @property
    def row(self) -> RunRow:
        """The row of a table."""
        return RunRow(
            run=str(self.run),
            name=self.name,
            seed=self.seed,
            metrics=dict(self.means),
            minutes=self.minutes,
        )


def evaluate_runs(
    workspace: Workspace,
    runs: Sequence[Path],
    *,
    users: int | None = None,
    weights: Mapping[str, float] = MappingProxyType({}),
    calibration: Sequence[CalibrationRow] = (),
) -> EvaluationResult:
    """Measure finished runs side by side; all others are compared with the first.

    Args:
        workspace: settings and data.
        runs: directories of teachers, students and aligned policies.
        users: number of test cases, drawn with the seed; None for all.
        weights: of rewards, for policies that were aligned for ranges of them.
        calibration: of the teachers among the runs, to be reported beside them.

    Raises:
        RunError: if a directory holds no finished run on the same data and split.
        GenrecError: for a weight that no run was aligned for a range of, or outside its range.
    """
    kinds_of(workspace, runs)  # before any is measured
    own = [applicable_weights(run, weights) for run in runs]
    unused = weights.keys() - {name for each in own for name in each}
    if unused:
        raise GenrecError(
            f"--weight {', '.join(sorted(unused))}: none of these runs was aligned for a range of"
            " it"
        )
    measured = [
        measure_run(workspace, run, users=users, weights=each)
        for run, each in zip(runs, own, strict=True)
    ]
    k = workspace.settings.k
    return EvaluationResult(
        dataset=workspace.settings.dataset,
        fingerprint=workspace.split.fingerprint,
        cases=len(next(iter(measured[0].per_user.values()))),
        k=k,
        runs=tuple(each.row for each in measured),
        over_seeds=tuple(summarize_seeds(measured)),
        against_first=tuple(compare_with_first(measured, k)),
        calibration=tuple(calibration),
    )


def kinds_of(workspace: Workspace, runs: Sequence[Path]) -> list[str]:
    """The kind of each run.

    Raises:
        RunError: if a directory holds no finished run on the same data and split.
    """
    return [require_run(run, KINDS, workspace).kind for run in runs]


def applicable_weights(run: Path, weights: Mapping[str, float]) -> dict[str, float]:
    """Those of the weights that the policy of a run was trained for a range of.

    A teacher, and a policy for fixed weights, has none.

    Raises:
        GenrecError: for a weight outside its range.
    """
    if RunMetadata.read(run).kind == "teacher":
        return {}
    policy = load_policy(run, torch.device("cpu"))
    found = {name: weights[name] for name in policy.ranges if name in weights}
    require_inside(found, policy.ranges)
    return found


def measure_run(
    workspace: Workspace,
    run: Path,
    *,
    users: int | None = None,
    weights: Mapping[str, float] = MappingProxyType({}),
) -> Measured:
    """Metrics of the lists of a finished run for the test cases.

    Args:
        workspace: settings and data.
        run: directory of a teacher, a student or an aligned policy.
        users: number of test cases, drawn with the seed; None for all.
        weights: of rewards, as ``applicable_weights`` gives them.
    """
    metadata = require_run(run, KINDS, workspace)
    cases = workspace.split.test.sample(users, workspace.settings.seed)
    found = evaluate(
        open_recommender(run, workspace.device, weights=weights),
        cases,
        workspace.split.catalogue,
        k=workspace.settings.k,
        rewards={reward.name: reward for reward in list_metrics(workspace.split.catalogue)},
    )
    return Measured(
        run=run,
        metadata=metadata,
        means=found.means,
        per_user=found.per_user,
        minutes=_minutes(run),
        weights=dict(weights),
    )


def summarize_seeds(measured: Sequence[Measured]) -> list[SeedSummary]:
    """Mean and standard deviation of runs that differ in nothing but the seed.

    Returns:
        One summary per group of at least two seeds.
    """
    groups: dict[str, list[Measured]] = {}
    for each in measured:
        groups.setdefault(_without_seed(each.metadata), []).append(each)
    summaries = []
    for group in groups.values():
        if len({each.seed for each in group}) < 2:
            continue
        values = {name: np.array([each.means[name] for each in group]) for name in group[0].means}
        summary = SeedSummary(
            name=group[0].name,
            seeds=tuple(each.seed for each in group),
            mean={name: float(value.mean()) for name, value in values.items()},
            std={name: float(value.std(ddof=1)) for name, value in values.items()},
        )
        summaries.append(summary)
    return summaries


def _without_seed(metadata: RunMetadata) -> str:
    """Everything but the seed that a run depends on, as text."""
    sections = (*SECTIONS[metadata.kind], *ALL_DEPEND_ON)
    settings = [metadata.settings[section] for section in sections]
    return json.dumps([metadata.kind, metadata.rewards, *settings], sort_keys=True)


def compare_with_first(measured: Sequence[Measured], k: int) -> list[PairedDifference]:
    """NDCG@K of each run minus that of the first, user by user.

    Returns:
        One difference per run but the first, with the p-value of a paired t-test, corrected for the
        number of runs [Holm 1979].
    """
    first, *others = (each.per_user[f"ndcg@{k}"] for each in measured)
    tests = [paired_t(values, first) for values in others]
    errors = [float((values - first).std(ddof=1)) / np.sqrt(len(first)) for values in others]
    p_values = holm([test.p_value for test in tests])
    return [
        PairedDifference(run=str(each.run), difference=test.difference, error=error, p=float(p))
        for each, test, error, p in zip(measured[1:], tests, errors, p_values, strict=True)
    ]


def _minutes(run: Path) -> float | None:
    """Minutes of a run's own training, its supervised warm-up included; None without a log.

    The clock of a log starts at 0 whenever a training starts or resumes: the time of each part is
    that of its last line.
    """
    logs = [run / "supervised_warmup" / "metrics.jsonl", run / "metrics.jsonl"]
    logs = [log for log in logs if log.exists()]
    if not logs:
        return None
    total = 0.0
    for log in logs:
        seconds = [line.seconds for line in read_metrics(log)]
        total += sum(now for now, following in pairwise([*seconds, 0.0]) if following < now)
    return total / 60
