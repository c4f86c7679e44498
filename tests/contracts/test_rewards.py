"""What every named reward must keep, whatever it rewards."""

import numpy as np
import pytest

from genrec.rewards import Reward, WeightedSum, available, resolve, telescoped, terminal
from genrec.testing import REWARD_CHECKS, example_lists

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
    "genre_calibration": (np.log(0.01), 0),
    "serendipity": (0, 1),
}
# Whether the sum depends on the order of the list.
ORDERED = {
    "ndcg": True,
    "relevance": True,
    "diversity": False,
    "novelty": False,
    "popularity": False,
    "genre_calibration": False,
    "serendipity": True,
}


@pytest.mark.parametrize("check", REWARD_CHECKS)
@every_reward
def test_the_contract(reward: Reward, check: str) -> None:
    slates, context = example_lists()
    REWARD_CHECKS[check](reward, slates, context)


@every_reward
def test_gains_are_floating_point_numbers(reward: Reward) -> None:
    slates, context = example_lists()
    assert reward(slates, context).dtype.kind == "f"
    candidates = np.tile(np.arange(1, 31), (len(slates), 1))
    assert reward.marginal(slates[:, :2], candidates, context).shape == (len(slates), 30)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_a_whole_list(name: str) -> None:
    slates, context = example_lists()
    total = resolve(name)(slates, context).sum(axis=1)
    low, high = BOUNDS[name]
    assert total.min() >= low - 1e-6
    assert total.max() <= high + 1e-6
    assert np.ptp(total) > 0, "these lists do not tell good from bad"


@pytest.mark.parametrize("name", ORDERED)
def test_permutation(name: str) -> None:
    slates, context = example_lists()
    slates[2, 0] = 3  # a hit on the target of its history at the first position
    reward = resolve(name)
    forward, backward = (
        reward(slates, context).sum(axis=1),
        reward(slates[:, ::-1], context).sum(axis=1),
    )
    assert np.allclose(forward, backward, atol=1e-6) is not ORDERED[name]


def test_weighted_sum_is_linear() -> None:
    slates, context = example_lists()
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
        WeightedSum(((terms[0], 0.0),))(slates, context).tolist() == np.zeros(slates.shape).tolist()
    )
    assert total.needs == frozenset()
    assert WeightedSum(((resolve("relevance"), 1.0), (resolve("ndcg"), 1.0))).needs == {
        "probabilities",
        "targets",
    }


def test_bounds_and_order_are_stated_for_every_built_in_reward() -> None:
    built_in = {entry.name for entry in available() if entry.origin == "built-in"}
    assert built_in == set(BOUNDS) == set(ORDERED)
