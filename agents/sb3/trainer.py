"""MaskablePPO of sb3-contrib around the same GPTRec and the same environment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.config import MaskablePPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.sb3.policy import GPTRecPolicy, ListRolloutBuffer
from genrec.agents.sb3.vec_env import ListVecEnv
from genrec.agents.trainer import PolicyValidation, Validate, policy_checkpointer, update_seed
from genrec.config.errors import DivergenceError
from genrec.training.device import reproducible
from genrec.training.interruption import interruptible
from genrec.training.logger import RunLogger
from genrec.training.schedule import linear_decay


def maskable_ppo(
    policy: GPTRec,
    env: ListVecEnv,
    *,
    config: MaskablePPOConfig,
    k: int,
    seed: int = 0,
    directory: Path | None = None,
) -> MaskablePPO:
    """MaskablePPO of sb3-contrib, ready for ``learn`` with its callbacks, logger and progress bar.

    A rollout is one list in every sub-environment; ``epochs`` passes over it are split into
    ``minibatches`` parts. The advantage is GAE with a critic, standardised within a minibatch. All
    computation is in float32, as the first probability ratio of an update compares two different
    passes.

    Args:
        policy: trained in place.
        env: n = histories · group_size lists.
        config: hyperparameters.
        k: list length, the number of steps of a rollout.
        seed: random seed of the critic's initial weights and of the environment.
        directory: receives the TensorBoard scalars of stable-baselines3.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # initial weights of the critic
        actor = ActorCritic(policy)
    env.seed(seed)
    steps = env.num_envs * k
    return MaskablePPO(
        GPTRecPolicy,
        env,
        learning_rate=lambda left: _learning_rate(config, left),
        n_steps=k,
        # Rounded up; of a single step the standard deviation of the advantages would be NaN.
        batch_size=max(2, -(-steps // config.minibatches)),
        n_epochs=config.epochs,
        gamma=config.discount,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=config.entropy,
        max_grad_norm=1.0,
        rollout_buffer_class=ListRolloutBuffer,
        tensorboard_log=str(directory / "tensorboard") if directory else None,
        policy_kwargs={"actor": actor},
        device=policy.device,
    )


def _learning_rate(config: MaskablePPOConfig, left: float) -> float:
    """Learning rate of an update, from the share of training left after its rollout."""
    update = max(0.0, (1 - left) * config.updates - 1)
    return linear_decay(config.learning_rate, update, last=config.updates - 1)


def train(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    *,
    validate: Validate,
    config: MaskablePPOConfig,
    k: int,
    seed: int = 0,
    directory: Path | None = None,
    quiet: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, float]:
    """Fine-tune a policy with MaskablePPO for the rewards of the environment; see ``Trainer``.

    Histories come in the same order as with ``ppo.train``, weights are validated and kept by the
    same rule, and a resumed training ends as an uninterrupted one.
    """
    vec_env = ListVecEnv(env, config.updates)
    model = maskable_ppo(policy, vec_env, config=config, k=k, seed=seed, directory=directory)
    actor = model.policy.actor
    assert isinstance(actor, ActorCritic)
    log = RunLogger(directory, "align", quiet=quiet, trackers=trackers)
    with torch.random.fork_rng(), log, interruptible() as interruption, reproducible(policy.device):
        validation = PolicyValidation(
            policy,
            policy_checkpointer(directory, actor, model.policy.optimizer),
            validate=validate,
            config=config,
            log=log,
            interruption=interruption,
        )
        steps = vec_env.num_envs * k
        vec_env.episode = validation.update
        model.num_timesteps = validation.update * steps
        with log.progress(config.updates, validation.update) as validation.show:
            left = config.updates - validation.update
            callback = CheckpointCallback(validation, k, seed)
            model.learn(left * steps, callback, reset_num_timesteps=False)
    return validation.restore_best()


class CheckpointCallback(BaseCallback):
    """Validates, saves and logs after every update of MaskablePPO.

    Each rollout gets a seed of its own, so that a resumed training draws what it would have drawn.

    Args:
        validation: validates the policy and saves checkpoints.
        k: list length.
        seed: random seed of the training.
    """

    def __init__(self, validation: PolicyValidation, k: int, seed: int) -> None:
        super().__init__()
        self.validation, self.k, self.seed = validation, k, seed

    def _on_rollout_start(self) -> None:
        torch.manual_seed(update_seed(self.seed, self._after_update()))

    def _on_training_end(self) -> None:
        self._after_update()

    def _on_step(self) -> bool:
        return True

    def _after_update(self) -> int:
        """Log and validate; the number of updates that are complete."""
        update = int(self.model.num_timesteps) // (self.training_env.num_envs * self.k)
        # Empty before the first update; stable-baselines3 clears it after each rollout.
        if measured := dict(self.logger.name_to_value):
            self._log(update, measured)
        self.validation.step(update)
        return update

    def _log(self, update: int, measured: Mapping[str, float]) -> None:
        loss = measured["train/loss"]
        if not np.isfinite(loss):
            raise DivergenceError(f"the loss is {loss} in update {update}: lower the learning rate")
        env = self.training_env
        assert isinstance(env, ListVecEnv)
        metrics = {
            "reward": env.mean_return,
            "entropy": -measured["train/entropy_loss"],
            **env.terms,
            "clip_fraction": measured["train/clip_fraction"],
            "approx_kl": measured["train/approx_kl"],
            "explained_variance": measured["train/explained_variance"],
        }
        self.validation.log.log_metrics(update, {name: float(metrics[name]) for name in metrics})
        self.validation.show_update(update, env.mean_return)
