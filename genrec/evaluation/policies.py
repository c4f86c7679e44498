"""Aligned policies as points of one curve: over weights of a range, over runs, over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrec.agents.gptrec.decoding import NextK
from genrec.config.errors import RunError
from genrec.pipeline.loading import load_policy
from genrec.pipeline.provenance import require_run
from genrec.pipeline.stages import require_same_files
from genrec.pipeline.workspace import Workspace
from genrec.results import RunMetadata
from genrec.rewards import (
    Ranges,
    RewardLike,
    RewardObjective,
    join_objectives,
    load_objectives,
    share_of,
    weights_along,
)


@dataclass(frozen=True, eq=False)
class AlignedRuns:
    """Runs that were aligned for the same rewards, whatever their weights and seeds.

    Attributes:
        runs: their directories.
        objectives: rewards and weights of each run.
    """

    runs: tuple[Path, ...]
    objectives: tuple[RewardObjective, ...]

    @property
    def joint(self) -> RewardObjective:
        """Objective of all runs together; a weight that differs between them is a range."""
        return join_objectives(self.objectives)


@dataclass(frozen=True, eq=False)
class PolicyPoint:
    """A policy at one weight.

    Attributes:
        weight: of the reward whose weight varies. Where several vary, the share of the way from
            all low ends to all high ones; None where none does.
        seed: of the run.
        recommender: the policy; one that was trained for a range is conditioned on the weight.
    """

    weight: float | None
    seed: int
    recommender: NextK


def read_runs(
    workspace: Workspace, directories: Sequence[Path], rewards: Iterable[RewardLike] = ()
) -> AlignedRuns:
    """Aligned runs of those directories.

    Args:
        workspace: settings and data.
        directories: of the runs.
        rewards: objects for the rewards that were given as such when a run was aligned.

    Raises:
        RunError: if one is no aligned policy, or was made on other data.
        GenrecError: if they were aligned for different rewards.
    """
    for directory in directories:
        kind = RunMetadata.read(directory).kind
        if kind != "aligned":
            raise RunError(f"{directory} is a {kind} run; a run of `genrec align` is needed here")
    runs = [require_run(directory, ("aligned",), workspace) for directory in directories]
    specs = [run.rewards or () for run in runs]
    for directory, each in zip(directories, specs, strict=True):
        require_same_files(directory, each)
    # One call for all runs, so that a user's file is executed once.
    found = AlignedRuns(tuple(directories), tuple(load_objectives(specs, rewards)))
    join_objectives(found.objectives)  # refuses runs with different rewards
    return found


def policy_points(workspace: Workspace, aligned: AlignedRuns) -> list[PolicyPoint]:
    """Every run at its weight, or at a grid of the weights of its range, by rising weight."""
    points = []
    joint = aligned.joint.ranges
    for directory, objective in zip(aligned.runs, aligned.objectives, strict=True):
        seed = int(RunMetadata.read(directory).settings["seed"])
        policy = load_policy(directory, workspace.device)
        fixed = {term.name: weight for term, weight in objective.reward.terms}
        for weights in _weights_of(policy.ranges, workspace.settings.compare.policy_weights):
            label = _label(joint, fixed | weights)
            points.append(PolicyPoint(label, seed, NextK(policy.at(weights))))
    return sorted(points, key=lambda point: (point.weight or 0, point.seed))


def _weights_of(ranges: Ranges, points: int) -> list[dict[str, float]]:
    """Grid of the weights that a policy is conditioned on; one empty entry where there are none."""
    if not ranges:
        return [{}]
    shares = np.linspace(0, 1, points).round(6).tolist()
    return [weights_along(ranges, share) for share in shares]


def _label(ranges: Ranges, weights: Mapping[str, float]) -> float | None:
    """The weight that varies; where several do, the mean share of the way from low to high."""
    if not ranges:
        return None
    if len(ranges) == 1:
        return round(weights[next(iter(ranges))], 6)
    shares = [share_of(low, high, weights[name]) for name, (low, high) in ranges.items()]
    return round(float(np.mean(shares)), 6)
