from dataclasses import replace

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from genrec.data import Sequences
from genrec.envs import ListGenerationEnv, ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, Relevance, WeightedSum


def random_actions(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(masks, rng.random(masks.shape), -1).argmax(axis=1)


def test_two_lists_of_one_history_by_hand(task):
    envs = ListGenerationVectorEnv(task, num_envs=4, group_size=2)
    observations, infos = envs.reset(options={"cases": [0, 2]})
    assert infos["cases"].tolist() == [0, 2]
    assert infos["targets"].tolist() == [3, 0]
    assert infos["reward_weights"] == {"ndcg": 1, "diversity": 0.5}
    assert [infos["histories"][i].tolist() for i in range(2)] == [[1], []]
    assert observations["history"].tolist() == [[0, 1], [0, 1], [0, 0], [0, 0]]

    observations, rewards, terminated, truncated, infos = envs.step(np.array([2, 3, 1, 3]))
    assert rewards.tolist() == [0, 1, 0, 0]  # the target on top, in the second list alone
    assert rewards.dtype == np.float64
    assert observations["slate"].tolist() == [[2, 0, 0], [3, 0, 0], [1, 0, 0], [3, 0, 0]]
    assert not terminated.any()

    # pairs (b, c), (c, b), (a, f) have distance 1, (c, d) 0; a distance earns 1/3, weighted 1/2
    observations, rewards, terminated, truncated, infos = envs.step(np.array([3, 2, 6, 4]))
    assert infos["reward_terms"]["ndcg"] == pytest.approx([0.6309298, 0, 0, 0])
    assert infos["reward_terms"]["diversity"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert rewards == pytest.approx([0.6309298 + 1 / 6, 1 / 6, 1 / 6, 0])

    observations, rewards, terminated, truncated, infos = envs.step(np.array([4, 6, 2, 1]))
    assert rewards == pytest.approx([1 / 6, 1 / 3, 1 / 6, 1 / 3])
    assert terminated.tolist() == [True] * 4
    assert not truncated.any()
    assert observations["slate"].tolist() == [[2, 3, 4], [3, 2, 6], [1, 6, 2], [3, 4, 1]]


def test_cases_keep_their_order_and_their_targets(task):
    envs = ListGenerationVectorEnv(task, num_envs=3)
    _, infos = envs.reset(options={"cases": [1, 0, 1]})
    assert infos["targets"].tolist() == [1, 3, 1]
    assert [infos["histories"][i].tolist() for i in range(3)] == [[4, 6, 5, 6], [1], [4, 6, 5, 6]]
    assert envs.step(np.array([1, 3, 2]))[1].tolist() == [1, 1, 0]


def test_histories_may_all_be_empty(task):
    envs = ListGenerationVectorEnv(task, num_envs=2)
    envs.reset(options={"cases": [2, 2]})
    assert envs.action_masks().sum() == 12
    assert envs.step(np.array([6, 1]))[0]["slate"].tolist() == [[6, 0, 0], [1, 0, 0]]


def test_agrees_with_the_single_environment(wide_task: ListTask):
    group_size, rng = 3, np.random.default_rng(1)
    envs = ListGenerationVectorEnv(wide_task, num_envs=12, group_size=group_size)
    observations, infos = envs.reset(seed=0)
    singles = [ListGenerationEnv(wide_task) for _ in range(12)]
    for i, env in enumerate(singles):
        observation, info = env.reset(options={"case": infos["cases"][i // group_size]})
        assert data_equivalence(
            observation, {name: rows[i] for name, rows in observations.items()}, exact=True
        )
        assert info["history"] == tuple(infos["histories"][i // group_size].tolist())
        assert info["target"] == infos["targets"][i // group_size]
    for _ in range(wide_task.k):
        masks = envs.action_masks()
        actions = random_actions(masks, rng)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert len(set(rewards)) > 6
        for i, env in enumerate(singles):
            assert np.array_equal(env.action_masks(), masks[i])
            observation, reward, ended, cut, info = env.step(actions[i])
            assert data_equivalence(
                observation, {name: rows[i] for name, rows in observations.items()}, exact=True
            )
            assert reward == pytest.approx(rewards[i], abs=1e-6)
            assert (ended, cut) == (terminated[i], truncated[i])
            terms = {name: gains[i] for name, gains in infos["reward_terms"].items()}
            assert info["reward_terms"] == pytest.approx(terms, abs=1e-6)
            assert set(terms) == {"ndcg", "relevance", "diversity", "novelty", "popularity"}


def test_rewards_sum_to_the_metric_of_the_list(wide_task: ListTask):
    envs = ListGenerationVectorEnv(wide_task, num_envs=8, group_size=2)
    envs.reset(seed=5)
    rng, total = np.random.default_rng(5), np.zeros(8)
    for _ in range(wide_task.k):
        observations, rewards, *_ = envs.step(random_actions(envs.action_masks(), rng))
        total += rewards
    whole = wide_task.weighted_sum(observations["slate"], envs._context).sum(axis=1)
    assert total == pytest.approx(whole, abs=1e-6)


def test_spaces_hold_what_is_returned(wide_task: ListTask):
    envs = ListGenerationVectorEnv(wide_task, num_envs=4)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    actions = random_actions(envs.action_masks(), np.random.default_rng(0))
    assert actions in envs.action_space
    later, *_ = envs.step(actions)
    assert later in envs.observation_space
    assert not np.shares_memory(observations["slate"], later["slate"])
    assert not np.shares_memory(observations["history"], later["history"])


def test_mask_holds_the_whole_history_and_the_placed_items(task):
    envs = ListGenerationVectorEnv(task, num_envs=2, group_size=2)
    envs.reset(options={"cases": [1]})
    assert [np.flatnonzero(row).tolist() for row in envs.action_masks()] == [[1, 2, 3], [1, 2, 3]]
    envs.step(np.array([1, 3]))
    assert [np.flatnonzero(row).tolist() for row in envs.action_masks()] == [[2, 3], [1, 2]]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (0, r"not in 1\.\.6"),
        (7, r"not in 1\.\.6"),
        (-1, r"not in 1\.\.6"),
        (4, "in the history"),
        (2, "in the list"),
    ],
)
@pytest.mark.parametrize("masks_were_asked_for", [False, True])
def test_a_disallowed_action_raises_and_changes_nothing(task, item, reason, masks_were_asked_for):
    envs = ListGenerationVectorEnv(task, num_envs=2)
    envs.reset(options={"cases": [0, 1]})
    if masks_were_asked_for:
        envs.action_masks()
    envs.step(np.array([2, 2]))
    with pytest.raises(ValueError, match=rf"list 1 cannot take item {item}: it is {reason}"):
        envs.step(np.array([3, item]))
    observations, *_ = envs.step(np.array([3, 3]))
    assert observations["slate"].tolist() == [[2, 3, 0], [2, 3, 0]]


@pytest.mark.parametrize("actions", [np.array([2]), np.array([[2, 3]]), np.array([2.0, 3.0])])
def test_actions_of_the_wrong_shape_or_type_raise(task, actions):
    envs = ListGenerationVectorEnv(task, num_envs=2)
    envs.reset(options={"cases": [0, 1]})
    with pytest.raises(ValueError, match="give 2 integers"):
        envs.step(actions)


def test_masks_of_a_new_list_forget_the_list_before(task):
    envs = ListGenerationVectorEnv(task, num_envs=2)
    for cases, allowed in (
        ([0, 1], [[2, 3, 4, 5, 6], [1, 2, 3]]),
        ([1, 0], [[1, 2, 3], [2, 3, 4, 5, 6]]),
    ):
        envs.reset(options={"cases": cases})
        assert [np.flatnonzero(row).tolist() for row in envs.action_masks()] == allowed
        envs.action_masks()[:] = False
        assert [np.flatnonzero(row).tolist() for row in envs.action_masks()] == allowed
        envs.step(np.array([2, 2]))


def test_order_of_calls(task):
    envs = ListGenerationVectorEnv(task, num_envs=1)
    for call in (lambda: envs.step(np.array([1])), envs.action_masks):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    envs.reset(options={"cases": [1]})
    for item in (3, 2, 1):
        *_, terminated, _, _ = envs.step(np.array([item]))
    assert terminated.all()
    with pytest.raises(ResetNeeded, match="complete"):
        envs.step(np.array([1]))
    envs.reset(options={"reset_mask": terminated})


def test_cases_are_drawn_without_replacement_where_possible(task):
    envs = ListGenerationVectorEnv(task, num_envs=6, group_size=2)
    envs.reset(seed=0)
    drawn = [envs.reset()[1]["cases"].tolist() for _ in range(10)]
    assert all(sorted(cases) == [0, 1, 2] for cases in drawn)
    assert len({tuple(cases) for cases in drawn}) > 1
    more = ListGenerationVectorEnv(task, num_envs=8)
    assert set(more.reset(seed=0)[1]["cases"].tolist()) <= {0, 1, 2}


def test_reset_options(task):
    envs = ListGenerationVectorEnv(task, num_envs=4, group_size=2)
    for options, message in (
        ({"cases": [0]}, "4 lists in groups of 2 take 2 cases"),
        ({"cases": [0, 3]}, r"cases 0\.\.3; the task has cases 0\.\.2"),
        ({"cases": [-1, 0]}, r"cases -1\.\.0"),
        ({"case": 0}, "unknown reset option"),
        ({"reset_mask": np.array([True, True, True, False])}, "all lists start together"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.reset(options=options)


@pytest.mark.parametrize(("num_envs", "group_size"), [(5, 2), (0, 1), (4, 0)])
def test_sizes(task, num_envs, group_size):
    with pytest.raises(ValueError, match="positive multiple"):
        ListGenerationVectorEnv(task, num_envs, group_size)


def test_a_case_with_too_few_items_raises(catalogue):
    lists = [[1], [1, 2, 2, 3, 4]]
    reward = WeightedSum(
        ((FunctionReward(lambda slates, context: np.zeros(slates.shape), "nothing"), 1.0),)
    )
    task = ListTask(Sequences.from_lists(lists), np.array([0, 0]), catalogue, reward=reward, k=3)
    envs = ListGenerationVectorEnv(task, num_envs=1)
    envs.reset(options={"cases": [0]})
    with pytest.raises(ValueError, match="case 1 has 2 unseen items of 6"):
        envs.reset(options={"cases": [1]})


def test_twin_rollouts_are_equal(wide_task: ListTask):
    def rollout(seed: int) -> list:
        envs = ListGenerationVectorEnv(wide_task, num_envs=6, group_size=3)
        rng, seen = np.random.default_rng(seed), [envs.reset(seed=seed)[0]]
        for step in range(2 * wide_task.k):
            seen.append(envs.step(random_actions(envs.action_masks(), rng)))
            if step == wide_task.k - 1:
                seen.append(envs.reset()[1]["cases"])
        return seen

    assert data_equivalence(rollout(3), rollout(3), exact=True)
    assert not data_equivalence(rollout(3), rollout(4), exact=True)


def test_probabilities_are_computed_once_per_history(catalogue):
    asked = []

    def probabilities(histories: Sequences) -> np.ndarray:
        asked.append(len(histories))
        return np.array([[0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.1], [0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])

    reward = WeightedSum(((Relevance(), 2.0),))
    histories = Sequences.from_lists([[1], [2]])
    task = ListTask(
        histories,
        np.array([0, 0]),
        catalogue,
        reward=reward,
        k=2,
        probabilities=probabilities,
    )
    envs = ListGenerationVectorEnv(task, num_envs=4, group_size=2)
    envs.reset(options={"cases": [0, 1]})
    assert envs.step(np.array([3, 4, 1, 3]))[1] == pytest.approx([0.6, 0.4, 1.0, 0.2])
    assert envs.step(np.array([4, 5, 3, 1]))[1] == pytest.approx(
        [0.25237, 0.126186, 0.126186, 0.63093], abs=1e-5
    )
    assert asked == [2]


def test_after_a_reset_that_fails_no_list_can_continue(task):
    envs = ListGenerationVectorEnv(replace(task, k=4), num_envs=2)
    envs.reset(options={"cases": [0, 2]})
    with pytest.raises(ValueError, match="too few for a list of 4"):
        envs.reset(options={"cases": [0, 1]})
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(np.array([2, 3]))
