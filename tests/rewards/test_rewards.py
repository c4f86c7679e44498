"""Every built-in reward against literals worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.data import Catalogue, Sequences, make_catalogue
from genrec.metrics.context import Context
from genrec.rewards import Diversity, Ndcg, Novelty, Popularity, Relevance, telescoped, terminal

# Items 1..5: action, action+comedy, comedy, drama, nothing known.
FEATURES = {"a": ["action"], "b": ["action", "comedy"], "c": ["comedy"], "d": ["drama"]}
HALF = 0.70710678  # cos(action, action+comedy)


def catalogue() -> Catalogue:
    return replace(
        make_catalogue(list("abcde"), features=FEATURES), counts=np.array([0, 8, 6, 4, 2, 0])
    )


def context(k: int, history: list[int] | None = None, target: int = 0) -> Context:
    return Context(Sequences.from_lists([history or []]), np.array([target]), catalogue(), k)


def test_ndcg_pays_at_the_position_of_the_target() -> None:
    gains = Ndcg()(np.array([[3, 1, 4]]), context(3, target=4))
    np.testing.assert_allclose(gains, [[0, 0, 0.5]])


def test_ndcg_of_an_unknown_target_is_zero_even_for_pad() -> None:
    assert Ndcg()(np.array([[0, 1]]), context(2, target=0)).tolist() == [[0, 0]]


def test_relevance_is_the_probability_discounted() -> None:
    p = np.array([[0, 0.4, 0.3, 0.2, 0.1, 0]])
    ctx = Context(Sequences.from_lists([[]]), np.array([0]), catalogue(), 3, of_probabilities=p)
    np.testing.assert_allclose(
        Relevance()(np.array([[2, 1, 4]]), ctx), [[0.3, 0.2523719, 0.05]], rtol=1e-6
    )


def test_relevance_without_probabilities_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="give a teacher"):
        Relevance()(np.array([[1]]), context(1))


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    gains = Diversity()(np.array([[1, 2, 4]]), context(3))
    # pairs: d(1,2) = 1 - .7071, d(1,4) = 1, d(2,4) = 1; three pairs
    np.testing.assert_allclose(gains, [[0, (1 - HALF) / 3, 2 / 3]], atol=1e-6)


def test_diversity_of_all_different_items_is_one_and_of_a_short_list_less() -> None:
    assert Diversity()(np.array([[1, 3, 4]]), context(3)).sum() == pytest.approx(1)
    assert Diversity()(np.array([[1, 3]]), context(3)).sum() == pytest.approx(1 / 3)


def test_diversity_of_one_item_is_zero() -> None:
    assert Diversity()(np.array([[1]]), context(1)).tolist() == [[0]]


def test_unlabelled_items_earn_no_diversity() -> None:
    # 5 is unlabelled: only the pair (1, 4) counts
    np.testing.assert_allclose(
        Diversity()(np.array([[5, 1, 4]]), context(3)), [[0, 0, 1 / 3]], atol=1e-7
    )


def test_novelty_is_the_mean_distance_from_the_known_history() -> None:
    # history 1 and 3 (5 is unlabelled and does not count): d(2, .) = 1 - .7071 both; d(4, .) = 1;
    # d(1, .) = 0 and 1
    gains = Novelty()(np.array([[2, 4, 1, 5]]), context(4, history=[1, 5, 3]))
    np.testing.assert_allclose(gains, [[(1 - HALF) / 4, 0.25, 0.125, 0]], atol=1e-6)


@pytest.mark.parametrize("history", [[], [5]])
def test_novelty_without_a_known_history_is_zero(history: list[int]) -> None:
    assert Novelty()(np.array([[1, 4]]), context(2, history=history)).tolist() == [[0, 0]]


def test_popularity_is_relative_to_the_most_popular_list() -> None:
    # p = .4 .3 .2 .1 0; the two most popular sum to .7
    two_lists = context(2).take(np.array([0, 0]))
    gains = Popularity()(np.array([[2, 1], [5, 4]]), two_lists)
    np.testing.assert_allclose(gains, [[-3 / 7, -4 / 7], [0, -1 / 7]])


def test_popularity_without_counts_says_what_to_do() -> None:
    bare = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a"]), 1)
    with pytest.raises(ValueError, match="catalogue of a Split"):
        Popularity()(np.array([[1]]), bare)


def test_terminal_pays_whole_lists_at_the_end_only() -> None:
    span = terminal(lambda slates, _: np.ptp(slates, axis=1), "span")
    assert span(np.array([[2, 5, 1]]), context(3)).tolist() == [[0, 0, 4]]
    assert span(np.array([[2, 5]]), context(3)).tolist() == [[0, 0]]
    assert span.marginal(np.array([[2]]), np.array([[5, 4]]), context(3)).tolist() == [[0, 0]]
    assert span.marginal(np.array([[2, 5]]), np.array([[1, 4]]), context(3)).tolist() == [[4, 3]]


def test_telescoped_spreads_the_value_over_the_positions() -> None:
    span = telescoped(lambda slates, _: np.ptp(slates, axis=1), "span", needs=["targets"])
    assert span(np.array([[2, 5, 1]]), context(3)).tolist() == [[0, 3, 1]]
    assert span.marginal(np.array([[2, 5]]), np.array([[1, 4]]), context(3)).tolist() == [[1, 0]]
    assert span.marginal(np.empty((1, 0), int), np.array([[1, 4]]), context(3)).tolist() == [[0, 0]]
    assert (span.name, span.needs) == ("span", {"targets"})


def test_telescoped_sees_prefixes_in_order() -> None:
    lengths: list[int] = []
    telescoped(lambda slates, _: (lengths.append(slates.shape[1]), np.ones(len(slates)))[1], "x")(
        np.array([[1, 2, 3]]), context(3)
    )
    assert lengths == [1, 2, 3]
