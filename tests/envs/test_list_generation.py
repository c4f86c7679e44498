from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from stable_baselines3.common.env_checker import check_env as check_env_stable_baselines

from genrec.config.errors import GenrecError
from genrec.data import Catalogue, Sequences
from genrec.envs import ListGenerationEnv, ListTask
from genrec.rewards import FunctionReward, Ndcg, Relevance, WeightedSum


def even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / 3


def test_gymnasium_checker(task):
    env = gymnasium.make("genrec/ListGeneration-v0", task=task)
    assert isinstance(env.unwrapped, ListGenerationEnv)
    check_env(env.unwrapped)  # warnings are errors


def test_stable_baselines_checker(task):
    check_env_stable_baselines(ListGenerationEnv(task, render_mode="ansi"), skip_render_check=False)


def test_spaces(task):
    env = ListGenerationEnv(task)
    assert env.observation_space["history"].shape == (2,)
    assert env.observation_space["slate"].shape == (3,)
    assert env.action_space.n == 7


def test_an_episode_by_hand(task):
    env = ListGenerationEnv(task)
    observation, info = env.reset(options={"case": 0})
    weights = {"ndcg": 1.0, "diversity": 0.5}
    assert info == {"case": 0, "history": (1,), "target": 3, "reward_weights": weights}
    assert observation["history"].tolist() == [0, 1]
    assert observation["slate"].tolist() == [0, 0, 0]

    observation, reward, terminated, truncated, info = env.step(2)
    assert (reward, terminated, truncated) == (0, False, False)
    assert info == {"case": 0, "reward_terms": {"ndcg": 0, "diversity": 0}, "invalid_action": False}
    assert observation["slate"].tolist() == [2, 0, 0]

    # b and c share no genre: 2/(3·2) · 1 = 1/3, weighted 1/2; the target at rank 2 earns 1/log2(3)
    observation, reward, terminated, truncated, info = env.step(3)
    assert info["reward_terms"]["ndcg"] == pytest.approx(0.6309298)
    assert info["reward_terms"]["diversity"] == pytest.approx(1 / 3)
    assert (reward, terminated) == (pytest.approx(0.6309298 + 1 / 6), False)

    # d is like c and unlike b: again 1/3
    observation, reward, terminated, truncated, info = env.step(4)
    assert info["reward_terms"] == {"ndcg": 0, "diversity": pytest.approx(1 / 3)}
    assert (reward, terminated, truncated) == (pytest.approx(1 / 6), True, False)
    assert observation["slate"].tolist() == [2, 3, 4]
    assert observation["history"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("slate", "value"), [([2, 3, 4], 0.6309298 + 1 / 3), ([3, 2, 6], 1.5), ([2, 4, 3], 5 / 6)]
)
def test_rewards_sum_to_the_metric_of_the_list(task, slate, value):
    env = ListGenerationEnv(task)
    env.reset(options={"case": 0})
    assert sum(env.step(item)[1] for item in slate) == pytest.approx(value)


def test_mask_holds_the_whole_history_and_the_placed_items(task):
    env = ListGenerationEnv(task)
    observation, info = env.reset(options={"case": 1})
    assert info["history"] == (4, 6, 5, 6)
    assert observation["history"].tolist() == [5, 6]
    # 4 is in the history, though not observed
    assert np.flatnonzero(env.action_masks()).tolist() == [1, 2, 3]
    env.step(2)
    assert np.flatnonzero(env.action_masks()).tolist() == [1, 3]
    env.action_masks()[:] = True
    assert np.flatnonzero(env.action_masks()).tolist() == [1, 3]
    env.reset(options={"case": 2})
    assert np.flatnonzero(env.action_masks()).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("action", [0, 4, 6, 2])
def test_a_masked_action_ends_the_episode(task, action):
    env = ListGenerationEnv(task)
    env.reset(options={"case": 1})
    env.step(2)
    observation, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated) == (0, True, False)
    assert info == {"case": 1, "reward_terms": {"ndcg": 0, "diversity": 0}, "invalid_action": True}
    assert observation["slate"].tolist() == [2, 0, 0]
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(1)


@pytest.mark.parametrize("action", [7, -1, 1.5])
def test_an_action_that_is_no_index_raises(task, action):
    env = ListGenerationEnv(task)
    env.reset()
    with pytest.raises(ValueError, match=r"not an item index; give an integer in 0\.\.6"):
        env.step(action)


def test_order_of_calls(task):
    env = ListGenerationEnv(task, render_mode="ansi")
    for call in (lambda: env.step(1), env.action_masks, env.render):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    env.reset(options={"case": 1})
    for item in (3, 2, 1):
        env.step(item)
    with pytest.raises(ResetNeeded, match="complete"):
        env.step(1)
    env.reset(options={"case": 1})
    assert env.step(1)[1] == 1  # the target on top; nothing is left of the list before


def test_reset_options(task):
    env = ListGenerationEnv(task)
    for case in (3, -1):
        with pytest.raises(
            ValueError, match=rf"case {case} does not exist; the task has cases 0\.\.2"
        ):
            env.reset(options={"case": case})
    with pytest.raises(ValueError, match="cases; choose 'case', 'progress' or 'weights'"):
        env.reset(options={"cases": [1]})


def test_every_case_is_drawn(task):
    env = ListGenerationEnv(task)
    env.reset(seed=0)
    assert {env.reset()[1]["case"] for _ in range(50)} == {0, 1, 2}


def test_a_case_with_too_few_items_raises_at_its_start(task):
    env = ListGenerationEnv(replace(task, k=4))
    env.reset(options={"case": 0})
    with pytest.raises(ValueError, match="case 1 has 3 unseen items of 6, too few for a list of 4"):
        env.reset(options={"case": 1})


def rollout(task: ListTask, seed: int) -> list:
    env = ListGenerationEnv(task)
    seen = [env.reset(seed=seed)]
    rng = np.random.default_rng(seed)
    for _ in range(3 * task.k):
        seen.append(env.step(rng.choice(np.flatnonzero(env.action_masks()))))
        if seen[-1][2]:
            seen.append(env.reset())
    return seen


def test_twin_rollouts_are_equal(wide_task):
    first, second = rollout(wide_task, 3), rollout(wide_task, 3)
    assert data_equivalence(first, second, exact=True)
    assert not data_equivalence(first, rollout(wide_task, 4), exact=True)


def test_probabilities_are_computed_once_per_episode_and_only_if_needed(task):
    asked = []

    def probabilities(histories: Sequences) -> np.ndarray:
        asked.append(histories[0].tolist())
        return np.array([[0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.1]])

    env = ListGenerationEnv(
        replace(task, reward=WeightedSum(((Relevance(), 1.0),)), probabilities=probabilities)
    )
    env.reset(options={"case": 1})
    # 0.3, 0.2 / log2(3), 0.1 / 2
    assert [round(env.step(item)[1], 5) for item in (3, 2, 1)] == [0.3, 0.12619, 0.05]
    assert asked == [[4, 6, 5, 6]]
    ListGenerationEnv(replace(task, probabilities=probabilities)).reset()
    assert len(asked) == 1


def test_probabilities_of_the_wrong_shape_raise(task):
    env = ListGenerationEnv(
        replace(
            task, reward=WeightedSum(((Relevance(), 1.0),)), probabilities=lambda h: np.ones((1, 6))
        )
    )
    with pytest.raises(ValueError, match=r"shape \(1, 6\); 1 histories need \(1, 7\)"):
        env.reset()


def test_a_gain_that_is_not_finite_raises(task):
    broken = FunctionReward(lambda slates, context: np.full(slates.shape, np.nan), "broken")
    env = ListGenerationEnv(replace(task, reward=WeightedSum(((broken, 1.0),))))
    env.reset(options={"case": 0})
    with pytest.raises(ValueError, match="reward 'broken' is nan for item 2 at position 1"):
        env.step(2)


def test_render(task):
    env = ListGenerationEnv(task, render_mode="ansi")
    env.reset(options={"case": 0})
    env.step(2)
    env.step(3)
    assert env.render().splitlines() == [
        "case 0: the last 1 of 1 items, newest last",
        "      Film A",
        "list: 2 of 3 items, gain +0.7976",
        "   1. Film B  +0.0000",
        "   2. Film C  +0.7976",
    ]
    assert ListGenerationEnv(task).render() is None
    with pytest.raises(ValueError, match="'human'"):
        ListGenerationEnv(task, render_mode="human")


class TestListTask:
    def test_sizes(self, task: ListTask):
        for wrong, message in (
            ({"targets": np.array([1, 2])}, "3 histories and targets of shape"),
            ({"histories": Sequences.from_lists([]), "targets": np.empty(0, int)}, "0 histories"),
            ({"k": 7}, r"k 7 must be in 1\.\.6"),
            ({"k": 0}, "k 0"),
            ({"max_length": 0}, "max_length 0"),
            (
                {"histories": Sequences.from_lists([[7], [1], [2]])},
                r"histories hold indices 1\.\.7",
            ),
            (
                {"histories": Sequences.from_lists([[0], [1], [2]])},
                r"histories hold indices 0\.\.2",
            ),
            ({"targets": np.array([1, 2, 7])}, r"targets hold indices 1\.\.7"),
        ):
            with pytest.raises(ValueError, match=message):
                replace(task, **wrong)

    def test_facts_that_the_reward_needs(self, task: ListTask, catalogue: Catalogue):
        with pytest.raises(ValueError, match="needs targets, but the target of every case is 0"):
            replace(task, targets=np.zeros(3, int))
        with pytest.raises(ValueError, match=r"needs P\(item \| history\)"):
            replace(task, reward=WeightedSum(((Relevance(), 1.0),)))
        unknown = FunctionReward(lambda slates, context: np.zeros(slates.shape), "nothing")
        replace(task, reward=WeightedSum(((unknown, 1.0),)), targets=np.zeros(3, int))

    @pytest.mark.parametrize(
        ("reward", "terms"),
        [
            ("diversity=0.3", [("diversity", 0.3)]),
            ("diversity", [("diversity", 1.0)]),
            (Ndcg(), [("ndcg", 1.0)]),
            (even, [("even", 1.0)]),
            (["ndcg", "diversity=0.3"], [("ndcg", 1.0), ("diversity", 0.3)]),
            ([Ndcg(), even, ("diversity", 2.0)], [("ndcg", 1), ("even", 1), ("diversity", 2)]),
            (WeightedSum(((Ndcg(), 0.5),)), [("ndcg", 0.5)]),
        ],
    )
    def test_a_reward_may_be_given_in_any_form(self, task: ListTask, reward, terms):
        found = replace(task, reward=reward)
        assert isinstance(found.reward, WeightedSum)
        assert found.weighted_sum is found.reward
        assert [(term.name, weight) for term, weight in found.weighted_sum.terms] == terms

    def test_every_form_earns_the_same(self, task: ListTask):
        """Items 2 and 4 are even and gain 1/3 each, which the weight doubles."""
        for reward in ([(even, 2.0)], WeightedSum(((FunctionReward(even, "even"), 2.0),))):
            env = ListGenerationEnv(replace(task, reward=reward))
            env.reset(options={"case": 0})
            assert [env.step(item)[1] for item in (2, 3, 4)] == pytest.approx([2 / 3, 0, 2 / 3])

    def test_a_reward_is_read_once(self, task: ListTask, tmp_path):
        """A file is not executed again for another task with the same reward."""
        file = tmp_path / "count.py"
        file.write_text(
            "from pathlib import Path\n"
            "log = Path(__file__).with_suffix('.log')\n"
            "log.write_text((log.read_text() if log.exists() else '') + 'x')\n"
            "def odd(slates, context):\n"
            "    return slates % 2 / context.k\n"
        )
        first = replace(task, reward=f"{file}:odd=0.5")
        again = replace(first, k=2)
        assert again.reward is first.reward
        assert file.with_suffix(".log").read_text() == "x"

    def test_rewards_that_cannot_be_read(self, task: ListTask):
        for wrong, message in (
            ("diversty", "unknown reward 'diversty'"),
            ("diversity=much", "is not a number"),
            ([], "no reward"),
            (["ndcg", "ndcg=2"], "share a name"),
        ):
            with pytest.raises(GenrecError, match=message):
                replace(task, reward=wrong)

    def test_terms_of_one_name(self, task: ListTask):
        with pytest.raises(ValueError, match="more than one reward term is called ndcg"):
            replace(task, reward=WeightedSum(((Ndcg(), 1.0), (Ndcg(), 0.5))))


def test_after_a_reset_that_fails_no_list_can_continue(task):
    """The case and the weights are new, the history and the list would be old."""
    env = ListGenerationEnv(replace(task, k=4))
    env.reset(options={"case": 0})
    with pytest.raises(ValueError, match="too few for a list of 4"):
        env.reset(options={"case": 1})
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(2)
