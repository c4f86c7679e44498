"""The reward contract: one object is metric, RL reward and re-ranking criterion."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.metrics.context import Context, Floats, Slates


@dataclass(frozen=True)
class Reward:
    """What a list earns, position by position.

    A subclass is a frozen dataclass, whose fields are the reward's parameters, and defines
    ``__call__``. The gains must be *causal*: the first j columns do not change when later columns
    do. Then their sum over a list is a metric, column t is the step reward r_t of reinforcement
    learning, and the last column over candidates is the marginal gain that a greedy re-ranker
    maximises.

    The gains of a list may depend on its own history, target and items, on the catalogue (features,
    counts), and on ``context.progress``, the share of the training that is done. They must not
    depend on the other lists, nor on chance. ``genrec rewards check`` tests all of this.
    """

    @property
    def name(self) -> str:
        """Name in tables and logs."""
        return type(self).__name__.lower()

    @property
    def needs(self) -> frozenset[str]:
        """Optional facts that the context must carry: "targets", "probabilities", "times"."""
        return frozenset()

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains of every position.

        Args:
            slates: (n, j) item indices, the first j <= K positions of n lists.
            context: context of these n lists.

        Returns:
            (n, j) what each position adds, given the positions before it.
        """
        raise NotImplementedError

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """What each candidate would add as the next item.

        This general form evaluates every pair of list and candidate; a reward with a closed form
        overrides it.

        Args:
            slates: (n, j) the items placed so far; j may be 0.
            candidates: (n, C) candidates of each list.
            context: context of the n lists.

        Returns:
            (n, C) gain of position j + 1 for each candidate.
        """
        lists, width = candidates.shape
        # Every candidate makes a list of its own, n · C in all, which share their histories.
        rows = np.repeat(np.arange(lists), width)
        longer = np.concatenate([slates[rows], candidates.reshape(-1, 1)], axis=1)
        return self(longer, context.take(rows))[:, -1].reshape(lists, width)


def require_times(reward: Reward, histories: Sequences) -> None:
    """Check that the histories have times if a reward needs them.

    Raises:
        GenrecError: naming the reward.
    """
    if "times" in reward.needs and histories.times is None:
        raise GenrecError(
            f"reward {reward.name} needs to know when events happened, and this log has no"
            " timestamps: take a log with a time column, or leave the reward out"
        )


@dataclass(frozen=True)
class FunctionReward(Reward):
    """A plain function ``(slates, context) -> gains`` as a reward.

    Attributes:
        function: slates (n, j), context -> gains (n, j).
        label: name of the reward.
        needed: optional facts that the context must carry.
    """

    function: Callable[[Slates, Context], Floats]
    label: str
    needed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    @property
    def needs(self) -> frozenset[str]:
        """Facts that were declared."""
        return self.needed

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j) that the function returns."""
        return self.function(slates, context)


@dataclass(frozen=True)
class WeightedSum(Reward):
    """Σ over terms of weight · reward, which is a reward again.

    Attributes:
        terms: rewards and their weights.
    """

    terms: tuple[tuple[Reward, float], ...]

    @property
    def name(self) -> str:
        """The terms, such as ``relevance+0.5*diversity``."""
        return "+".join(
            reward.name if weight == 1 else f"{weight:g}*{reward.name}"
            for reward, weight in self.terms
        )

    @property
    def needs(self) -> frozenset[str]:
        """Everything that any term needs."""
        return reduce(frozenset.union, (reward.needs for reward, _ in self.terms), frozenset())

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Weighted sum (n, j) of the terms' gains."""
        # Terms are added in their order: another order would round differently.
        total: Floats = np.zeros(slates.shape)
        for reward, weight in self.terms:
            total = total + weight * reward(slates, context)
        return total

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """Weighted sum (n, C) of the terms' marginal gains."""
        total: Floats = np.zeros(candidates.shape)
        for reward, weight in self.terms:
            total = total + weight * reward.marginal(slates, candidates, context)
        return total
