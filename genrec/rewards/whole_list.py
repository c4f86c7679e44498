"""Functions of a whole list as rewards: paid at the last position, or spread over all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward

Value = Callable[[Slates, Context], Floats]
"""Slates (n, j), context -> (n,) value of each list."""


@dataclass(frozen=True)
class ListReward(Reward):
    """A function of a list with a name: the base of ``Terminal`` and ``Telescoped``.

    Attributes:
        value: slates (n, j), context -> (n,) value of each list.
        label: name of the reward.
        needed: optional facts that the context must carry.
    """

    value: Value
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


@dataclass(frozen=True)
class Terminal(ListReward):
    """gain_K = f(g_1 … g_K), gain_i = 0 for i < K: see ``terminal``."""

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j), which are zero except in column K."""
        gains = np.zeros(slates.shape)
        # An unfinished list earns nothing, and f is not defined for it.
        if slates.shape[1] >= context.k:
            gains[:, context.k - 1] = self.value(slates[:, : context.k], context)
        return gains


@dataclass(frozen=True)
class Telescoped(ListReward):
    """gain_i = f(g_1 … g_i) − f(g_1 … g_{i−1}): see ``telescoped``."""

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); f is evaluated once per prefix, j times in all."""
        values = [self.value(slates[:, : i + 1], context) for i in range(slates.shape[1])]
        gains: Floats = np.diff(np.stack([np.zeros(len(slates)), *values], axis=1), axis=1)
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) f of the longer list minus f of the placed items: two evaluations, not j + 1."""
        lists, width = candidates.shape
        rows = np.repeat(np.arange(lists), width)
        longer = np.concatenate([slates[rows], candidates.reshape(-1, 1)], axis=1)
        # f of no items is 0 by definition; the function is never called with empty lists.
        before = self.value(slates, context) if slates.shape[1] else np.zeros(lists)
        after = self.value(longer, context.take(rows)).reshape(lists, width)
        gains: Floats = after - before[:, None]
        return gains


def terminal(value: Value, name: str, needs: Iterable[str] = ()) -> Terminal:
    """A function of the whole list, paid at the last position K = context.k.

    The right form where the function has no meaning for unfinished lists. The signal is sparse: a
    greedy re-ranker sees it only when it chooses the last item; see
    ``genrec.rerankers.HasSurrogate``.

    Args:
        value: slates (n, K), context -> (n,); called on whole lists only.
        name: name of the reward.
        needs: those of "targets", "probabilities" and "times" that the function reads.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=3)
    >>> largest = terminal(lambda slates, context: slates.max(axis=1), "largest")
    >>> largest(np.array([[2, 3, 1]]), context).tolist()
    [[0.0, 0.0, 3.0]]
    """
    return Terminal(value, name, frozenset(needs))


def telescoped(value: Value, name: str, needs: Iterable[str] = ()) -> Telescoped:
    """A function of a list of any length, spread over its positions.

    gain_i = f(first i items) − f(first i − 1 items), where f of no items is 0. The gains of a list
    sum to f of the list. This is potential-based shaping of ``terminal`` [Ng et al. 1999]: the
    optimal lists are the same, with a signal at every step.

    Args:
        value: slates (n, j), context -> (n,), for every length j = 1..K.
        name: name of the reward.
        needs: those of "targets", "probabilities" and "times" that the function reads.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=3)
    >>> largest = telescoped(lambda slates, context: slates.max(axis=1), "largest")
    >>> largest(np.array([[2, 3, 1]]), context).tolist()
    [[2.0, 1.0, 0.0]]
    """
    return Telescoped(value, name, frozenset(needs))
