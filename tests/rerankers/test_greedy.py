"""Greedy lists: the best item at every step, look-ahead, and surrogates of rewards."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from genrec.metrics.context import Context, Slates
from genrec.rerankers import Pool, greedy, greedy_lookahead, with_surrogates
from genrec.rewards import Diversity, Reward, Terminal, WeightedSum, telescoped, terminal, weighted

V, B, C, K = 40, 12, 15, 5
Pools = Callable[[], Pool]


@pytest.mark.parametrize(
    "spec", [["relevance"], ["relevance", "diversity=2"], ["novelty", "popularity=0.3"]]
)
def test_greedy_takes_the_best_first_step_and_the_best_next_one(
    spec: list[str], make_pool: Pools
) -> None:
    pool, reward = make_pool(), weighted(spec)
    slates = greedy(pool, K, reward)
    for row in range(B):
        context = pool.context.take(np.array([row]))
        for j in range(K):
            rest = [i for i in pool.items[row] if i not in slates[row, :j]]
            gains = [reward(np.array([[*slates[row, :j], i]]), context)[0, -1] for i in rest]
            taken = reward(slates[row : row + 1, : j + 1], context)[0, -1]
            assert taken == pytest.approx(max(gains), abs=1e-6)


def test_greedy_is_optimal_where_gains_do_not_depend_on_each_other(make_pool: Pools) -> None:
    pool, reward = make_pool(), weighted(["novelty=0.5", "popularity=0.1"])
    small = Pool(pool.items[:, :6], pool.relevance[:, :6], replace(pool.context, k=3))
    own = reward(greedy(small, 3, reward), small.context).sum(axis=1)
    for row in range(B):
        lists = np.array(list(permutations(small.items[row], 3)))
        values = reward(lists, small.context.take(np.full(len(lists), row))).sum(axis=1)
        assert own[row] == pytest.approx(values.max(), abs=1e-6)


def test_greedy_evaluates_lists_of_its_own_length(make_pool: Pools) -> None:
    seen: set[int] = set()

    def value(slates: Slates, context: Context) -> NDArray[np.float64]:
        seen.add(context.k)
        return slates[:, -1].astype(float)

    slates = greedy(make_pool(), 3, terminal(value, "last"))
    assert seen == {3}
    assert (slates[:, :2] == make_pool().items[:, :2]).all()


def test_greedy_gives_ties_to_the_better_candidate(make_pool: Pools) -> None:
    class Nothing(Reward):
        def __call__(self, slates: Slates, context: Context) -> NDArray[np.float64]:
            return np.zeros(slates.shape)

    np.testing.assert_array_equal(greedy(make_pool(), K, Nothing()), make_pool().items[:, :K])


def all_pairs(slates: Slates, context: Context) -> NDArray[np.float64]:
    """1 for a list of one odd and one even item, 0 for any other."""
    return ((slates % 2).sum(axis=1) == 1) * 1.0


def test_lookahead_is_never_worse_than_top_k(make_pool: Pools) -> None:
    pool = make_pool()
    for reward in (
        terminal(all_pairs, "pairs"),
        Diversity(),
        weighted(["relevance", "diversity=0.5"]),
    ):
        own = reward(greedy_lookahead(pool, K, reward), pool.context).sum(axis=1)
        assert (own >= reward(pool.items[:, :K], pool.context).sum(axis=1) - 1e-9).all()


def test_greedy_follows_the_surrogate_of_a_reward_that_has_one(make_pool: Pools) -> None:
    def largest(slates: Slates, context: Context) -> NDArray[np.float64]:
        return slates.max(axis=1).astype(float)

    class WithSurrogate(Terminal):
        @property
        def surrogate(self) -> Reward:
            return telescoped(self.value, self.label)

    late = WithSurrogate(largest, "largest")
    assert with_surrogates(late) == telescoped(largest, "largest")
    assert with_surrogates(Diversity()) == Diversity()
    whole = WeightedSum(((Diversity(), 1.0), (late, 2.0)))
    assert with_surrogates(whole) == WeightedSum(
        ((Diversity(), 1.0), (telescoped(largest, "largest"), 2.0))
    )
    pool = make_pool()
    assert (greedy(pool, K, with_surrogates(late))[:, 0] == pool.items.max(axis=1)).all()
    assert (greedy(pool, K, late)[:, 0] == pool.items[:, 0]).all()
