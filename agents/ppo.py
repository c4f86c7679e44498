"""Proximal policy optimisation (PPO) over lists."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.advantages import gae, group_advantages, returns_to_go, scale_by_std
from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.head import Reference
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.rollout import Rollout, collect
from genrec.agents.trainer import PolicyValidation, Validate, policy_checkpointer, update_seed
from genrec.config.errors import DivergenceError
from genrec.rewards.check import locate_errors
from genrec.training.device import autocast, reproducible, with_precision
from genrec.training.interruption import interruptible
from genrec.training.logger import RunLogger
from genrec.training.schedule import linear_decay, set_learning_rate

MAX_GRADIENT_NORM = 1.0
VALUE_COEFFICIENT = 0.5  # weight of the critic's squared error
# Of the adaptive KL coefficient: the authors' values of its gain and of the largest error.
GAIN, LARGEST_ERROR = 0.1, 0.2


def clipped_loss(
    logp: torch.Tensor, logp_old: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """Clipped surrogate loss of PPO [Schulman et al. 2017, eq. 7].

    L = −mean min(ρ·A, clip(ρ, 1−ε, 1+ε)·A), with ρ = exp(logp − logp_old)

    Args:
        logp: (...) log-probabilities under the policy that is trained.
        logp_old: (...) log-probabilities under the policy that acted.
        advantages: (...) A.
        clip: ε.

    >>> logp_old, advantages = torch.tensor([0.0]), torch.tensor([2.0])
    >>> loss = clipped_loss(torch.log(torch.tensor([1.5])), logp_old, advantages, clip=0.2)
    >>> round(float(loss), 4)  # -1.2 * 2
    -2.4
    """
    ratio = torch.exp(logp - logp_old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def kl_estimate(logp: torch.Tensor, logp_other: torch.Tensor) -> torch.Tensor:
    """Estimate of KL(p ‖ q) from items drawn from p, never negative [Schulman 2020, k3].

    The mean of q/p − 1 − log(q/p).

    Args:
        logp: (...) log p of the drawn items.
        logp_other: (...) log q of the drawn items.

    >>> round(float(kl_estimate(torch.tensor([0.0]), torch.tensor([-1.0]))), 4)  # e^-1 - 1 + 1
    0.3679
    """
    log_ratio = logp_other - logp
    return (log_ratio.exp() - 1 - log_ratio).mean()


def adapt_kl_coefficient(coefficient: float, kl: float, target: float) -> float:
    """Coefficient of the KL penalty for the next update [Ziegler et al. 2019, sec. 2.2].

    β' = β·(1 + 0.1·clip(KL/target − 1, −0.2, 0.2)), a proportional controller in log space: β
    changes by at most 2 % per update.

    Args:
        coefficient: β > 0, of the update that was made.
        kl: divergence measured in that update, in nats per position.
        target: divergence that the penalty should maintain, in nats per position.

    >>> round(adapt_kl_coefficient(1.0, kl=0.11, target=0.1), 4)  # 10 % above the target: 1 % more
    1.01
    """
    error = min(max(kl / target - 1, -LARGEST_ERROR), LARGEST_ERROR)
    return coefficient * (1 + GAIN * error)


def distinct_share(slates: torch.Tensor) -> float:
    """Number of different lists in a group as a share of its G lists; the mean over groups.

    Args:
        slates: (H, G, K).

    # two different lists in the first group, one in the second
    >>> distinct_share(torch.tensor([[[1, 2], [2, 1]], [[3, 4], [3, 4]]]))
    0.75
    """
    groups = np.repeat(np.arange(len(slates)), slates.shape[1])
    lists = np.column_stack([groups, slates.flatten(0, 1).cpu().numpy()])
    return len(np.unique(lists, axis=0)) / len(lists)


@dataclass(frozen=True, eq=False)
class Minibatch:
    """Part of the histories of a rollout, with what the loss needs.

    Attributes:
        rollout: lists of these histories.
        logp_old: (H, G, K) log-probabilities under the policy that acted.
        advantages: (H, G, K), scaled by their standard deviation over the whole rollout.
        returns: (H, G, K) targets of the critic.
        reference: of the lists, under the policy that alignment starts from; None without a KL
            penalty.
    """

    rollout: Rollout
    logp_old: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    reference: Reference | None


@torch.no_grad()
def compute_advantages(
    actor: ActorCritic, reference: GPTRec | None, rollout: Rollout, config: PPOConfig
) -> tuple[list[Minibatch], float]:
    """Advantages of a rollout, split into minibatches of histories, and the policy's mean entropy.

    Args:
        actor: policy that acted, and critic.
        reference: policy of the KL penalty; None without one.
        rollout: lists and rewards.
        config: baseline, discount and number of minibatches.

    Returns:
        Minibatches, and the entropy in nats per position.
    """
    size = len(rollout.histories)
    count = min(config.minibatches, size)
    parts = [rollout.take(rows) for rows in np.array_split(np.arange(size), count)]
    # The same teacher-forced pass as in the update, minibatch by minibatch, so that the first
    # probability ratio of an update is exactly 1 in any precision.
    passes = [actor(part, with_entropy=True) for part in parts]
    values = torch.cat([v_t for _, v_t in passes])
    entropy = float(torch.cat([found.entropy for found, _ in passes]).mean())
    advantages, returns = _advantages_and_returns(rollout, values, config)
    minibatches, start = [], 0
    for part, (found, _) in zip(parts, passes, strict=True):
        rows = slice(start, start + len(part.histories))
        of_part = None
        if reference is not None:
            of_part = reference.as_reference(part.histories, part.slates, part.weights)
        minibatches.append(
            Minibatch(
                part,
                logp_old=found.logp,
                advantages=advantages[rows],
                returns=returns[rows],
                reference=of_part,
            )
        )
        start = rows.stop
    return minibatches, entropy


def _advantages_and_returns(
    rollout: Rollout, values: torch.Tensor, config: PPOConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled advantages, and the returns that the critic should predict, (H, G, K) each."""
    if config.baseline == "group":
        advantages = group_advantages(rollout.r_t, config.discount)
        returns = returns_to_go(rollout.r_t, config.discount)
    else:
        advantages = gae(
            rollout.r_t, values, discount=config.discount, gae_lambda=config.gae_lambda
        )
        returns = advantages + values
    if rollout.return_std is not None:
        # Histories have weights of their own: large ones must not dominate the gradient.
        advantages = advantages / rollout.return_std.clamp(min=1e-8)[:, None, None]
    return scale_by_std(advantages), returns


def loss_and_metrics(
    actor: ActorCritic, batch: Minibatch, config: PPOConfig, kl_coef: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """PPO's loss of a minibatch with entropy bonus, KL penalty and critic's error, and its metrics.

    Args:
        actor: policy and critic that are trained.
        batch: lists, advantages and returns.
        config: clip range, entropy weight and baseline.
        kl_coef: weight of KL(policy ‖ reference), summed exactly over all items at each position
            and averaged over positions. The gradient of an estimate from drawn items would be that
            of another divergence, since the draws do not depend on the parameters.
    """
    found, v_t = actor(batch.rollout, with_entropy=config.entropy > 0, reference=batch.reference)
    logp = found.logp
    loss = clipped_loss(logp, batch.logp_old, batch.advantages, config.clip)
    loss = loss - config.entropy * found.entropy.mean()
    with torch.no_grad():
        clipped = ((logp - batch.logp_old).exp() - 1).abs() > config.clip
        metrics = {
            "clip_fraction": float(clipped.float().mean()),
            "approx_kl": float(kl_estimate(batch.logp_old, logp)),
        }
    if config.baseline == "critic":
        error = v_t - batch.returns
        loss = loss + VALUE_COEFFICIENT * error.square().mean()
        variance = batch.returns.var(correction=0).clamp(min=1e-12)
        metrics["explained_variance"] = float(1 - error.detach().var(correction=0) / variance)
    if batch.reference is not None:
        ref_kl = found.kl.mean()
        loss = loss + kl_coef * ref_kl
        metrics |= {"ref_kl": float(ref_kl.detach()), "kl_coef": kl_coef}
    return loss, metrics


def ppo_update(
    actor: ActorCritic,
    optimizer: torch.optim.Optimizer,
    minibatches: list[Minibatch],
    *,
    config: PPOConfig,
    kl_coef: float,
) -> list[dict[str, float]]:
    """Take the gradient steps of an update: ``epochs`` passes over the minibatches of a rollout.

    Returns:
        Metrics of each step, before it is taken: the loss, the norm of the policy's gradient, and
        those of ``loss_and_metrics``.

    Raises:
        DivergenceError: if the loss is no longer finite, before the step is taken.
    """
    steps: list[dict[str, float]] = []
    for _ in range(config.epochs):
        for batch in minibatches:
            with autocast(actor.policy.device, config.bf16):
                loss, metrics = loss_and_metrics(actor, batch, config, kl_coef)
            if not torch.isfinite(loss):
                raise DivergenceError(f"the loss is {loss}")
            loss.backward()
            # Clipped apart: a large gradient of the critic must not shorten the policy's step.
            norm = nn.utils.clip_grad_norm_(actor.policy.parameters(), MAX_GRADIENT_NORM)
            nn.utils.clip_grad_norm_(actor.critic.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            steps.append({"loss": float(loss.detach()), **metrics, "grad_norm": float(norm)})
    return steps


def train(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    *,
    validate: Validate,
    config: PPOConfig,
    k: int,
    seed: int = 0,
    directory: Path | None = None,
    quiet: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, float]:
    """Fine-tune a policy with PPO for the rewards of the environment; see ``Trainer``.

    Each update writes lists for a few histories, computes an advantage for every position of every
    list, and takes a few clipped gradient steps.
    """
    config = with_precision(config, policy.device, policy.product_shape(config.histories))
    reference = copy.deepcopy(policy).eval().requires_grad_(False) if config.kl else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # initial weights of the critic
        actor = ActorCritic(policy)
    optimizer = torch.optim.AdamW(actor.parameters(), lr=config.learning_rate, weight_decay=0.0)
    log = RunLogger(directory, "align", quiet=quiet, trackers=trackers)
    with log, interruptible() as interruption, reproducible(policy.device):
        validation = PolicyValidation(
            policy,
            policy_checkpointer(directory, actor, optimizer),
            validate=validate,
            config=config,
            log=log,
            interruption=interruption,
            extra={"kl_coef": config.kl},
        )
        with log.progress(config.updates, validation.update) as validation.show:
            validation.step(validation.update)
            for update in range(validation.update, config.updates):
                learning_rate = linear_decay(config.learning_rate, update, last=config.updates - 1)
                set_learning_rate(optimizer, learning_rate)
                draw_seed = update_seed(seed, update)
                generator = torch.Generator(policy.device).manual_seed(draw_seed)
                kl_coef = validation.extra["kl_coef"]
                with autocast(policy.device, config.bf16), locate_errors(f"update {update + 1}"):
                    rollout = collect(
                        policy,
                        env,
                        k,
                        generator=generator,
                        seed=draw_seed,
                        progress=update / config.updates,
                    )
                    minibatches, entropy = compute_advantages(actor, reference, rollout, config)
                try:
                    steps = ppo_update(
                        actor, optimizer, minibatches, config=config, kl_coef=kl_coef
                    )
                except DivergenceError as error:
                    raise DivergenceError(
                        f"{error} in update {update + 1}: lower the learning rate"
                    ) from None
                metrics = {
                    name: float(np.mean([step[name] for step in steps])) for name in steps[0]
                }
                if config.kl_target:
                    validation.extra["kl_coef"] = adapt_kl_coefficient(
                        kl_coef, metrics["ref_kl"], config.kl_target
                    )
                reward = float(rollout.r_t.sum(dim=-1).mean())
                written = {
                    "reward": reward,
                    "entropy": entropy,
                    "distinct_lists": distinct_share(rollout.slates),
                }
                log.log_metrics(update + 1, {**written, **rollout.terms, **metrics})
                validation.show_update(update + 1, reward)
                validation.step(update + 1)
    return validation.restore_best()
