"""Who takes part in a comparison: recommenders without a weight, and re-rankers over dense grids of
theirs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.baselines import Markov, Popularity
from genrec.evaluation.policies import Aligned, points_of
from genrec.metrics.context import Floats, Slates
from genrec.metrics.ranking import measure
from genrec.pipeline.loading import calibrated, open_recommender
from genrec.pipeline.workspace import Workspace, folder_of
from genrec.recommender import Recommender, TopK
from genrec.rerankers import (
    Pool,
    dpp,
    greedy,
    greedy_lookahead,
    mmr,
    popularity_penalised,
    sog,
    sort_by_relevance,
    with_surrogates,
)
from genrec.rewards import Relevance, Reward, Terminal, WeightedSum, checked
from genrec.training.run_directory import read_json

Lister = Callable[[Pool], NDArray[np.int64]]
Reranker = Callable[..., NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Goals:
    """What lists are rewarded for.

    Attributes:
        terms: every reward but the accuracy one, and its weight in the run.
        accuracy: weight of the accuracy reward.
    """

    terms: tuple[tuple[Reward, float], ...]
    accuracy: float

    @property
    def judged(self) -> WeightedSum:
        """The weighted sum of the goals, every answer verified."""
        return checked_sum(self.terms)

    @property
    def paid_late(self) -> bool:
        """Whether a goal is zero until the last position."""
        return any(isinstance(term, Terminal) for term, _ in self.terms)


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method at one weight: a row of the comparison.

    Attributes:
        method: such as "mmr".
        weight: of the grid; None for a method without one.
        lists: the lists for a pool of candidates and its histories.
        listed: (V+1,) which items were in a list so far.
        policy: that wrote the lists; None where no policy did.
        per_user: metric name -> values, one array a batch of histories.
        marks: a number for each list, one array a batch: equal lists have the same.
        seed: of the run, for a policy.
        members: the entrants that this one is the mean of, over seeds.
    """

    method: str
    weight: float | None
    lists: Lister
    listed: NDArray[np.bool_]
    policy: GPTRec | None = None
    per_user: dict[str, list[Floats]] = field(default_factory=dict)
    marks: list[NDArray[np.int64]] = field(default_factory=list)
    seed: int | None = None
    members: tuple["Entrant", ...] = ()

    def judge(
        self, pool: Pool, targets: Slates, goals: Goals, metrics: dict[str, Reward]
    ) -> NDArray[np.int64]:
        """Write the lists of a batch and keep what they are worth; the objective is weighted NDCG
        plus the goals.

        Returns:
            (B, K) the lists.
        """
        slates = self.lists(pool)
        context = replace(pool.context, of_targets=targets)
        measured = dict(measure(slates, context, metrics).per_user)
        measured["objective"] = goals.accuracy * measured[f"ndcg@{context.k}"]
        measured["objective"] = measured["objective"] + goals.judged(slates, context).sum(axis=1)
        for name, values in measured.items():
            self.per_user.setdefault(name, []).append(values.astype(np.float32))
        self.listed[np.unique(slates)] = True
        self.marks.append(_marks(slates))
        return slates

    def values(self, name: str) -> Floats:
        """(N,) a metric of every case."""
        return np.concatenate(self.per_user[name])

    def mean(self, name: str) -> float:
        """Mean of a metric over the cases."""
        return float(self.values(name).mean())

    @property
    def overall(self) -> dict[str, float]:
        """Share of the catalogue that was listed, and share of the lists that nobody else got
        before."""
        if self.members:
            each = [member.overall for member in self.members]
            return {name: float(np.mean([found[name] for found in each])) for name in each[0]}
        marks = np.concatenate(self.marks)
        return {
            "coverage": float(self.listed[1:].mean()),
            "distinct": len(np.unique(marks)) / len(marks),
        }


def line_up(workspace: Workspace, aligned: Aligned, goals: Goals) -> Iterator[Entrant]:
    """All entrants: baselines, the teacher, re-rankers over their grids, the student, the warm
    start and the policies.

    Re-rankers that take relevance in [0, 1] do so from the scores of the teacher, scaled in each
    pool, and from its calibrated probabilities, scaled alike ("-calibrated"). MMR and SOG also take
    raw scores ("-raw"), as published [Petrov 2025, ch. 8]; those grids are dense where the goal has
    most weight, for scores are larger than similarities. Every grid reaches from Top-K to the goal
    alone.
    """
    settings, k, run = workspace.settings, workspace.settings.k, aligned.runs[0]
    size = workspace.split.catalogue.num_items + 1

    def entrant(
        method: str, lists: Lister, weight: float | None = None, policy: GPTRec | None = None
    ) -> Entrant:
        return Entrant(method, weight, lists, np.zeros(size, dtype=bool), policy)

    def plain(method: str, recommender: Recommender) -> Entrant:
        policy = recommender.policy if isinstance(recommender, NextK) else None
        return entrant(method, partial(_recommended, recommender=recommender, k=k), policy=policy)

    yield plain("popularity", TopK(Popularity.fit(workspace.split)))
    yield plain("markov", TopK(Markov.fit(workspace.split)))
    yield plain("teacher", TopK(calibrated(folder_of(run, "teacher"), workspace).scorer))
    even = np.linspace(0, 1, settings.compare.weights)
    for method, rerank, grid in _families(goals, even):
        for weight in grid.round(6).tolist():
            yield entrant(method, partial(rerank, k=k, weight=weight), weight)
    for method, rerank in _greedy_families(goals):
        for share in shares(settings.compare.weights, settings.compare.highest):
            yield entrant(method, partial(rerank, k=k, share=share), share)
    yield plain("student", open_recommender(folder_of(run, "student"), workspace.device))
    if len(aligned.runs) == 1 and "supervised_warmup" in read_json(run / "run.json"):
        yield plain(
            "supervised warm-up",
            open_recommender(folder_of(run, "supervised_warmup"), workspace.device),
        )
    points = points_of(workspace, aligned)
    followed_weight = middle([point.weight for point in points])
    first = next(point for point in points if point.weight == followed_weight)
    for point in points:
        lists = partial(_recommended, recommender=point.writer, k=k)
        policy = point.writer.policy if point is first else None
        yield replace(entrant("aligned", lists, point.weight, policy), seed=point.seed)


def middle(weights: Sequence[float | None]) -> float | None:
    """The middle one of the different weights, which speaks for a policy of many.

    >>> middle([0.0, 0.0, 0.1, 0.5, 0.5])
    0.1
    """
    different = list(dict.fromkeys(weights))
    return different[len(different) // 2]


def over_seeds(entrants: Sequence[Entrant]) -> list[Entrant]:
    """The entrants, those of one method and weight but different seeds as one: the mean of each
    user's values."""
    groups: dict[tuple[str, float | None], list[Entrant]] = {}
    for entrant in entrants:
        groups.setdefault((entrant.method, entrant.weight), []).append(entrant)
    return [group[0] if len(group) == 1 else _mean(group) for group in groups.values()]


def _mean(group: Sequence[Entrant]) -> Entrant:
    mean = {
        name: [
            np.mean(parts, axis=0)
            for parts in zip(*(each.per_user[name] for each in group), strict=True)
        ]
        for name in group[0].per_user
    }
    return replace(group[0], per_user=mean, seed=None, members=tuple(group))


def shares(weights: int, highest: float) -> list[float]:
    """The grid of the greedy re-ranker: w of (1 − w) · accuracy + w · goals, from Top-K (0) to the
    goals alone (1).

    w = 1/2 is the reward of the run itself, goals w / (1 − w) times as heavy as in it otherwise.
    There are at least these three; the rest lies evenly up to w = highest / (1 + highest).

    >>> shares(5, highest=4)
    [0.0, 0.4, 0.5, 0.8, 1.0]
    """
    spread = np.linspace(0, highest / (1 + highest), max(1, weights - 2)).round(6)
    return sorted({0.0, 0.5, 1.0, *spread.tolist()})


def checked_sum(terms: tuple[tuple[Reward, float], ...]) -> WeightedSum:
    """The weighted sum of rewards, every answer verified."""
    return WeightedSum(tuple((checked(term), weight) for term, weight in terms))


def _families(
    goals: Goals, even: NDArray[np.float64]
) -> Iterator[tuple[str, Reranker, NDArray[np.float64]]]:
    """Name, re-ranker and grid of those whose weight lies in [0, 1]."""
    rerankers: dict[str, Reranker] = {"mmr": mmr, "sog": sog, "dpp": dpp}
    if any(term.name == "popularity" for term, _ in goals.terms):
        rerankers["popularity-sort"] = popularity_penalised
    dense = {"mmr": even**2, "sog": 1 - even[::-1] ** 2}
    for name, rerank in rerankers.items():
        yield name, rerank, even
        yield f"{name}-calibrated", partial(_of_probabilities, rerank=rerank), even
        if name in dense:
            yield f"{name}-raw", partial(rerank, normalise=False), dense[name]


def _greedy_families(goals: Goals) -> Iterator[tuple[str, Reranker]]:
    """Greedy on the run's own reward, following guides; its lists sorted; where goals are paid
    late, looking ahead."""
    if not goals.terms:
        return
    yield "greedy", partial(_greedy, goals=goals)
    yield "greedy-sorted", partial(_greedy_sorted, goals=goals)
    if goals.paid_late:
        yield "greedy-ahead", partial(_greedy_ahead, goals=goals)


def _greedy(pool: Pool, k: int, share: float, goals: Goals) -> NDArray[np.int64]:
    """Lists that maximise (1 − share) · accuracy + share · goals step by step."""
    guides = replace(
        goals, terms=tuple((with_surrogates(term), weight) for term, weight in goals.terms)
    )
    return greedy(pool, k, _shared(guides, share))


def _greedy_sorted(pool: Pool, k: int, share: float, goals: Goals) -> NDArray[np.int64]:
    return sort_by_relevance(pool, _greedy(pool, k, share, goals), _shared(goals, share))


def _greedy_ahead(pool: Pool, k: int, share: float, goals: Goals) -> NDArray[np.int64]:
    return greedy_lookahead(pool, k, _shared(goals, share))


def _shared(goals: Goals, share: float) -> WeightedSum:
    """(1 − share) · accuracy + share · goals."""
    heavier = tuple((term, share * weight) for term, weight in goals.terms)
    return checked_sum(((Relevance(), (1 - share) * goals.accuracy), *heavier))


def _of_probabilities(pool: Pool, k: int, weight: float, rerank: Reranker) -> NDArray[np.int64]:
    return rerank(pool.calibrated, k, weight)


def _recommended(pool: Pool, recommender: Recommender, k: int) -> NDArray[np.int64]:
    """A recommender among the entrants: it looks at the histories of the pool only."""
    return recommender.recommend(pool.context.of_histories, k)


def _marks(slates: Slates) -> NDArray[np.int64]:
    """(B,) a 63-bit number for each list; two different lists share one with a probability of about
    2^-62."""
    factors = np.random.default_rng(0).integers(1, 2**63 - 1, slates.shape[1])
    marks: NDArray[np.int64] = (slates * factors).sum(axis=1)
    return marks
