"""Environments with drawn weights: every list earns with its own weights, and observes them."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from genrec.envs import ListGenerationEnv, ListGenerationVectorEnv, ListTask


@pytest.fixture
def ranged(task: ListTask) -> ListTask:
    """NDCG with weight 1 and diversity with a weight from 0 to 2."""
    return replace(task, ranges={"diversity": (0.0, 2.0)})


def test_every_list_earns_with_its_own_weight(ranged):
    """Lists b, c of case 0: target c at rank 2 earns .6309298, the distance of b and c 1/3."""
    env = ListGenerationVectorEnv(ranged, num_envs=4, group_size=2)
    options = {"cases": np.array([0, 0]), "weights": {"diversity": np.array([0.0, 1.5])}}
    observed, infos = env.reset(options=options)
    assert observed["weights"].tolist() == [[0], [0], [1.5], [1.5]]
    assert infos["reward_weights"]["ndcg"] == 1
    assert infos["reward_weights"]["diversity"].tolist() == [0, 1.5]
    assert env.step(np.array([2, 3, 2, 3]))[1].tolist() == [0, 1, 0, 1]
    observed, rewards, _, _, infos = env.step(np.array([3, 2, 3, 2]))
    assert rewards == pytest.approx([0.6309298, 0, 0.6309298 + 0.5, 0.5])
    assert infos["reward_terms"]["diversity"] == pytest.approx([1 / 3] * 4)
    assert observed["weights"].tolist() == [[0], [0], [1.5], [1.5]]


def test_weights_are_drawn_for_each_history_from_the_seed(ranged):
    env = ListGenerationVectorEnv(ranged, num_envs=60, group_size=3)
    first, infos = env.reset(seed=3)
    weights = infos["reward_weights"]["diversity"]
    assert weights.shape == (20,)
    assert len(np.unique(weights)) > 10
    assert 0 <= weights.min() <= weights.max() <= 2
    np.testing.assert_array_equal(first["weights"][:, 0], np.repeat(weights.astype(np.float32), 3))
    assert env.observation_space.contains(first)
    assert env.reset(seed=3)[1]["reward_weights"]["diversity"].tolist() == weights.tolist()
    assert env.reset()[1]["reward_weights"]["diversity"].tolist() != weights.tolist()


def test_cases_are_the_same_with_and_without_ranges(task, ranged):
    plain, drawn = (ListGenerationVectorEnv(each, num_envs=3) for each in (task, ranged))
    np.testing.assert_array_equal(plain.reset(seed=5)[1]["cases"], drawn.reset(seed=5)[1]["cases"])
    assert "weights" not in plain.reset(seed=5)[0]


def test_one_list(ranged):
    env = ListGenerationEnv(ranged)
    observed, info = env.reset(options={"case": 0, "weights": {"diversity": 1.5}})
    assert observed["weights"].tolist() == [1.5]
    assert info["reward_weights"] == {"ndcg": 1, "diversity": 1.5}
    env.step(2)
    assert env.step(3)[1] == pytest.approx(0.6309298 + 0.5)
    drawn = [env.reset(seed=seed)[1]["reward_weights"]["diversity"] for seed in range(30)]
    assert len(set(drawn)) > 15
    check_env(ListGenerationEnv(ranged), skip_render_check=True)


def test_weights_that_cannot_be_chosen_are_refused(task, ranged):
    env = ListGenerationVectorEnv(ranged, num_envs=2)
    for weights, message in (
        ({"diversity": 3}, "weight 3 of diversity is outside the trained range, 0 to 2"),
        ({"ndcg": 1}, "the weight of 'ndcg' cannot be chosen: the ranges are diversity=0:2"),
        (
            {"diversity": [1, 1, 1]},
            r"weights of diversity have shape \(3,\); give a number, or 2 of them",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            env.reset(options={"weights": weights})
    with pytest.raises(ValueError, match="range from 2 to 1: give two finite numbers"):
        replace(task, ranges={"diversity": (2.0, 1.0)})
    with pytest.raises(
        ValueError, match="ranges of novelty, but the reward has the terms ndcg, diversity"
    ):
        replace(task, ranges={"novelty": (0.0, 1.0)})


def test_after_weights_that_are_refused_no_list_can_continue(ranged):
    """The histories are new, the weights would be old."""
    for env, action in (
        (ListGenerationEnv(ranged), 2),
        (ListGenerationVectorEnv(ranged, num_envs=2), np.array([2, 2])),
    ):
        env.reset(seed=0)
        with pytest.raises(ValueError, match="outside the trained range"):
            env.reset(options={"weights": {"diversity": 3}})
        with pytest.raises(ResetNeeded, match="call reset"):
            env.step(action)
