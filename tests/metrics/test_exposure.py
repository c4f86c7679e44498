"""Exposure of items by position, by hand and against counting one by one."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from genrec.config.errors import GenrecError
from genrec.metrics.exposure import (
    Exposure,
    ItemCounts,
    count_by_position,
    exposure_by_position,
    position_groups,
    summarize_exposure,
    tail_concentration,
)


def random_lists(seed: int, *, lists: int = 50, k: int = 7, num_items: int = 30) -> np.ndarray:
    generator = np.random.default_rng(seed)
    chance = generator.dirichlet(np.full(num_items, 0.3))
    scores = np.log(chance + 1e-9) + generator.gumbel(size=(lists, num_items))
    return np.argsort(-scores, axis=1)[:, :k] + 1


@pytest.mark.parametrize(
    ("k", "sizes"),
    [(1, [1]), (2, [1, 1]), (3, [1] * 3), (4, [1, 2, 1]), (5, [2, 1, 2]), (10, [3, 4, 3])],
)
def test_thirds_of_short_lists(k, sizes):
    assert [group.stop - group.start for group in position_groups(k)] == sizes


@pytest.mark.parametrize("k", range(3, 60))
def test_thirds_hold_every_position_once_and_are_equally_long(k):
    groups = position_groups(k)
    assert [place for group in groups for place in range(k)[group]] == list(range(k))
    sizes = [group.stop - group.start for group in groups]
    assert len(sizes) == 3
    assert sizes[0] == sizes[2]
    assert max(sizes) - min(sizes) <= 1


def test_exposure_by_hand():
    """Eleven items have one slot each, and one has nine of the twenty."""
    slates = np.array([[item] for item in [*range(1, 12), *[12] * 9]])
    (found,) = exposure_by_position(slates, num_items=12)
    assert (found.first, found.last, found.distinct) == (1, 1, 12)
    assert found.top_share == pytest.approx(18 / 20)
    # Σ (2j - 13) / 20 over j = 1..11 is -11/20, and 11 · 9/20 for the last item
    assert found.gini == pytest.approx((-11 + 99) / 20 / 11)
    assert found.entropy == pytest.approx(11 / 20 * np.log(20) + 9 / 20 * np.log(20 / 9))


def test_exposure_counted_one_by_one():
    """Gini as the mean absolute difference of all pairs over twice the mean, times V / (V - 1)."""
    slates, num_items = random_lists(0), 30
    for found in exposure_by_position(slates, num_items):
        slots = [item for row in slates.tolist() for item in row[found.first - 1 : found.last]]
        times = Counter(slots)
        counts = [times.get(item, 0) for item in range(1, num_items + 1)]
        pairs = sum(abs(one - other) for one, other in combinations(counts, 2))
        gini = 2 * pairs / (2 * num_items**2 * np.mean(counts)) * num_items / (num_items - 1)
        assert found.gini == pytest.approx(gini)
        top = sum(count for _, count in times.most_common(10))
        assert found.top_share == pytest.approx(top / len(slots))
        shares = [count / len(slots) for count in times.values()]
        assert found.entropy == pytest.approx(-sum(share * np.log(share) for share in shares))
        assert found.distinct == len(times)


def test_equal_exposure_and_a_single_item_are_the_two_ends():
    circle = np.array([[1 + i, 1 + (i + 1) % 20, 1 + (i + 2) % 20] for i in range(20)])
    for found in exposure_by_position(circle, num_items=20):
        assert found.gini == pytest.approx(0)
        assert found.entropy == pytest.approx(np.log(20))
        assert found.top_share == pytest.approx(0.5)
    same = np.tile([4, 2, 9], (5, 1))
    for position, found in enumerate(exposure_by_position(same, num_items=20), start=1):
        expected = Exposure(position, position, top_share=1, gini=1, entropy=0, distinct=1)
        assert found == expected


def test_a_catalogue_of_one_item_is_equally_exposed():
    (found,) = exposure_by_position(np.array([[1], [1]]), num_items=1)
    assert (found.gini, found.entropy, found.distinct) == (0, 0, 1)


def test_counts_of_batches_add_up():
    slates = random_lists(1)
    whole = count_by_position(slates)
    parts = [count_by_position(slates[:20]), count_by_position(slates[20:])]
    added = [one + other for one, other in zip(*parts, strict=True)]
    for one, other in zip(whole, added, strict=True):
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.counts, other.counts)
        assert other.counts.dtype == other.items.dtype == np.int32
    assert summarize_exposure(added, 7, 30) == exposure_by_position(slates, 30)


def test_counts_do_not_grow_with_the_catalogue():
    counts = ItemCounts.of(np.array([[1, 2_000_000_000]]))
    assert (counts.items.tolist(), counts.counts.tolist()) == ([1, 2_000_000_000], [1, 1])


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_tail_concentration_is_the_share_in_the_last_third(k):
    slates = random_lists(2, k=k)
    last = exposure_by_position(slates, 30)[-1]
    assert last.last == k
    assert tail_concentration(slates) == pytest.approx(last.top_share)


def test_tail_concentration_sees_fillers_that_distinct_lists_hide():
    personal = np.arange(1, 401).reshape(100, 4)
    filled = personal.copy()
    filled[:, 3] = 1000 + np.arange(100) % 10  # ten fillers
    assert tail_concentration(personal) == pytest.approx(0.1)
    assert tail_concentration(filled) == 1
    assert len(np.unique(filled, axis=0)) == 100


@pytest.mark.parametrize("slates", [np.empty((0, 3), int), np.empty((3, 0), int)])
def test_no_slots_have_no_exposure(slates):
    for measured in (tail_concentration, lambda lists: exposure_by_position(lists, 5)):
        with pytest.raises(GenrecError, match="no positions to measure: give at least one list"):
            measured(slates)


def test_what_is_no_list_of_items_is_refused():
    with pytest.raises(GenrecError, match="has item 3 twice"):
        tail_concentration(np.array([[3, 3]]))
    with pytest.raises(GenrecError, match="items are 1 to 5"):
        exposure_by_position(np.array([[6]]), 5)
