"""MaskablePPO around GPTRec: learning, interruptions, and the tools of Stable-Baselines3."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback

from genrec.agents.gptrec.decoding import NextK, sample
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.sb3.policy import GPTRecPolicy
from genrec.agents.sb3.trainer import maskable_ppo, train
from genrec.agents.sb3.vec_env import ListVecEnv
from genrec.data import Sequences
from genrec.rewards import RewardError
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted

V, K, T, WANTED = 9, 3, 3, 7
# the last history is longer than what the policy reads: item 8 lies before its window
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [8, 1, 2, 3]])


def first_is_wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) * (np.arange(slates.shape[1]) == 0)


def objective(policy: GPTRec) -> dict[str, float]:
    slates = NextK(policy).recommend(HISTORIES, K)
    return {"objective": float(first_is_wanted(slates, None).sum(axis=1).mean())}


def policy_of(model: MaskablePPO) -> GPTRec:
    return model.policy.actor.policy


@pytest.fixture
def finished(config, tiny, environment):
    def train_once(
        directory: Path | None = None, seed: int = 3, after: Callable[[int], None] = lambda _: None
    ):
        policy, calls = tiny(), iter(range(1, 100))

        def validate(policy: GPTRec) -> dict[str, float]:
            after(next(calls))
            wanted = torch.full((len(HISTORIES), 1, 1), WANTED)
            return {"objective": float(policy.logp(HISTORIES, wanted).detach().exp().mean())}

        found = train(
            policy,
            environment(),
            validate=validate,
            config=config(updates=6, evaluate_every=2),
            k=K,
            seed=seed,
            directory=directory,
            quiet=True,
        )
        return policy, found

    return train_once


def same(one: GPTRec, other: GPTRec) -> bool:
    return all(
        torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items()
    )


def test_training_raises_the_reward_and_the_policy_is_a_gptrec(tmp_path, config, tiny, environment):
    policy = tiny()
    assert objective(policy)["objective"] < 0.5
    before = torch.random.get_rng_state()
    found = train(
        policy,
        environment(),
        validate=objective,
        config=config(),
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found["objective"] == objective(policy)["objective"] == 1
    policy.save_pretrained(tmp_path, [str(i) for i in range(1, V + 1)], "abc")
    again, _, _ = GPTRec.from_pretrained(tmp_path)
    assert (
        NextK(again).recommend(HISTORIES, K).tolist()
        == NextK(policy).recommend(HISTORIES, K).tolist()
    )
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/objective" in row] == [0, 5, 10, 15, 20]
    updates = [row for row in rows if "reward" in row]
    assert [row["step"] for row in updates] == list(range(1, 21))
    assert all(row["reward"] == pytest.approx(row["first_is_wanted"], abs=1e-6) for row in updates)
    assert {"entropy", "clip_fraction", "approx_kl", "explained_variance"} <= set(updates[0])
    assert updates[-1]["reward"] > updates[0]["reward"] + 0.3
    assert list((tmp_path / "tensorboard").glob("MaskablePPO_*/events*"))


def test_a_harmful_training_returns_the_untouched_policy(config, tiny, environment):
    policy, values = tiny(), iter([1.0, 0.5, 0.5, 0.5])
    found = train(
        policy,
        environment(),
        validate=lambda _: {"objective": next(values)},
        config=config(updates=6, evaluate_every=2),
        k=K,
        quiet=True,
    )
    assert found == {"update": 0, "objective": 1.0}
    assert same(policy, tiny())


def test_the_seed_decides_everything(finished):
    one, found = finished()
    torch.manual_seed(99)
    other, again = finished()
    assert found == again
    assert same(one, other)
    assert not same(one, finished(seed=4)[0])


def test_ctrl_c_and_the_same_again_is_as_if_nothing_had_happened(tmp_path, finished):
    whole, _ = finished()
    stop = CHECKPOINT
    with pytest.raises(
        Interrupted, match="stopped before update 3; the same command resumes from there"
    ):
        finished(
            tmp_path, after=lambda call: os.kill(os.getpid(), signal.SIGINT) if call == 2 else None
        )
    assert (tmp_path / stop).exists()
    calls = []
    resumed, _ = finished(tmp_path, after=calls.append)
    assert len(calls) == 2  # after updates 4 and 6; that after update 2 was saved
    assert same(resumed, whole)


def test_a_loss_that_is_no_number_says_what_to_do(config, tiny, environment):
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan in update 1: lower the learning rate"
    ):
        train(
            tiny(),
            environment(),
            validate=objective,
            config=config().model_copy(update={"learning_rate": 1e30}),
            k=K,
            quiet=True,
        )


def test_a_reward_that_breaks_stops_the_training_and_spares_the_checkpoint(
    tmp_path, config, tiny, environment
):
    calls = iter(range(1000))

    def fickle(slates, context):
        """Breaks in the third step of update 8: three calls an update."""
        return (
            np.full(slates.shape, np.nan)
            if next(calls) == 7 * K + 2
            else first_is_wanted(slates, context)
        )

    with pytest.raises(
        RewardError, match=r"update 8: reward 'fickle' is nan for item \d+ at position 3 of list 0"
    ):
        train(
            tiny(),
            environment(fickle),
            validate=objective,
            config=config(),
            k=K,
            seed=0,
            directory=tmp_path,
            quiet=True,
        )
    found = train(
        tiny(),
        environment(fickle),
        validate=objective,
        config=config(),
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    assert found == train(
        tiny(), environment(), validate=objective, config=config(), k=K, quiet=True
    )


def test_a_reward_sees_how_far_the_training_is(config, tiny, environment):
    seen = []

    def watching(slates, context):
        seen.append(context.progress)
        return first_is_wanted(slates, context)

    train(
        tiny(), environment(watching), validate=objective, config=config(updates=4), k=K, quiet=True
    )
    assert seen == [0.0] * K + [0.25] * K + [0.5] * K + [0.75] * K


def test_callbacks_logger_saving_and_evaluation_of_stable_baselines3(
    tmp_path, config, tiny, environment
):
    """A user's own callback, a checkpoint in SB3's format, and its evaluation, with masks that are
    ids."""

    class Counter(BaseCallback):
        def _on_step(self) -> bool:
            self.logger.record("mine/calls", self.n_calls)
            return self.n_calls < 2 * K  # stops the training in its second rollout

    lists = ListVecEnv(environment())
    model = maskable_ppo(tiny(), lists, config=config(), k=K)
    mine = Counter()
    model.learn(10 * 24 * K, callback=[mine, CheckpointCallback(K, str(tmp_path))])
    assert (mine.n_calls, model.num_timesteps) == (2 * K, 2 * 24 * K)
    assert len(model.ep_info_buffer) == 24
    loaded = MaskablePPO.load(sorted(tmp_path.glob("*.zip"))[0], env=lists)
    lists.seed(0)
    obs = lists.reset()
    masks = get_action_masks(lists)
    items, _ = model.predict(obs, deterministic=True, action_masks=masks)
    whole = lists._seen[::4]
    expected, _ = sample(
        policy_of(model),
        Sequences.from_lists([row[row > 0] for row in whole]),
        1,
        generator=None,
        group_size=4,
    )
    assert items.tolist() == expected.flatten().tolist()
    mean, _ = evaluate_policy(model, lists, n_eval_episodes=24, deterministic=True)
    assert mean == pytest.approx(objective(policy_of(model))["objective"])
    assert isinstance(loaded.policy, GPTRecPolicy)
    assert loaded.predict(obs, deterministic=True, action_masks=masks)[0].shape == (24,)


def test_lists_are_reported_as_a_monitor_would(environment):
    lists = ListVecEnv(environment())
    lists.reset()
    for t, item in enumerate((WANTED, 5, 6)):
        obs, rewards, dones, infos = lists.step(np.full(24, item))
        assert rewards.tolist() == [float(t == 0)] * 24
        assert dones.tolist() == [t == 2] * 24
    assert infos[5]["episode"] == {"r": 1.0, "l": K}
    assert infos[5]["terminal_observation"]["slate"].tolist() == [WANTED, 5, 6]
    assert not obs["slate"].any()
    assert (lists.mean_return, lists.terms) == (1.0, {"first_is_wanted": 1.0})
