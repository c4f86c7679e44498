"""Which lists a policy writes while it is aligned, and how it is validated."""

from collections.abc import Callable, Sequence

import numpy as np

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Cases, Sequences
from genrec.data.cases import random_cases, whole_cases
from genrec.envs import ListTask
from genrec.metrics.calibration import Calibrated
from genrec.metrics.context import Context, Floats
from genrec.metrics.exposure import tail_concentration
from genrec.metrics.ranking import measure
from genrec.pipeline.demonstrations import greedy_lists, with_room
from genrec.pipeline.workspace import Workspace
from genrec.rewards import Ranges, Reward, RewardObjective, WeightedSum, checked, weight_grid

# Greedy lists that are good for many users share some items, and so may a policy's.
TAIL_FACTOR = 1.5
VALID_WEIGHTS = 5  # points of the grid of weights in a validation
MOST_RANDOM_CASES = 100_000

Probabilities = Callable[[Sequences], Floats]
"""Histories (B) -> (B, V+1) calibrated P(item | history)."""


def list_task(
    workspace: Workspace, reward: WeightedSum, *, probabilities: Probabilities, max_length: int
) -> ListTask:
    """Lists for training users.

    Where events are held back, which neither teacher nor student has seen, lists are written for
    exactly those: the history is what came before one of them, and the event is the target.

    Otherwise a reward that reads targets gets random prefixes of training sequences, with the event
    that followed as the target. Any other reward gets whole training sequences: the teacher was
    never shown what came next, so that its probabilities are as calibrated there as on validation
    users, while on prefixes it predicts what it has memorised.

    Args:
        workspace: settings and data.
        reward: what lists earn.
        probabilities: of the teacher.
        max_length: how many of the newest items of a history the policy reads.
    """
    settings, train = workspace.settings, workspace.split.train
    if settings.hold_back:
        cases = workspace.split.held_back
    elif "targets" in reward.needs:
        count = min(settings.align.updates * settings.align.histories, MOST_RANDOM_CASES)
        cases = random_cases(train, count, np.random.default_rng(settings.seed))
    else:
        cases = whole_cases(train)
    cases = with_room(cases, settings.k, workspace)
    return ListTask(
        histories=cases.histories,
        targets=cases.targets,
        catalogue=workspace.split.catalogue,
        reward=reward,
        k=settings.k,
        max_length=max_length,
        probabilities=probabilities,
    )


def validation(
    workspace: Workspace, objective: RewardObjective, teacher: Calibrated
) -> Callable[[GPTRec], dict[str, float]]:
    """A function that measures a policy's greedy lists on the validation cases.

    Its "objective" is the mean reward of the lists, its "tail_concentration" says how much of the
    last third of their positions the ten most frequent items have, and its "tail_limit" is
    ``TAIL_FACTOR`` times what the greedy re-ranker's lists for the same reward have there. Where
    weights have ranges, every metric is the mean over a small grid of weights, each objective with
    the weights of its point.

    Args:
        workspace: settings and data.
        objective: what lists earn.
        teacher: which the re-ranker takes candidates and probabilities from.
    """
    cases, reward = workspace.split.valid, objective.reward
    context = context_of(cases, workspace, reward, teacher.probabilities)
    terms = {term.name: checked(term) for term, _ in reward.terms}
    points = _grid(objective.ranges)
    greedy = greedy_lists(workspace, teacher, cases.histories, reward=reward, points=points)
    limits = [TAIL_FACTOR * tail_concentration(slates) for slates in greedy]

    def validate(policy: GPTRec) -> dict[str, float]:
        found = []
        for weights, limit in zip(points, limits, strict=True):
            recommender = NextK(policy.at(weights))
            slates = recommender.recommend(cases.histories, workspace.settings.k)
            gains = [
                weights.get(term.name, weight) * terms[term.name](slates, context).sum(axis=1)
                for term, weight in reward.terms
            ]
            total = float(np.sum(gains, axis=0).mean())
            tails = {"tail_concentration": tail_concentration(slates), "tail_limit": limit}
            means = measure(slates, context, terms).means
            found.append({"objective": total, **means, **tails})
        return _means(found)

    return validate


def _grid(ranges: Ranges) -> list[dict[str, float]]:
    """Name -> weight, at each point of a small grid; one empty point where there are no ranges."""
    if not ranges:
        return [{}]
    grid = weight_grid(ranges, VALID_WEIGHTS).tolist()
    return [dict(zip(ranges, weights, strict=True)) for weights in grid]


def _means(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def context_of(
    cases: Cases, workspace: Workspace, reward: Reward, probabilities: Probabilities
) -> Context:
    """The context of one list per case, with the teacher's probabilities where they are needed."""
    needed = probabilities(cases.histories) if "probabilities" in reward.needs else None
    return Context(
        of_histories=cases.histories,
        of_targets=cases.targets,
        catalogue=workspace.split.catalogue,
        k=workspace.settings.k,
        of_probabilities=needed,
    )
