"""Methods of a comparison (recommenders, re-rankers, policies) and the metrics of their lists."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.baselines import Markov, Popularity
from genrec.evaluation.goals import Goals
from genrec.evaluation.policies import AlignedRuns, policy_points
from genrec.evaluation.reranking import own_rerankers, reranker_grids
from genrec.metrics.context import Floats, Slates
from genrec.metrics.exposure import ItemCounts, count_by_position
from genrec.metrics.ranking import measure
from genrec.pipeline.loading import calibrated, open_recommender
from genrec.pipeline.provenance import parent_run
from genrec.pipeline.workspace import Workspace
from genrec.recommender import Recommender, TopK
from genrec.rerankers import Pool
from genrec.results import Kind, RunMetadata
from genrec.rewards import Reward

OWN = "aligned"  # the method that all others are compared with


@dataclass(eq=False, kw_only=True)
class Method:
    """One method at one weight, and what has been measured of its lists: a row of the comparison.

    Attributes:
        name: such as "mmr".
        weight: of the method's grid; None for a method without one.
        recommend: pool -> lists (B, K). A method that does not re-rank reads the histories only.
        num_items: V, size of the catalogue.
        policy: which wrote the lists; None where no policy did.
        seed: of the run of a policy.
        members: the methods that this one is the mean of, over seeds.
        per_user: metric name -> values, one array (B,) per batch of histories.
        list_hashes: a hash of each list, one array (B,) per batch; equal lists have equal hashes.
        item_counts: how often each item was listed so far, for each third of the positions.
    """

    name: str
    weight: float | None
    recommend: Callable[[Pool], NDArray[np.int64]]
    num_items: int
    policy: GPTRec | None = None
    seed: int | None = None
    members: tuple["Method", ...] = ()
    per_user: dict[str, list[Floats]] = field(default_factory=dict)
    list_hashes: list[NDArray[np.int64]] = field(default_factory=list)
    item_counts: list[ItemCounts] = field(default_factory=list)

    def measure_batch(
        self, pool: Pool, *, targets: Slates, goals: Goals, metrics: Mapping[str, Reward]
    ) -> NDArray[np.int64]:
        """Write the lists of a batch and record their metrics, user by user.

        The objective is the run's accuracy weight times NDCG plus the weighted goals.

        Args:
            pool: candidates and histories of B users; it does not know the targets.
            targets: (B,) held-out items.
            goals: of the run.
            metrics: name -> reward whose sum over the list is a metric.

        Returns:
            (B, K) the lists.
        """
        slates = self.recommend(pool)
        context = replace(pool.context, of_targets=targets)
        measured = dict(measure(slates, context, metrics).per_user)
        measured["objective"] = goals.accuracy * measured[f"ndcg@{context.k}"]
        measured["objective"] = measured["objective"] + goals.weighted_sum(slates, context).sum(
            axis=1
        )
        # float32: hundreds of methods keep several values of every user.
        for name, values in measured.items():
            self.per_user.setdefault(name, []).append(values.astype(np.float32))
        counts = count_by_position(slates)
        if self.item_counts:
            counts = [one + new for one, new in zip(self.item_counts, counts, strict=True)]
        self.item_counts = counts
        self.list_hashes.append(hash_lists(slates))
        return slates

    @property
    def listed(self) -> NDArray[np.int32]:
        """(m,) the items that were in a list so far, in rising order."""
        return np.unique(np.concatenate([counts.items for counts in self.item_counts]))

    def values(self, metric: str) -> Floats:
        """(N,) a metric of each user."""
        return np.concatenate(self.per_user[metric])

    def mean(self, metric: str) -> float:
        """Mean of a metric over the users."""
        return float(self.values(metric).mean())

    @property
    def overall(self) -> dict[str, float]:
        """Metrics of all lists together.

        "coverage" is the share of the catalogue that is in at least one list, "distinct" the number
        of different lists divided by the number of lists.
        """
        if self.members:
            each = [member.overall for member in self.members]
            return {name: float(np.mean([found[name] for found in each])) for name in each[0]}
        hashes = np.concatenate(self.list_hashes)
        return {
            "coverage": len(self.listed) / self.num_items,
            "distinct": len(np.unique(hashes)) / len(hashes),
        }


def collect_methods(workspace: Workspace, aligned: AlignedRuns, goals: Goals) -> Iterator[Method]:
    """All methods of a comparison, nothing of them measured yet.

    Baselines and the teacher come first, then the re-rankers over their grids
    (``genrec.evaluation.reranking.reranker_grids``), the student, its supervised warm-up where one
    run is compared, and the aligned policies.
    """
    settings, k, run = workspace.settings, workspace.settings.k, aligned.runs[0]
    num_items = workspace.split.catalogue.num_items

    def unweighted(name: str, recommender: Recommender) -> Method:
        recommend = partial(_recommend, recommender=recommender, k=k)
        policy = recommender.policy if isinstance(recommender, NextK) else None
        return Method(
            name=name, weight=None, recommend=recommend, num_items=num_items, policy=policy
        )

    def made_from(name: Kind) -> Recommender:
        return open_recommender(parent_run(run, name), workspace.device)

    yield unweighted("popularity", TopK(Popularity.fit(workspace.split)))
    yield unweighted("markov", TopK(Markov.fit(workspace.split)))
    yield unweighted("teacher", TopK(calibrated(parent_run(run, "teacher"), workspace).scorer))
    grids = reranker_grids(
        goals,
        settings.compare.weights,
        settings.compare.highest,
        features=bool(workspace.split.catalogue.feature_names),
        own=own_rerankers(settings.compare.rerankers),
    )
    for grid in grids:
        for weight in grid.weights:
            rerank = partial(grid.rerank, k=k, weight=weight)
            yield Method(name=grid.name, weight=weight, recommend=rerank, num_items=num_items)
    yield unweighted("student", made_from("student"))
    if len(aligned.runs) == 1 and RunMetadata.read(run).supervised_warmup is not None:
        yield unweighted("supervised warm-up", made_from("supervised_warmup"))
    yield from _aligned_policies(workspace, aligned)


def _aligned_policies(workspace: Workspace, aligned: AlignedRuns) -> Iterator[Method]:
    """Aligned policies by rising weight.

    KL divergence and entropy are measured for the first one of the middle weight.
    """
    points = policy_points(workspace, aligned)
    middle = middle_weight([point.weight for point in points])
    measured = next(point for point in points if point.weight == middle)
    for point in points:
        yield Method(
            name=OWN,
            weight=point.weight,
            recommend=partial(_recommend, recommender=point.recommender, k=workspace.settings.k),
            num_items=workspace.split.catalogue.num_items,
            policy=point.recommender.policy if point is measured else None,
            seed=point.seed,
        )


def policy_of(methods: Sequence[Method]) -> Method:
    """The aligned policy; of several weights the middle one."""
    own = [method for method in methods if method.name == OWN]
    weight = middle_weight([method.weight for method in own])
    return next(method for method in own if method.weight == weight)


def curves_of(methods: Sequence[Method]) -> dict[str, list[Method]]:
    """Name -> its methods in the order of the grid, for the re-rankers, which have weights."""
    curves: dict[str, list[Method]] = {}
    for method in methods:
        if method.weight is not None and method.name != OWN:
            curves.setdefault(method.name, []).append(method)
    return curves


def middle_weight(weights: Sequence[float | None]) -> float | None:
    """The middle one of the different weights, at which a policy of several is compared.

    >>> middle_weight([0.0, 0.0, 0.1, 0.5, 0.5])
    0.1
    """
    different = list(dict.fromkeys(weights))
    return different[len(different) // 2]


def average_over_seeds(methods: Sequence[Method]) -> list[Method]:
    """The methods, those that differ in the seed alone as one: the mean of each user's values."""
    groups: dict[tuple[str, float | None], list[Method]] = {}
    for method in methods:
        groups.setdefault((method.name, method.weight), []).append(method)
    return [group[0] if len(group) == 1 else _average(group) for group in groups.values()]


def _average(group: Sequence[Method]) -> Method:
    mean: dict[str, list[Floats]] = {}
    for metric in group[0].per_user:
        batches = zip(*(method.per_user[metric] for method in group), strict=True)
        mean[metric] = [np.mean(batch, axis=0) for batch in batches]
    return replace(group[0], per_user=mean, seed=None, members=tuple(group))


def _recommend(pool: Pool, recommender: Recommender, k: int) -> NDArray[np.int64]:
    """Lists of a recommender, which reads the histories of a pool only."""
    return recommender.recommend(pool.context.of_histories, k)


def hash_lists(slates: Slates) -> NDArray[np.int64]:
    """(B,) a 63-bit hash of each list.

    Two different lists have the same hash with a probability of about 2^-62.
    """
    # The seed is fixed because hashes of different batches are compared.
    factors = np.random.default_rng(0).integers(1, 2**63 - 1, slates.shape[1])
    hashes: NDArray[np.int64] = (slates * factors).sum(axis=1)
    return hashes
