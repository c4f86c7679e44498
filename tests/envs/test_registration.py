from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import SyncVectorEnv

from genrec.envs import LIST_GENERATION, ListGenerationEnv, ListGenerationVectorEnv, register
from genrec.rewards import FunctionReward, WeightedSum


def test_make(task):
    env = gymnasium.make("genrec/ListGeneration-v0", task=task, render_mode="ansi")
    assert isinstance(env.unwrapped, ListGenerationEnv)
    env.reset(seed=0, options={"case": 1})
    assert [env.step(item)[2] for item in (1, 2, 3)] == [False, False, True]
    assert "Film C" in env.render()
    assert env.get_wrapper_attr("action_masks")().sum() == 0


def test_make_vec(task):
    entry = {"num_envs": 8, "task": task, "group_size": 4}
    named = gymnasium.make_vec(
        "genrec/ListGeneration-v0", vectorization_mode="vector_entry_point", **entry
    )
    default = gymnasium.make_vec("genrec/ListGeneration-v0", **entry)
    for envs in (named, default):
        assert isinstance(envs, ListGenerationVectorEnv)
        assert (envs.num_envs, envs.group_size, envs.task is task) == (8, 4, True)
        envs.reset(seed=0, options={"cases": [0, 2]})
        assert envs.step(np.array([2, 3, 4, 5, 1, 2, 3, 4]))[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_copies_of_the_single_environment_in_lockstep(task):
    """Histories of different lengths must survive Gymnasium's own vectorisation."""
    envs = gymnasium.make_vec(
        "genrec/ListGeneration-v0", num_envs=3, vectorization_mode="sync", task=task
    )
    assert isinstance(envs, SyncVectorEnv)
    _, infos = envs.reset(seed=[1, 2, 8])
    histories = {0: (1,), 1: (4, 6, 5, 6), 2: ()}
    assert infos["history"].tolist() == [histories[case] for case in infos["case"]]
    assert len(set(infos["case"])) > 1
    *_, infos = envs.step(np.array([1, 2, 3]))
    assert infos["reward_terms"]["ndcg"].shape == (3,)


def test_registering_twice_changes_nothing():
    spec = gymnasium.spec(LIST_GENERATION)
    register()
    assert gymnasium.spec(LIST_GENERATION) is spec


def made(task, seed: int):
    """Single and vector environment made by name, and a generator for their actions."""
    single = gymnasium.make(LIST_GENERATION, task=task)
    many = gymnasium.make_vec(
        LIST_GENERATION,
        num_envs=6,
        vectorization_mode="vector_entry_point",
        task=task,
        group_size=2,
    )
    return single, many, np.random.default_rng(seed)


def test_twins_that_were_made_by_name(wide_task):
    def rollout(seed: int) -> list:
        single, many, rng = made(wide_task, seed)
        seen: list = [single.reset(seed=seed), many.reset(seed=seed)[0]]
        for _ in range(wide_task.k):
            seen.append(
                single.step(rng.choice(np.flatnonzero(single.get_wrapper_attr("action_masks")())))
            )
            masks = many.unwrapped.action_masks()
            seen.append(many.step(np.where(masks, rng.random(masks.shape), -1).argmax(axis=1)))
        return seen

    assert data_equivalence(rollout(3), rollout(3), exact=True)
    assert not data_equivalence(rollout(3), rollout(4), exact=True)


def test_list_for_list_they_agree(wide_task):
    """Every list of the vector environment, played again in the single one."""
    single, many, rng = made(wide_task, 0)
    _, infos = many.reset(seed=0)
    cases, masks, actions, rewards, slates = infos["cases"].repeat(2), [], [], [], []
    for _ in range(wide_task.k):
        masks.append(many.unwrapped.action_masks())
        actions.append(np.where(masks[-1], rng.random(masks[-1].shape), -1).argmax(axis=1))
        observations, reward, *_ = many.step(actions[-1])
        rewards.append(reward)
        slates.append(observations["slate"])
    assert len({tuple(row) for row in slates[-1].tolist()}) == 6
    for i in range(6):
        single.reset(options={"case": cases[i]})
        for t in range(wide_task.k):
            np.testing.assert_array_equal(single.get_wrapper_attr("action_masks")(), masks[t][i])
            observation, reward, ended, _, _ = single.step(actions[t][i])
            np.testing.assert_array_equal(observation["slate"], slates[t][i])
            assert reward == pytest.approx(rewards[t][i], abs=1e-6)
        assert ended


@pytest.mark.parametrize("kind", [ListGenerationEnv, ListGenerationVectorEnv])
def test_documented_under_gymnasiums_headings(kind):
    headings = [
        line.strip()[3:] for line in kind.__doc__.splitlines() if line.strip().startswith("## ")
    ]
    expected = [
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
    ]
    expected += ["Information", "Arguments", "References", "Version History"]
    assert headings == expected


@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_reward_may_change_during_a_training(task, num_envs):
    growing = FunctionReward(lambda slates, context: slates * context.progress, "growing")
    task = replace(task, reward=WeightedSum(((growing, 1.0),)))
    if num_envs:
        env, cases, item = (
            ListGenerationVectorEnv(task, num_envs),
            {"cases": [0, 0]},
            np.array([4, 4]),
        )
    else:
        env, cases, item = ListGenerationEnv(task), {"case": 0}, 4
    for options, expected in ((cases, 4.0), (cases | {"progress": 0.25}, 1.0), (cases, 4.0)):
        env.reset(options=options)
        assert np.all(env.step(item)[1] == expected)
    for wrong in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"progress .* is not a share"):
            env.reset(options=cases | {"progress": wrong})
