"""Results of a comparison of an aligned policy with its competitors."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from genrec.config.errors import RunError
from genrec.results.records import Metrics, Record, RunFile


class PositionExposure(Record):
    """How the slots of a third of the positions are distributed over the items.

    See ``genrec.metrics.Exposure``; the row of several seeds has the means of theirs.

    Attributes:
        first: first of the positions, counted from 1.
        last: last of them.
        top_share: share of the slots that the ten most frequent items have.
        gini: Gini coefficient over all items of the catalogue.
        entropy: of the shares of the items, in nats.
        distinct: number of different items.
    """

    first: int
    last: int
    top_share: float
    gini: float
    entropy: float
    distinct: float


class ComparisonRow(Record):
    """One method of a comparison at one weight.

    Attributes:
        method: its name, such as "mmr".
        weight: of the method's grid; None for a method without one.
        metrics: means over the users, and metrics of all lists together.
        errors: standard error of each mean.
        exposure: of the items, in each third of the positions.
    """

    method: str
    weight: float | None = None
    metrics: Metrics
    errors: Metrics
    exposure: tuple[PositionExposure, ...] = ()


class SeedRow(Record):
    """One seed of a method whose row is a mean over seeds.

    Attributes:
        method: its name.
        weight: of the method's grid; None for a method without one.
        seed: of the run.
        metrics: means over the users, and metrics of all lists together.
    """

    method: str
    weight: float | None = None
    seed: int | None
    metrics: Metrics


class Gap(Record):
    """Difference in NDCG between the policy and a re-ranker where the rewarded metric is equal.

    All values but the method are None where no weight of the re-ranker reaches that far.

    Attributes:
        method: the re-ranker.
        difference: NDCG of the policy minus that of the re-ranker.
        error: standard error of the paired difference.
        low: lower end of the 95 % interval over resampled users.
        high: upper end.
        p: of a paired t-test, with Holm's correction over the re-rankers.
    """

    method: str
    difference: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class GapAtWeight(Record):
    """The same difference at one of several weights of the policy, not tested.

    Attributes:
        weight: of the policy.
        method: the re-ranker.
        difference: NDCG of the policy minus that of the re-ranker; None where no weight of the
            re-ranker reaches that far.
        error: standard error over users and, where there are several, seeds.
    """

    weight: float | None
    method: str
    difference: float | None = None
    error: float | None = None


class HullArea(Record):
    """Areas under the concave hulls of the policy and of one re-ranker, on their common range.

    An area is divided by the length of the range: it is mean NDCG at an equal goal. All values but
    the first two are None where the two reach no goal in common.

    Attributes:
        method: the re-ranker.
        points: how many it has.
        common_range: lowest and highest goal that both reach, in units of the goal.
        policy_area: of the policy.
        area: of the re-ranker.
        difference: area of the policy minus that of the re-ranker.
        low: lower end of its 95 % interval over resampled users and seeds.
        high: upper end.
        p: of no difference, two-sided, from the bootstrap, with Holm's correction.
    """

    method: str
    points: int
    common_range: tuple[float, float] | None = None
    policy_area: float | None = None
    area: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class HullAreas(Record):
    """Areas under the hulls of all methods, each compared with the policy.

    Attributes:
        axes: the goal and the accuracy.
        points: how many the policy has.
        methods: one entry per re-ranker.
    """

    axes: tuple[str, str]
    points: int
    methods: tuple[HullArea, ...]


class Change(Record):
    """Change of one metric.

    Attributes:
        difference: value minus that of the reference.
        error: standard error of the paired difference; None for a metric of all lists together.
        p: of a paired t-test, with Holm's correction over all changes; None as above.
    """

    difference: float
    error: float | None = None
    p: float | None = None


class SideEffects(Record):
    """Changes of the metrics that were not rewarded.

    Attributes:
        method: whose lists.
        weight: of the method's grid; None for a method without one.
        reference: method whose lists they were made from: student or teacher.
        changes: metric -> its change.
    """

    method: str
    weight: float | None = None
    reference: str
    changes: dict[str, Change]


class PolicyStatistics(Record):
    """A policy's choices at each position of its own lists, in nats; means over the users.

    Attributes:
        method: the policy.
        kl: (K,) KL divergence from the student.
        entropy: (K,) entropy.
    """

    method: str
    kl: tuple[float, ...]
    entropy: tuple[float, ...]


class Comparison(RunFile):
    """``comparison.json``: an aligned policy and its competitors on the same test users.

    Attributes:
        reward: name of the first reward that is not accuracy, "ndcg" where there is none; its
            metric is one axis of the trade-off, NDCG@K the other.
        weights: reward -> weight of the objective.
        ranges: reward -> lowest and highest weight of the policy, where they differ.
        k: list length.
        dataset: its name.
        split: how it was split.
        fingerprint: hash of the dataset.
        cases: number of test users.
        seed: of the sample of users and the resampling.
        candidates: size of the pool from which re-rankers choose.
        resamples: number of bootstrap samples.
        temperature: of the teacher's calibrated probabilities.
        versions: of Python and the libraries.
        rows: one row per method and weight.
        gaps: differences in NDCG where the rewarded metric is equal.
        gaps_along: the same at every weight of a policy of several.
        hull_areas: areas under the concave hulls of the policy and of each re-ranker.
        side_effects: changes of the metrics that were not rewarded.
        seeds: the single seeds of rows that are means.
        policy_weight: at which the policy of several weights is taken for gaps and side effects.
        policies: KL divergence and entropy of each policy.
        runs: relative paths to the aligned runs of a sweep.
    """

    file_name = "comparison.json"
    remedy = "run the comparison of {directory} again"

    schema_version: Literal[2] = 2
    reward: str
    weights: dict[str, float]
    ranges: dict[str, tuple[float, float]]
    k: int
    dataset: str
    split: str
    fingerprint: str
    cases: int
    seed: int
    candidates: int
    resamples: int
    temperature: float
    versions: dict[str, str]
    rows: tuple[ComparisonRow, ...] = Field(min_length=1)
    gaps: tuple[Gap, ...]
    gaps_along: tuple[GapAtWeight, ...]
    hull_areas: HullAreas
    side_effects: tuple[SideEffects, ...]
    seeds: tuple[SeedRow, ...]
    policy_weight: float | None
    policies: tuple[PolicyStatistics, ...]
    runs: tuple[str, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the comparison of a run or sweep.

        Raises:
            RunError: if there is none, or if it cannot be used.
        """
        compared = (directory / cls.file_name).exists()
        if not compared and (directory / "run.json").exists():
            raise RunError(
                f"{directory} has no {cls.file_name} yet: run `genrec compare {directory}` first"
            )
        return super().read(directory)
