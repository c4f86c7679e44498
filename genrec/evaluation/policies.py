"""Aligned policies as points of one curve: at the weights of a range, of several runs, over
seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import RunError
from genrec.pipeline.stages import require_same_files
from genrec.pipeline.workspace import Workspace, require_run
from genrec.rewards import WeightedSum, ranges_of, share_of, span_specs, weighted, weights_along
from genrec.training.run_directory import read_json


@dataclass(frozen=True, eq=False)
class Aligned:
    """Runs that were aligned for the same rewards, whatever the weights and seeds.

    Attributes:
        runs: their folders.
        specs: complete specs of the rewards of each run.
    """

    runs: tuple[Path, ...]
    specs: tuple[tuple[str, ...], ...]

    @property
    def span(self) -> list[str]:
        """The specs of all together; what differs is a range."""
        return span_specs(self.specs)

    @property
    def reward(self) -> WeightedSum:
        """Of all together, with the middle weights."""
        return weighted(self.span)

    @property
    def is_curve(self) -> bool:
        """Whether there is more than one weight."""
        return bool(ranges_of(self.span))


@dataclass(frozen=True, eq=False)
class Point:
    """A policy at one weight.

    Attributes:
        weight: of the reward whose weight varies; where several do, the share of the way from all
            low ends to all high ones; None where none does.
        seed: of its run.
        writer: the policy, told that weight where it was trained for a range.
    """

    weight: float | None
    seed: int
    writer: NextK


def read_runs(workspace: Workspace, folders: Sequence[Path]) -> Aligned:
    """The runs of those folders.

    Raises:
        RunError: if one is no aligned policy, or was made on other data.
        GenrecError: if they were aligned for other rewards than each other.
    """
    for folder in folders:
        kind = read_json(folder / "run.json")["kind"]
        if kind != "aligned":
            raise RunError(f"{folder} is a {kind} run; a run of `genrec align` is needed here")
    contents = [require_run(folder, ("aligned",), workspace) for folder in folders]
    found = Aligned(tuple(folders), tuple(tuple(content["rewards"]) for content in contents))
    found.reward  # noqa: B018 (runs with different rewards are refused here)
    for folder, content in zip(folders, contents, strict=True):
        require_same_files(folder, content["rewards"])
    return found


def points_of(workspace: Workspace, aligned: Aligned) -> list[Point]:
    """Every run at its weight, or at a grid of weights in its range, by rising weight."""
    points = []
    span = ranges_of(aligned.span)
    for folder, specs in zip(aligned.runs, aligned.specs, strict=True):
        seed = int(read_json(folder / "run.json")["settings"]["seed"])
        policy = GPTRec.from_pretrained(folder)[0].to(workspace.device)
        fixed = {term.name: weight for term, weight in weighted(specs).terms}
        shares = (
            np.linspace(0, 1, workspace.settings.compare.policy_weights).round(6)
            if policy.ranges
            else [None]
        )
        for share in shares:
            told = {} if share is None else weights_along(policy.ranges, float(share))
            points.append(Point(_label(span, fixed | told), seed, NextK(policy.at(told))))
    return sorted(points, key=lambda point: (point.weight or 0, point.seed))


def _label(span: dict[str, tuple[float, float]], weights: dict[str, float]) -> float | None:
    """The weight that varies; where several do, the mean share of the way from low to high."""
    if not span:
        return None
    if len(span) == 1:
        return round(weights[next(iter(span))], 6)
    return round(
        float(np.mean([share_of(low, high, weights[name]) for name, (low, high) in span.items()])),
        6,
    )
