"""The order of lists and local search, against brute force."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from genrec.data import Sequences, make_catalogue
from genrec.metrics.context import Context
from genrec.rerankers import Pool, greedy, local_search, sort_by_relevance, swap_values
from genrec.rewards import FunctionReward, weighted

V, B, C = 40, 12, 15


def make_pool() -> Pool:
    """Pools in the order of the probabilities."""
    generator = np.random.default_rng(2)
    names = [str(i) for i in range(1, V + 1)]
    features = {
        name: [f"f{f}" for f in generator.choice(7, generator.integers(1, 4), replace=False)]
        for name in names
    }
    catalogue = make_catalogue(names, features=features)
    catalogue = replace(catalogue, counts=np.concatenate([[0], generator.integers(1, 60, V)]))
    probabilities = np.concatenate([np.zeros((B, 1)), generator.dirichlet(np.ones(V), B)], axis=1)
    items = np.argsort(-probabilities, axis=1)[:, :C]
    context = Context(
        Sequences.from_lists([[]] * B),
        np.zeros(B, int),
        catalogue,
        4,
        of_probabilities=probabilities,
    )
    return Pool(items, np.take_along_axis(probabilities, items, axis=1), context)


@pytest.mark.parametrize("spec", [["relevance", "diversity=0.3"], ["relevance", "popularity=0.5"]])
def test_a_sorted_list_is_the_best_order_of_a_goal_that_does_not_care_about_it(
    spec: list[str],
) -> None:
    reward, pool = weighted(spec), make_pool()
    slates = greedy(pool, 4, reward)
    found = sort_by_relevance(pool, slates, reward)
    best = np.max(
        [reward(slates[:, order], pool.context).sum(axis=1) for order in permutations(range(4))],
        axis=0,
    )
    np.testing.assert_allclose(reward(found, pool.context).sum(axis=1), best, atol=1e-12)
    assert (found != slates).any()
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(slates, axis=1))


def test_a_list_whose_order_earns_keeps_it() -> None:
    pool = make_pool()
    slates = pool.items[:, :3][:, ::-1]
    rising = FunctionReward(lambda lists, context: (lists == slates) * 1.0, "this order")
    np.testing.assert_array_equal(sort_by_relevance(pool, slates, rising), slates)


def one_exchange_away(slate: list[int], candidates: list[int]) -> list[list[int]]:
    others = []
    for place, item in product(range(len(slate)), candidates):
        other = list(slate)
        if item in slate:
            other[slate.index(item)] = slate[place]
        other[place] = item
        others.append(other)
    return others


def test_local_search_ends_where_no_exchange_helps() -> None:
    """Against every list one exchange away; the goal is one of pairs, whose greedy list can be
    bettered."""
    reward, pool = weighted(["relevance", "diversity"]), make_pool()
    masked = np.where(np.arange(C) == 4, -np.inf, pool.relevance)
    pool = replace(pool, relevance=masked)
    slates = greedy(pool, 4, reward)
    found = local_search(pool, slates, reward)
    earned = reward(found, pool.context).sum(axis=1)
    before = reward(slates, pool.context).sum(axis=1)
    assert (earned >= before).all()
    assert earned.sum() > before.sum() + 1e-3
    assert not (found == pool.items[:, 4:5]).any()
    for row, slate in enumerate(found.tolist()):
        assert len(set(slate)) == 4
        others = np.array(one_exchange_away(slate, np.delete(pool.items[row], 4).tolist()))
        worth = reward(others, pool.context.take(np.full(len(others), row))).sum(axis=1)
        assert worth.max() <= earned[row] + 1e-9
        for place in range(4):
            there = swap_values(pool, found, place=place, reward=reward)[row]
            assert there[4] == -np.inf
            np.testing.assert_allclose(
                np.delete(there, 4), worth[place * (C - 1) : (place + 1) * (C - 1)]
            )
