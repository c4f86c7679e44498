"""MaskablePPO of stable-baselines3's contrib package, around the same GPTRec and the same
environment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from genrec.agents.gptrec.model import GPTRec
from genrec.agents.keeper import Keeper
from genrec.agents.ppo import Actor
from genrec.agents.sb3.policy import GPTRecPolicy, ListRolloutBuffer
from genrec.agents.sb3.vec_env import ListVecEnv
from genrec.config.errors import DivergenceError, GenrecError
from genrec.config.reading import AlignSettings
from genrec.training.interruption import interruptible
from genrec.training.logger import Logbook


def require_expressible(settings: AlignSettings) -> None:
    """Raise GenrecError for a KL penalty or target, which stable-baselines3 does not know."""
    if settings.kl > 0:
        raise GenrecError(
            f"align.kl is {settings.kl}, but the loss of stable-baselines3 has no KL penalty"
            " towards the student:"
            " set align.kl=0, or use --agent ppo"
        )
    if settings.kl_target:
        raise GenrecError(
            f"align.kl_target is {settings.kl_target:g}, but stable-baselines3 has no KL penalty to"
            " steer: set"
            " align.kl_target=null, or use --agent ppo"
        )


def maskable_ppo(
    policy: GPTRec,
    env: ListVecEnv,
    settings: AlignSettings,
    k: int,
    seed: int = 0,
    folder: Path | None = None,
) -> MaskablePPO:
    """stable-baselines3's algorithm, ready for ``learn`` with its callbacks, logger and progress
    bar.

    The settings say: ``epochs`` passes over a rollout of one list in every sub-environment, in
    ``minibatches`` parts; ``clip``, ``entropy``, ``discount`` and ``gae_lambda``; the learning rate
    of update u of U falls to 5 % as lr·(1 − 0.95·u/(U−1)). The advantage is always GAE with a
    critic, standardised within a minibatch. What is not read: ``baseline``, and ``bf16``, as
    probabilities of two different passes are compared.

    Args:
        policy: trained in place.
        env: n = histories · group_size lists.
        settings: of PPO.
        k: list length, the steps of a rollout.
        seed: of the critic's start and of the environment.
        folder: receives TensorBoard's scalars.

    Raises:
        GenrecError: for a KL penalty, which this algorithm's loss does not have.
    """
    require_expressible(settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the critic's start
        actor = Actor(policy)
    env.seed(seed)
    steps = env.num_envs * k
    return MaskablePPO(
        GPTRecPolicy,
        env,
        learning_rate=lambda left: _learning_rate(settings, left),
        n_steps=k,
        batch_size=max(2, -(-steps // settings.minibatches)),
        n_epochs=settings.epochs,
        gamma=settings.discount,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        ent_coef=settings.entropy,
        max_grad_norm=1.0,
        rollout_buffer_class=ListRolloutBuffer,
        tensorboard_log=str(folder / "tensorboard") if folder else None,
        policy_kwargs={"actor": actor},
        device=policy.device,
    )


def _learning_rate(settings: AlignSettings, left: float) -> float:
    """Of an update, from the share of training that is left once its lists are written."""
    update = max(0.0, (1 - left) * settings.updates - 1)
    return settings.learning_rate * (1 - 0.95 * update / max(1, settings.updates - 1))


def train(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    validate: Callable[[GPTRec], Mapping[str, float]],
    settings: AlignSettings,
    k: int,
    seed: int = 0,
    folder: Path | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """Fine-tune a policy with MaskablePPO for what the environment pays; see ``ppo.train``, which
    this stands in for.

    Lists are written for the same histories in the same order, weights are validated and kept by
    the same rule, and a checkpoint takes a training on to the same end.

    Args:
        policy: trained in place; starts as the student.
        env: list-generation vector environment; see ``ListVecEnv``.
        validate: measures the greedy policy; its "objective" chooses the weights to keep.
        settings: of PPO; see ``maskable_ppo``.
        k: list length.
        seed: of everything random.
        folder: receives metrics and a checkpoint; training goes on from a checkpoint found there.
        quiet: no progress bar.

    Returns:
        The validation of the kept weights and the update they come from.

    Raises:
        GenrecError: for a KL penalty.
        DivergenceError: when the loss is no longer finite.
        Interrupted: after Ctrl-C, once the checkpoint is saved.
        RewardError: when a reward raises or gives something else than finite gains; the last
            checkpoint stays.
    """
    lists = ListVecEnv(env, settings.updates)
    model = maskable_ppo(policy, lists, settings, k, seed, folder)
    with (
        torch.random.fork_rng(),
        Logbook(folder, "align", quiet) as log,
        interruptible() as stop,
    ):
        if settings.baseline == "group":
            log.say(
                "sb3: lists are compared with a learnt value (GAE); align.baseline=group is for"
                " --agent ppo"
            )
        actor = model.policy.actor
        assert isinstance(actor, Actor)
        keeper = Keeper(policy, actor, model.policy.optimizer, validate, settings, log, stop)
        lists.episode = keeper.update
        steps = lists.num_envs * k
        model.num_timesteps = keeper.update * steps
        with log.progress(settings.updates, keeper.update) as keeper.bar:
            left = settings.updates - keeper.update
            model.learn(left * steps, Watch(keeper, k, seed), reset_num_timesteps=False)
    return keeper.give()


class Watch(BaseCallback):
    """Tells the keeper of every update, and the log what stable-baselines3 measured in it.

    Each rollout begins with its own seed, so that a training that goes on from a checkpoint draws
    what it would have drawn.

    Args:
        keeper: of the training.
        k: list length.
        seed: of the training.
    """

    def __init__(self, keeper: Keeper, k: int, seed: int) -> None:
        super().__init__()
        self.keeper, self.k, self.seed = keeper, k, seed

    def _on_rollout_start(self) -> None:
        update = self._after_update()
        torch.manual_seed(self.seed * 1_000_003 + update)

    def _on_training_end(self) -> None:
        self._after_update()

    def _on_step(self) -> bool:
        return True

    def _after_update(self) -> int:
        update = self.model.num_timesteps // (self.training_env.num_envs * self.k)
        if measures := dict(
            self.logger.name_to_value
        ):  # what stable-baselines3 measured in the update
            self._record(update, measures)
        self.keeper.arrive(update)
        return update

    def _record(self, update: int, measures: Mapping[str, float]) -> None:
        loss = measures["train/loss"]
        if not np.isfinite(loss):
            raise DivergenceError(f"the loss is {loss} in update {update}: lower the learning rate")
        assert isinstance(self.training_env, ListVecEnv)
        reward = self.training_env.mean_return
        values = {
            "reward": reward,
            "entropy": -measures["train/entropy_loss"],
            **self.training_env.terms,
            "clip fraction": measures["train/clip_fraction"],
            "kl from last policy": measures["train/approx_kl"],
            "explained variance": measures["train/explained_variance"],
        }
        self.keeper.log.record(update, {name: float(value) for name, value in values.items()})
        self.keeper.show(update, reward)
