"""Finished runs on the test cases: a row a run, means over seeds, promised against kept
probabilities."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.agents.gptrec.model import GPTRec
from genrec.config.reading import Settings, TeacherSettings
from genrec.data import Sequences
from genrec.metrics.calibration import (
    Calibrated,
    CalibrationCurve,
    calibration_curve,
    sigmoids,
)
from genrec.metrics.context import Floats
from genrec.metrics.ranking import evaluate
from genrec.metrics.significance import holm, paired_t
from genrec.models.losses import SIGMOID_LOSSES
from genrec.models.scorer import NeuralScorer
from genrec.pipeline.loading import open_recommender
from genrec.pipeline.workspace import ALL_DEPEND_ON, SECTIONS, Workspace, require_run
from genrec.recipes import axes_of, load_scorer
from genrec.recommender import batches, rows_at_once
from genrec.rewards import Diversity, Novelty, require_inside
from genrec.training.run_directory import read_json

KINDS = ("teacher", "student", "supervised_warmup", "aligned")


@dataclass(frozen=True, eq=False)
class Measured:
    """A run on the test cases.

    Attributes:
        run: its folder.
        description: its ``run.json``.
        means: metric name -> mean over the cases.
        per_user: metric name -> value of each case.
        minutes: that its training took, as its log says, interruptions left out; None where it
            keeps none.
        told: name of a reward -> the weight that a policy for ranges was told.
    """

    run: Path
    description: Mapping[str, Any]
    means: Mapping[str, float]
    per_user: Mapping[str, Floats]
    minutes: float | None
    told: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The recipe of a teacher, the kind of any other run, with the weights that it was told."""
        kind = str(self.description["kind"])
        plain = (
            str(self.description["settings"]["teacher"]["recipe"]) if kind == "teacher" else kind
        )
        return " ".join([plain, *(f"{name}={weight:g}" for name, weight in self.told.items())])

    @property
    def seed(self) -> int:
        """The run's."""
        return int(self.description["settings"]["seed"])

    @property
    def row(self) -> dict[str, Any]:
        """What a table shows of it."""
        return {
            "run": str(self.run),
            "name": self.name,
            "seed": self.seed,
            **self.means,
            "minutes": self.minutes,
        }


def kinds_of(workspace: Workspace, runs: Sequence[Path]) -> list[str]:
    """The kind of each run, before any is measured.

    Raises:
        RunError: where a folder holds no finished run on the same data and split.
    """
    return [str(require_run(run, KINDS, workspace)["kind"]) for run in runs]


def told_to(run: Path, weights: Mapping[str, float]) -> dict[str, float]:
    """Those of the weights that the policy of a run was trained for a range of; none of any other
    run.

    Raises:
        GenrecError: for a weight outside its range.
    """
    if read_json(run / "run.json")["kind"] == "teacher":
        return {}
    policy = GPTRec.from_pretrained(run)[0]
    told = {name: weights[name] for name in policy.ranges if name in weights}
    require_inside(told, policy.ranges)
    return told


def measure_run(
    workspace: Workspace,
    run: Path,
    users: int | None = None,
    told: Mapping[str, float] = MappingProxyType({}),
) -> Measured:
    """The lists of a finished run for the test cases, and what they are worth.

    Args:
        bench: settings and data.
        run: a teacher, a student or an aligned policy.
        users: only this many test cases, drawn with the seed; None for all.
        told: weights of rewards, as ``told_to`` gives them.
    """
    description = require_run(run, KINDS, workspace)
    cases = workspace.split.test.sample(users, workspace.settings.seed)
    goals = {reward.name: reward for reward in (Diversity(), Novelty())}
    recommender = open_recommender(run, workspace.device, weights=told)
    found = evaluate(recommender, cases, workspace.split.catalogue, workspace.settings.k, goals)
    return Measured(run, description, found.means, found.per_user, _minutes(run), dict(told))


def over_seeds(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Runs that differ in nothing that made them but the seed, also not in rewards: mean and
    deviation of every metric.

    Returns:
        A row a group of at least two seeds, with ``mean`` and ``sd`` (of a sample) of each metric.
    """
    groups: dict[str, list[Measured]] = {}
    for each in measured:
        kind = each.description["kind"]
        settings = Settings.model_validate(each.description["settings"]).model_dump()
        same = [
            kind,
            each.description.get("rewards"),
            *(settings[key] for key in (*SECTIONS[kind], *ALL_DEPEND_ON)),
        ]
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(each)
    rows = []
    for group in groups.values():
        if len({each.seed for each in group}) < 2:
            continue
        values = {name: np.array([each.means[name] for each in group]) for name in group[0].means}
        mean = {name: float(value.mean()) for name, value in values.items()}
        spread = {name: float(value.std(ddof=1)) for name, value in values.items()}
        rows.append(
            {
                "name": group[0].name,
                "seeds": [each.seed for each in group],
                "mean": mean,
                "sd": spread,
            }
        )
    return rows


def against(measured: Sequence[Measured], k: int) -> list[dict[str, Any]]:
    """NDCG@K of each run minus that of the first, user by user.

    Returns:
        A row a run but the first: difference, its standard error, the p-value of a paired t-test,
        corrected for the number of runs [Holm 1979].
    """
    first, *others = (each.per_user[f"ndcg@{k}"] for each in measured)
    tests = [paired_t(values, first) for values in others]
    errors = [float((values - first).std(ddof=1)) / np.sqrt(len(first)) for values in others]
    return [
        {"run": str(each.run), "difference": test.difference, "error": error, "p": float(p_value)}
        for each, test, error, p_value in zip(
            measured[1:], tests, errors, holm([test.p_value for test in tests]), strict=True
        )
    ]


def reliability(
    workspace: Workspace, run: Path, users: int | None = None
) -> dict[str, tuple[CalibrationCurve, float]]:
    """How far a teacher keeps what it promises, on the test cases.

    Returns:
        Link -> precision against promised probability, and the mean over the cases of Σ_i p_i,
        which is 1 where one target is certain to come. "own" is the probability that the loss
        trains: σ(score) for BCE and gBCE, softmax(scores) for the others; "calibrated" is
            softmax(scores / T) with the T of the validation cases.
    """
    description = require_run(run, ("teacher",), workspace)
    scorer = load_scorer(run, workspace.device)
    cases = workspace.split.test.sample(users, workspace.settings.seed)
    links: dict[str, Callable[[Sequences], NDArray[np.float32]]] = {}
    if isinstance(scorer, NeuralScorer):
        loss = axes_of(TeacherSettings.model_validate(description["settings"]["teacher"])).loss
        links["own"] = (
            partial(sigmoids, scorer)
            if loss in SIGMOID_LOSSES
            else Calibrated(scorer, 1.0).probabilities
        )
    links["calibrated"] = Calibrated(scorer, description["temperature"]).probabilities
    few = cases.take(np.arange(min(len(cases), 1024))).histories
    size, found = min(512, rows_at_once(scorer.num_items)), {}
    for name, link in links.items():
        sums = [link(batch).sum(axis=1) for batch in batches(few, size)]
        curve = calibration_curve(link, cases, batch_size=size)
        found[name] = curve, float(np.concatenate(sums).mean())
    return found


def _minutes(run: Path) -> float | None:
    """Of the run's own training, supervised warm-up included; a log's clock begins at 0 when a training
    starts or goes on."""
    logs = [
        log
        for log in (run / "supervised_warmup" / "metrics.jsonl", run / "metrics.jsonl")
        if log.exists()
    ]
    if not logs:
        return None
    total = 0.0
    for log in logs:
        seconds = [float(json.loads(line)["seconds"]) for line in log.read_text().splitlines()]
        total += sum(now for now, following in pairwise([*seconds, 0.0]) if following < now)
    return total / 60
