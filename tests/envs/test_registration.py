import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv

from genrec.envs import LIST_GENERATION, ListGenerationEnv, ListGenerationVectorEnv, register


def test_make(task):
    env = gymnasium.make("genrec/ListGeneration-v0", task=task, render_mode="ansi")
    assert isinstance(env.unwrapped, ListGenerationEnv)
    env.reset(seed=0, options={"case": 1})
    assert [env.step(item)[2] for item in (1, 2, 3)] == [False, False, True]
    assert "Film C" in env.render()
    assert env.get_wrapper_attr("action_masks")().sum() == 0


def test_make_vec(task):
    entry = {"num_envs": 8, "task": task, "group_size": 4}
    named = gymnasium.make_vec("genrec/ListGeneration-v0", vectorization_mode="vector_entry_point", **entry)
    default = gymnasium.make_vec("genrec/ListGeneration-v0", **entry)
    for envs in (named, default):
        assert isinstance(envs, ListGenerationVectorEnv)
        assert (envs.num_envs, envs.group_size, envs.task is task) == (8, 4, True)
        envs.reset(seed=0, options={"cases": [0, 2]})
        assert envs.step(np.array([2, 3, 4, 5, 1, 2, 3, 4]))[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_copies_of_the_single_environment_in_step(task):
    """Histories of different lengths must survive Gymnasium's own vectorisation."""
    envs = gymnasium.make_vec("genrec/ListGeneration-v0", num_envs=3, vectorization_mode="sync", task=task)
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
