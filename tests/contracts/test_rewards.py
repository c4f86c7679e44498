"""What every named reward must keep, whatever it rewards."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.data import Sequences, make_catalogue
from genrec.metrics.context import Context, Slates
from genrec.rewards import Reward, WeightedSum, available, resolve, telescoped, terminal

K, V, LISTS = 6, 30, 8
WITHOUT_NAME = [
    terminal(lambda slates, context: slates.max(axis=1), "terminal"),
    telescoped(lambda slates, context: slates.max(axis=1), "telescoped"),
    WeightedSum(((resolve("diversity"), 0.7), (resolve("relevance"), -2.0))),
]
NAMED = [resolve(entry.name) for entry in available() if entry.error is None]
REWARDS = [pytest.param(reward, id=reward.name) for reward in [*NAMED, *WITHOUT_NAME]]
every_reward = pytest.mark.parametrize("reward", REWARDS)
# Smallest and largest sum over a whole list.
BOUNDS = {
    "ndcg": (0, 1),
    "relevance": (0, 1),
    "diversity": (0, 1),
    "novelty": (0, 1),
    "popularity": (-1, 0),
}
# Whether the sum depends on the order of the list.
ORDERED = {
    "ndcg": True,
    "relevance": True,
    "diversity": False,
    "novelty": False,
    "popularity": False,
}


def world() -> tuple[Slates, Context]:
    generator = np.random.default_rng(5)
    names = [str(i) for i in range(1, V + 1)]
    features = {
        name: [f"f{f}" for f in generator.choice(6, generator.integers(0, 3), replace=False)]
        for name in names
    }
    catalogue = replace(
        make_catalogue(names, features=features),
        counts=np.concatenate([[0], generator.integers(0, 50, V)]),
    )
    histories = Sequences.from_lists([generator.integers(1, V + 1, n) for n in (0, 1, 4, 9)])
    chances = np.concatenate([np.zeros((4, 1)), generator.dirichlet(np.ones(V), 4)], axis=1)
    context = Context(
        histories, np.array([0, 3, 9, 12]), catalogue, K, of_probabilities=chances, rows=np.repeat(np.arange(4), 2)
    )
    return np.stack([generator.permutation(V)[:K] + 1 for _ in range(LISTS)]), context


@every_reward
def test_one_finite_number_for_every_position(reward: Reward) -> None:
    slates, context = world()
    for width in range(1, K + 1):
        gains = reward(slates[:, :width], context)
        assert gains.shape == (LISTS, width)
        assert gains.dtype.kind == "f"
        assert np.isfinite(gains).all()


@every_reward
def test_causal(reward: Reward) -> None:
    slates, context = world()
    whole = reward(slates, context)
    for j in range(1, K):
        changed = slates.copy()
        changed[:, j:] = slates[::-1, j:]
        np.testing.assert_allclose(reward(changed, context)[:, :j], whole[:, :j], atol=1e-6)
        np.testing.assert_allclose(reward(slates[:, :j], context), whole[:, :j], atol=1e-6)


@every_reward
def test_marginal_is_the_next_gain(reward: Reward) -> None:
    slates, context = world()
    candidates = np.stack([np.arange(1, V + 1)] * LISTS)
    for j in range(K):
        closed = reward.marginal(slates[:, :j], candidates, context)
        general = Reward.marginal(reward, slates[:, :j], candidates, context)
        assert closed.shape == (LISTS, V)
        np.testing.assert_allclose(closed, general, atol=1e-6)


@every_reward
def test_marginal_of_the_item_that_came_is_its_gain(reward: Reward) -> None:
    slates, context = world()
    gains = reward(slates, context)
    for j in range(K):
        np.testing.assert_allclose(
            reward.marginal(slates[:, :j], slates[:, j : j + 1], context)[:, 0],
            gains[:, j],
            atol=1e-6,
        )


@every_reward
def test_lists_do_not_see_each_other_and_chance_plays_no_part(reward: Reward) -> None:
    slates, context = world()
    gains, order = reward(slates, context), np.array([5, 0, 3, 3])
    np.testing.assert_array_equal(reward(slates, context), gains)
    np.testing.assert_allclose(reward(slates[order], context.take(order)), gains[order], atol=1e-6)


@every_reward
def test_inputs_stay_as_they_were(reward: Reward) -> None:
    slates, context = world()
    before = slates.copy(), context.catalogue.vectors.copy(), context.catalogue.counts.copy()
    reward.marginal(slates[:, :3], slates, context)
    reward(slates, context)
    np.testing.assert_array_equal(slates, before[0])
    np.testing.assert_array_equal(context.catalogue.vectors, before[1])
    np.testing.assert_array_equal(context.catalogue.counts, before[2])


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_a_whole_list(name: str) -> None:
    slates, context = world()
    total = resolve(name)(slates, context).sum(axis=1)
    low, high = BOUNDS[name]
    assert total.min() >= low - 1e-6
    assert total.max() <= high + 1e-6
    assert np.ptp(total) > 0, "these lists do not tell good from bad"


@pytest.mark.parametrize("name", ORDERED)
def test_permutation(name: str) -> None:
    slates, context = world()
    slates[2, 0] = 3  # a hit on the target of its history at the first position
    reward = resolve(name)
    forward, backward = (
        reward(slates, context).sum(axis=1),
        reward(slates[:, ::-1], context).sum(axis=1),
    )
    assert np.allclose(forward, backward, atol=1e-6) is not ORDERED[name]


def test_weighted_sum_is_linear() -> None:
    slates, context = world()
    terms = [resolve(name) for name in ("diversity", "novelty", "popularity")]
    total = WeightedSum(tuple(zip(terms, (0.5, -2.0, 3.0), strict=True)))
    parts = {term.name: term(slates, context) for term, _ in total.terms}
    np.testing.assert_allclose(
        total(slates, context),
        0.5 * parts["diversity"] - 2 * parts["novelty"] + 3 * parts["popularity"],
    )
    doubled = WeightedSum(tuple(zip(terms, (1.0, -4.0, 6.0), strict=True)))
    np.testing.assert_allclose(doubled(slates, context), 2 * total(slates, context))
    assert (
        WeightedSum(((terms[0], 0.0),))(slates, context).tolist() == np.zeros((LISTS, K)).tolist()
    )
    assert total.needs == frozenset()
    assert WeightedSum(((resolve("relevance"), 1.0), (resolve("ndcg"), 1.0))).needs == {
        "probabilities",
        "targets",
    }


def test_bounds_and_order_are_stated_for_every_built_in_reward() -> None:
    built_in = {entry.name for entry in available() if entry.origin == "built-in"}
    assert built_in == set(BOUNDS) == set(ORDERED)
