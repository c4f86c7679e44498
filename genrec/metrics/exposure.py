"""Exposure of items by position: how personal lists are at their top and at their end."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.metrics.context import Slates, require_items

FREQUENT_ITEMS = 10  # of whose slots the share is reported


@dataclass(frozen=True)
class Exposure:
    """How the slots of some positions are distributed over the items of a catalogue.

    With p_i the share of the slots that item i has [Shani & Gunawardana 2011]:

    Attributes:
        first: first of the positions, counted from 1.
        last: last of them.
        top_share: share of the slots that the ten most frequent items have, 0 to 1; near 1 where
            everybody gets the same items.
        gini: Gini coefficient of p over all V items, 0 where all have equally many slots, 1 where
            one has them all: Σ_j (2j − V − 1) p_(j) / (V − 1) with p_(1) <= ... <= p_(V).
        entropy: −Σ_i p_i · log p_i, in nats; 0 where one item has all slots.
        distinct: number of different items; not whole in a mean over seeds.
    """

    first: int
    last: int
    top_share: float
    gini: float
    entropy: float
    distinct: float


@dataclass(frozen=True, eq=False)
class ItemCounts:
    """How often items were listed, for those that were: its size does not grow with the catalogue.

    Attributes:
        items: (m,) different items in rising order.
        counts: (m,) how often each was listed.
    """

    items: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, slates: Slates) -> "ItemCounts":
        """Counts of the items in lists (n, j).

        >>> counts = ItemCounts.of(np.array([[1, 2], [5, 2]]))
        >>> counts.items.tolist(), counts.counts.tolist()
        ([1, 2, 5], [1, 2, 1])
        """
        items, counts = np.unique(slates, return_counts=True)
        return cls(items.astype(np.int32), counts.astype(np.int32))

    def __add__(self, other: "ItemCounts") -> "ItemCounts":
        """Counts of the lists of both."""
        both = np.concatenate([self.items, other.items])
        items, place = np.unique(both, return_inverse=True)
        weights = np.concatenate([self.counts, other.counts])
        counts = np.bincount(place, weights=weights, minlength=len(items))
        return ItemCounts(items, counts.astype(np.int32))


def position_groups(k: int) -> list[slice]:
    """The first, middle and last third of the positions of a list of K items.

    The first and the last third have K / 3 positions each, rounded to the nearest whole number and
    at least one; the middle third has the others. Two positions have no middle third, and one
    position is a single group.

    >>> [(group.start + 1, group.stop) for group in position_groups(10)]
    [(1, 3), (4, 7), (8, 10)]
    >>> [(group.start + 1, group.stop) for group in position_groups(2)]
    [(1, 1), (2, 2)]
    """
    third = max(1, (k + 1) // 3)
    ends = sorted({0, third, k - third, k}) if k > 1 else [0, k]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def count_by_position(slates: Slates) -> list[ItemCounts]:
    """Counts of the items in each third of the positions (``position_groups``) of lists (n, K).

    Counts of further lists can be added, so that the lists themselves need not be kept.
    """
    return [ItemCounts.of(slates[:, group]) for group in position_groups(slates.shape[1])]


def exposure_by_position(slates: Slates, num_items: int) -> list[Exposure]:
    """Exposure of the items in each third of the positions of lists.

    Lists that end with the same items for everybody differ as wholes and cover the catalogue, and
    still their last third is not personal: its ``top_share`` and ``gini`` are high there, its
    ``entropy`` and ``distinct`` low.

    Args:
        slates: (n, K) lists, n and K at least 1.
        num_items: V.

    Returns:
        One exposure per third; see ``position_groups`` for lists of fewer than three items.

    Raises:
        GenrecError: if there are no lists, or one is no list of different items of the catalogue.

    >>> lists = np.array([[1, 2, 9], [3, 4, 9], [5, 4, 9], [7, 8, 9]])
    >>> for found in exposure_by_position(lists, num_items=9):
    ...     print(found.first, round(found.gini, 3), round(found.entropy, 3), found.distinct)
    1 0.625 1.386 4
    2 0.812 1.04 3
    3 1.0 0.0 1
    """
    require_items(slates, num_items)
    _require_slots(slates)
    return summarize_exposure(count_by_position(slates), slates.shape[1], num_items)


def summarize_exposure(by_group: list[ItemCounts], k: int, num_items: int) -> list[Exposure]:
    """Exposure from the counts of ``count_by_position``.

    Args:
        by_group: counts of each third of the positions.
        k: K, length of the lists.
        num_items: V.
    """
    found = []
    for group, counted in zip(position_groups(k), by_group, strict=True):
        rising = np.sort(counted.counts).astype(np.float64)
        share = rising / rising.sum()
        exposure = Exposure(
            first=group.start + 1,
            last=group.stop,
            top_share=float(share[-FREQUENT_ITEMS:].sum()),
            gini=_gini(share, num_items),
            entropy=float(-(share * np.log(share)).sum()) + 0.0,  # no minus zero
            distinct=len(share),
        )
        found.append(exposure)
    return found


def tail_concentration(slates: Slates) -> float:
    """Share of the slots in the last third of the positions that the ten most frequent items have.

    Near 1 where all lists end with the same few items. It says nothing for catalogues or numbers of
    slots near ten. See ``position_groups`` for the last third.

    Args:
        slates: (n, K) lists, n and K at least 1.

    Raises:
        GenrecError: if there are no lists, or one is no list of different items.

    >>> tail_concentration(np.array([[item, 100 + item] for item in range(1, 41)]))
    0.25
    >>> tail_concentration(np.array([[item, 100] for item in range(1, 41)]))
    1.0
    """
    require_items(slates)
    _require_slots(slates)
    tail = ItemCounts.of(slates[:, position_groups(slates.shape[1])[-1]]).counts
    return float(np.sort(tail)[-FREQUENT_ITEMS:].sum() / tail.sum())


def _gini(rising: NDArray[np.float64], num_items: int) -> float:
    """Gini coefficient of the shares of the listed items, rising; all other items have none."""
    if num_items == 1:
        return 0.0
    rank = np.arange(num_items - len(rising) + 1, num_items + 1)
    return float(((2 * rank - num_items - 1) * rising).sum() / (num_items - 1))


def _require_slots(slates: Slates) -> None:
    if not slates.size:
        raise GenrecError(
            f"lists of shape {slates.shape} have no positions to measure: give at least one list"
            " of at least one item"
        )
