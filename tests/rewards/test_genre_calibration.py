"""Genre calibration against numbers by hand and the paper's formulas in plain Python."""

from collections import Counter
from math import log

import numpy as np
import pytest

from genrec.config.errors import GenrecError
from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.metrics import Context, history_shares, item_shares
from genrec.rerankers import Pool, greedy
from genrec.rewards import GenreCalibration
from genrec.testing import example_lists

# Items 1..5: action, action+comedy, comedy, drama, nothing known.
FEATURES = {"a": ["action"], "b": ["action", "comedy"], "c": ["comedy"], "d": ["drama"]}


def catalogue() -> Catalogue:
    return make_catalogue(list("abcde"), features=FEATURES)


def context(k: int, history: list[int]) -> Context:
    return Context(Sequences.from_lists([history]), np.array([0]), catalogue(), k)


def value(slate: list[int], history: list[int]) -> float:
    return float(GenreCalibration()(np.array([slate]), context(len(slate), history)).sum())


def test_shares_of_items_and_histories() -> None:
    assert item_shares(np.array([[2, 5]]), catalogue()).tolist() == [[[0.5, 0.5, 0], [0, 0, 0]]]
    # a twice, b, and e, which does not count: action 2.5, comedy .5 of 3
    np.testing.assert_allclose(history_shares(context(1, [1, 1, 2, 5])), [[2.5 / 3, 0.5 / 3, 0]])
    assert history_shares(context(1, [5])).tolist() == [[0, 0, 0]]


def test_a_list_like_the_history_earns_nothing_less_than_zero() -> None:
    assert value([2], [1, 3]) == pytest.approx(0, abs=1e-12)
    assert value([3, 1], [1, 3]) == pytest.approx(0, abs=1e-12)


def test_by_hand() -> None:
    # p = (1/2, 1/2, 0); q = (1/3, 1/3, 1/3): KL = -log(.99 * 2/3 + .01)
    assert value([1, 3, 4], [1, 3]) == pytest.approx(log(0.67), abs=1e-12)
    # q = (1/4, 3/4, 0)
    expected = 0.5 * log((0.99 / 4 + 0.005) / 0.5) + 0.5 * log((0.99 * 3 / 4 + 0.005) / 0.5)
    assert value([2, 3], [1, 3]) == pytest.approx(expected, abs=1e-12)
    assert value([4], [1, 3]) == pytest.approx(log(0.01), abs=1e-12)


def test_an_item_without_features_is_no_free_ride() -> None:
    """It is worth as much as an item with features that the history lacks."""
    assert value([1, 3, 5], [1, 3]) == pytest.approx(value([1, 3, 4], [1, 3]), abs=1e-12)
    assert value([5], [1]) == pytest.approx(log(0.01), abs=1e-12)


@pytest.mark.parametrize("history", [[], [5]])
def test_without_a_known_history_every_list_earns_zero(history: list[int]) -> None:
    gains = GenreCalibration()(np.array([[1, 4, 5]]), context(3, history))
    assert gains.tolist() == [[0, 0, 0]]


def test_a_log_without_features_says_what_to_do() -> None:
    bare = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a"]), 1)
    with pytest.raises(GenrecError, match="no features, for instance genres"):
        GenreCalibration()(np.array([[1]]), bare)
    with pytest.raises(GenrecError, match="take a log with an item file"):
        GenreCalibration().marginal(np.empty((1, 0), int), np.array([[1]]), bare)


def slow_value(slate: list[int], history: list[int], features: np.ndarray) -> float:
    """-KL(p || (1 - a) q + a p), one item and one feature at a time."""

    def distribution(items: list[int], count: int) -> Counter[int]:
        shares: Counter[int] = Counter()
        for item in items:
            own = np.flatnonzero(features[item]).tolist()
            shares.update(dict.fromkeys(own, 1 / max(1, len(own) * count)))
        return shares

    p = distribution(history, sum(bool(features[item].any()) for item in history))
    q = distribution(slate, len(slate))
    return -sum(each * log(each / (0.99 * q[f] + 0.01 * each)) for f, each in p.items())


def test_gains_sum_to_the_value_of_every_prefix() -> None:
    slates, lists = example_lists()
    gains = GenreCalibration()(slates, lists)
    for row, (slate, history) in enumerate(zip(slates, lists.histories, strict=True)):
        for j in range(1, slates.shape[1] + 1):
            expected = slow_value(slate[:j].tolist(), history.tolist(), lists.catalogue.features)
            assert gains[row, :j].sum() == pytest.approx(expected, abs=1e-12)


def test_greedy_finds_the_mixture_of_the_history() -> None:
    """Half action, half comedy: the single item of both first, then one of each."""
    facts = context(3, [1, 1, 3, 3])
    pool = Pool(np.array([[4, 1, 3, 2, 5]]), np.arange(5.0, 0, -1)[None], facts)
    assert greedy(pool, 3, GenreCalibration())[0, 0] == 2
    assert set(greedy(pool, 3, GenreCalibration())[0].tolist()) == {1, 2, 3}
