"""Lists worked by hand: determinantal point processes, calibrated relevance, lookahead."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from genrec.data import Sequences, make_catalogue
from genrec.metrics.context import Context, Slates
from genrec.rerankers import Pool, dpp, greedy, greedy_choices, greedy_lookahead, mmr
from genrec.rewards import Relevance, WeightedSum, terminal
from genrec.rewards.contract import FunctionReward


def test_dpp_is_the_most_probable_list_where_no_two_items_are_alike() -> None:
    """A diagonal kernel: the best of all subsets by brute force, det = prod S_cc, is what greedy
    finds."""
    names = list("abcdef")
    alone = make_catalogue(
        names, features={name: [name] for name in names[:5]}
    )  # of f nothing is known
    context = Context(Sequences.from_lists([[]]), np.array([0]), alone, k=3)
    pool = Pool(np.array([[6, 1, 2, 3, 4, 5]]), np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]), context)
    similarity, relevance = (
        np.diag([0, 1, 1, 1, 1, 1, 0.01]),
        dict(zip([6, 1, 2, 3, 4, 5], [1, 0.8, 0.6, 0.4, 0.2, 0], strict=True)),
    )
    for weight, expected in ((0.8, [1, 2, 3]), (0.95, [6, 1, 2])):
        # f is worth .8 - .2 * 4.6 = -.12 or .95 - .05 * 4.6 = .72; the others .64 .48 .32 or .76
        # .57 .38
        best = max(
            combinations(range(1, 7), 3),
            key=lambda items: (
                weight * sum(relevance[i] for i in items)
                + (1 - weight) * np.log(np.linalg.det(similarity[np.ix_(items, items)]))
            ),
        )
        assert sorted(dpp(pool, 3, weight)[0].tolist()) == sorted(best) == sorted(expected)


def test_dpp_of_more_items_than_dimensions() -> None:
    """One genre, four items: after the first, every other is a copy with next to nothing left."""
    alike = make_catalogue(list("abcd"), features={name: ["x"] for name in "abcd"})
    context = Context(Sequences.from_lists([[]]), np.array([0]), alike, k=4)
    pool = Pool(np.array([[3, 1, 4, 2]]), np.array([[4.0, 3.0, 2.0, 1.0]]), context)
    assert dpp(pool, 4, 0.5).tolist() == [[3, 1, 4, 2]]


def test_a_calibrated_pool_has_probabilities_as_relevance() -> None:
    probabilities = np.array([[0.0, 0.1, 0.6, 0.3]])
    context = Context(
        Sequences.from_lists([[]]),
        np.array([0]),
        make_catalogue(list("abc")),
        2,
        of_probabilities=probabilities,
    )
    pool = Pool(np.array([[2, 3, 1]]), np.array([[9.0, 8.0, -np.inf]]), context)
    assert pool.calibrated.relevance.tolist() == [[0.6, 0.3, -np.inf]]
    assert pool.calibrated.items is pool.items
    with pytest.raises(ValueError, match="this reward needs P"):
        replace(pool, context=replace(context, of_probabilities=None)).calibrated  # noqa: B018


def test_calibrated_relevance_is_another_trade_off() -> None:
    """Scores 3, 2.9, 1 say that b is nearly as good as a; probabilities .9, .09, .01 that it is
    nearly as bad as c."""
    genres = make_catalogue(list("abc"), features={"a": ["x"], "b": ["x", "y"], "c": ["z"]})
    probabilities = np.array([[0.0, 0.9, 0.09, 0.01]])
    context = Context(
        Sequences.from_lists([[]]), np.array([0]), genres, 2, of_probabilities=probabilities
    )
    pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.9, 1.0]]), context)
    # cos(a, b) = .7071, cos(a, c) = 0; scaled relevance of b .95 or .0899
    for function in (mmr, dpp):
        assert function(pool, 2, 0.6).tolist() == [[1, 2]]  # .57 - .283 > 0; .57 - .4 * .672 > 0
        assert function(pool.calibrated, 2, 0.6).tolist() == [[1, 3]]


def test_lookahead_sees_what_is_paid_at_the_end() -> None:
    probabilities = np.array([[0.0, 0.4, 0.3, 0.2, 0.1]])
    context = Context(
        Sequences.from_lists([[]]),
        np.array([0]),
        make_catalogue(list("abcd")),
        2,
        of_probabilities=probabilities,
    )
    pool = Pool(np.array([[1, 3, 2, 4]]), np.array([[0.4, 0.3, 0.2, 0.1]]), context)
    only_last = terminal(lambda slates, context: (slates[:, 0] == 4) * 1.0, "starts with d")
    assert greedy(pool, 2, WeightedSum(((Relevance(), 1.0), (only_last, 1.0)))).tolist() == [[1, 2]]
    assert greedy_lookahead(
        pool, 2, WeightedSum(((Relevance(), 1.0), (only_last, 1.0)))
    ).tolist() == [[4, 1]]


def test_lookahead_completes_with_the_best_free_candidates() -> None:
    """The lists that the reward is asked about at each position, for one pool, written out."""
    asked: list[list[list[int]]] = []

    def value(slates: Slates, context: Context) -> NDArray[np.float64]:
        asked.append(slates.tolist())
        return (slates[:, 1] == 9) * 1.0

    context = Context(
        Sequences.from_lists([[]]), np.array([0]), make_catalogue(list("abcdefghi")), 3
    )
    pool = Pool(np.array([[7, 8, 9, 1]]), np.array([[4.0, 3.0, 2.0, -np.inf]]), context)
    assert greedy_lookahead(pool, 3, terminal(value, "nine second")).tolist() == [[7, 9, 8]]
    assert asked[0][:3] == [[7, 8, 9], [8, 7, 9], [9, 7, 8]]
    assert asked[1][1:3] == [[7, 8, 9], [7, 9, 8]]
    assert asked[2][1] == [7, 9, 8]


def test_what_greedy_chooses_from_position_by_position() -> None:
    """Gains 1, 2, 0, 1 of items 1 to 4: variance 1/2. Without item 2 they are 1, 0, 1: variance
    2/9."""
    worth = FunctionReward(lambda slates, context: np.array([0.0, 1, 2, 0, 1])[slates], "worth")
    context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(list("abcd")), k=2)
    pool = Pool(np.array([[1, 2, 3, 4]]), np.array([[4.0, 3.0, 2.0, 1.0]]), context)
    items, below = greedy_choices(pool, 2, worth, width=3)
    assert items[0, :, 0].tolist() == greedy(pool, 2, worth)[0].tolist() == [2, 1]
    assert {1, 4} == set(items[0, 0, 1:].tolist())
    assert {3, 4} == set(items[0, 1, 1:].tolist())
    np.testing.assert_allclose(below[0, 0], [0, -(2**0.5), -(2**0.5)])
    np.testing.assert_allclose(np.sort(below[0, 1]), [-(4.5**0.5), 0, 0])


@pytest.mark.parametrize(
    "gain", [0.0, 0.3, 1 / 3]
)  # whose variance is rounded to something above 0
def test_where_all_gains_are_equal_greedy_has_one_choice(gain) -> None:
    context = Context(
        Sequences.from_lists([[]]), np.array([0]), make_catalogue(list("abcdefghij")), k=2
    )
    pool = Pool(np.arange(1, 11)[None], np.arange(10.0, 0, -1)[None], context)
    alike = FunctionReward(lambda slates, context: np.full(slates.shape, gain), "alike")
    items, below = greedy_choices(pool, 2, alike, width=2)
    assert items[0, :, 0].tolist() == [1, 2]
    assert below.tolist() == [[[0, -np.inf], [0, -np.inf]]]
    assert all(len(set(row)) == 2 for row in items[0].tolist())
