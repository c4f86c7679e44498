"""Proximal policy optimisation over lists."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from genrec.agents.advantages import gae, group_advantages, returns_to_go, scale_by_std
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.keeper import Keeper
from genrec.agents.rollout import Rollout, collect
from genrec.config.errors import DivergenceError, GenrecError
from genrec.config.reading import AlignSettings
from genrec.rewards.check import locate_errors
from genrec.training.device import autocast
from genrec.training.interruption import interruptible
from genrec.training.logger import Logbook


def clipped_loss(
    logp: torch.Tensor, logp_old: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """L = −mean min(ρ·A, clip(ρ, 1−ε, 1+ε)·A), ρ = exp(logp − logp_old) [Schulman et al. 2017, eq.
    7].

    Args:
        logp: (...) log-probabilities under the policy that is trained.
        logp_old: (...) under the policy that acted.
        advantages: (...).
        clip: ε.

    >>> at = torch.tensor([0.0])
    >>> round(float(clipped_loss(torch.log(torch.tensor([1.5])), at, torch.tensor([2.0]), clip=0.2)), 4)  # -1.2 * 2
    -2.4
    """
    ratio = torch.exp(logp - logp_old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def kl_estimate(logp: torch.Tensor, logp_other: torch.Tensor) -> torch.Tensor:
    """Estimate of KL(p ‖ q) from items drawn from p: mean of q/p − 1 − log(q/p), never negative
    [Schulman 2020, k3].

    Args:
        logp: (...) log p of the drawn items.
        logp_other: (...) log q of them.

    >>> round(float(kl_estimate(torch.tensor([0.0]), torch.tensor([-1.0]))), 4)  # e^-1 - 1 + 1
    0.3679
    """
    ratio = logp_other - logp
    return (ratio.exp() - 1 - ratio).mean()


GAIN, LARGEST_ERROR = 0.1, 0.2  # of the controller, the authors' values


def steered(weight: float, kl: float, target: float) -> float:
    """Weight of a KL penalty for the next update: w·(1 + 0.1·clip(KL/target − 1, −0.2, 0.2)).

    A proportional controller in log space [Ziegler et al. 2019, sec. 2.2]: at most 2 % an update,
    up or down.

    Args:
        weight: w > 0, of the update that was made.
        kl: measured in it, in nats a position.
        target: where the penalty should keep it, in nats a position.

    >>> round(steered(1.0, kl=0.11, target=0.1), 4)  # 10 % too far: 1 % more
    1.01
    """
    error = min(max(kl / target - 1, -LARGEST_ERROR), LARGEST_ERROR)
    return weight * (1 + GAIN * error)


def distinct_share(slates: torch.Tensor) -> float:
    """How many different lists there are in a group, as a share of its G; the mean over groups.

    Args:
        slates: (H, G, K).

    # both of the first two, one of the others
    >>> distinct_share(torch.tensor([[[1, 2], [2, 1]], [[3, 4], [3, 4]]]))
    0.75
    """
    groups = np.repeat(np.arange(len(slates)), slates.shape[1])
    lists = np.column_stack([groups, slates.flatten(0, 1).cpu().numpy()])
    return len(np.unique(lists, axis=0)) / len(lists)


class ValueHead(nn.Module):
    """v_t from the policy's state before item t. Its gradient stops there: a poor value cannot harm
    the policy."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, 1)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) to (...)."""
        return self.layers(states.detach().float()).squeeze(-1)  # type: ignore[no-any-return]


class Actor(nn.Module):
    """The policy that is trained and the critic beside it."""

    def __init__(self, policy: GPTRec) -> None:
        super().__init__()
        self.policy = policy
        self.critic = ValueHead(int(policy.lm.config.n_embd)).to(policy.device)

    def forward(
        self, rollout: Rollout, entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities, entropies (zeros unless wanted) and values along the lists of a
        rollout, (H, G, K)."""
        prefix = self.policy.encode(rollout.histories, rollout.weights)
        states = self.policy.slate_states(prefix, rollout.slates)
        slates = rollout.slates
        logp, surprise = self.policy.evaluate_items(
            prefix, states, slates, items=slates[..., None], with_entropy=entropy
        )
        return logp.squeeze(3), surprise, self.critic(states)


@dataclass(frozen=True, eq=False)
class Minibatch:
    """Some histories of a rollout and what the policy that acted thought of their lists.

    Attributes:
        rollout: the lists.
        logp_old: (H, G, K) log-probabilities under the policy that acted.
        advantages: (H, G, K), standardised over the whole rollout.
        returns: (H, G, K) what the critic should have said.
        logp_student: (H, G, K) under the student, where a KL penalty needs it.
    """

    rollout: Rollout
    logp_old: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    logp_student: torch.Tensor | None


@torch.no_grad()
def judge(
    actor: Actor, student: GPTRec | None, rollout: Rollout, settings: AlignSettings
) -> tuple[list[Minibatch], float]:
    """Advantages of a rollout, cut into minibatches of histories, and the policy's mean entropy a
    position.

    The log-probabilities of the policy that acted come from the same teacher-forced pass, minibatch
    by minibatch, as those of the update, so that the first ratio is exactly 1 in any precision.
    Where histories have weights of their own, each one's advantages are first divided by the spread
    that its weights make (``rollout.return_std``).
    """
    size = len(rollout.histories)
    parts = [
        rollout.take(rows)
        for rows in np.array_split(np.arange(size), min(settings.minibatches, size))
    ]
    passes = [actor(part, entropy=True) for part in parts]
    values = torch.cat([v_t for _, _, v_t in passes])
    if settings.baseline == "group":
        advantages = group_advantages(rollout.r_t, settings.discount)
        returns = returns_to_go(rollout.r_t, settings.discount)
    else:
        advantages = gae(
            rollout.r_t, values, discount=settings.discount, gae_lambda=settings.gae_lambda
        )
        returns = advantages + values
    if rollout.return_std is not None:
        advantages = advantages / rollout.return_std.clamp(min=1e-8)[:, None, None]
    advantages = scale_by_std(advantages)
    surprise = float(torch.cat([each for _, each, _ in passes]).mean())
    batches, start = [], 0
    for part, (logp, _, _) in zip(parts, passes, strict=True):
        rows = slice(start, start + len(part.histories))
        logp_student = student.logp(part.histories, part.slates, part.weights) if student else None
        batches.append(Minibatch(part, logp, advantages[rows], returns[rows], logp_student))
        start = rows.stop
    return batches, surprise


def loss_and_measures(
    actor: Actor, batch: Minibatch, settings: AlignSettings
) -> tuple[torch.Tensor, dict[str, float]]:
    """PPO's loss on a minibatch, with penalties and the critic's error, and what to log of it."""
    logp, surprise, v_t = actor(batch.rollout, entropy=settings.entropy > 0)
    loss = (
        clipped_loss(logp, batch.logp_old, batch.advantages, settings.clip)
        - settings.entropy * surprise.mean()
    )
    with torch.no_grad():
        measures = {
            "clip fraction": float(
                (((logp - batch.logp_old).exp() - 1).abs() > settings.clip).float().mean()
            ),
            "kl from last policy": float(kl_estimate(batch.logp_old, logp)),
        }
    if settings.baseline == "critic":
        error = v_t - batch.returns
        loss = loss + 0.5 * error.square().mean()
        spread = batch.returns.var(correction=0).clamp(min=1e-12)
        measures["explained variance"] = float(1 - error.detach().var(correction=0) / spread)
    if batch.logp_student is not None:
        from_student = kl_estimate(logp, batch.logp_student)
        loss = loss + settings.kl * from_student
        measures |= {"kl from student": float(from_student.detach()), "kl weight": settings.kl}
    return loss, measures


def improve(
    actor: Actor,
    optimizer: torch.optim.Optimizer,
    batches: list[Minibatch],
    settings: AlignSettings,
) -> list[dict[str, float]]:
    """The steps of an update: ``epochs`` passes over the minibatches of a rollout.

    Returns:
        For each step, before it is taken: the loss, what ``loss_and_measures`` measures, the norm
        of the gradient.

    Raises:
        DivergenceError: when the loss is no longer finite, before the step is taken.
    """
    steps: list[dict[str, float]] = []
    for _ in range(settings.epochs):
        for batch in batches:
            with autocast(actor.policy.device, settings.bf16):
                loss, measures = loss_and_measures(actor, batch, settings)
            if not torch.isfinite(loss):
                raise DivergenceError(f"the loss is {loss}")
            loss.backward()
            norm = nn.utils.clip_grad_norm_(actor.policy.parameters(), 1.0)
            nn.utils.clip_grad_norm_(
                actor.critic.parameters(), 1.0
            )  # must not shorten the policy's step
            steps.append({"loss": float(loss.detach()), **measures, "gradient norm": float(norm)})
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return steps


def require_expressible(settings: AlignSettings) -> None:
    """Raise GenrecError for settings that leave a list nothing to be compared with, or a KL target
    nothing to steer."""
    if settings.baseline == "group" and settings.group_size < 2:
        raise GenrecError(
            "the group baseline needs at least 2 lists a history: raise align.group_size, or use"
            " the critic"
            " (align.baseline=critic)"
        )
    if settings.kl_target and not settings.kl:
        raise GenrecError(
            f"align.kl_target is {settings.kl_target:g}, but there is no penalty to steer: set"
            " align.kl, where its"
            " weight starts, above 0, for instance to 0.1"
        )


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
    """Fine-tune a policy for what the environment pays and leave it with its best validated
    weights.

    Each update writes lists for a few histories, judges every position, and takes a few clipped
    steps. The greedy policy is validated now and then; the untouched policy is a candidate too, so
    a training that only harms returns it.

    Args:
        policy: trained in place; starts as the student.
        env: list-generation vector environment; see ``rollout.collect``.
        validate: measures the greedy policy; its "objective" chooses the weights to keep.
        settings: of PPO.
        k: list length.
        seed: of everything random.
        folder: receives metrics and a checkpoint; training goes on from a checkpoint found there.
        quiet: no progress bar.

    Returns:
        The validation of the kept weights and the update they come from.

    Raises:
        GenrecError: for a group baseline with groups of one list, or a KL target without a penalty.
        DivergenceError: when the loss is no longer finite.
        Interrupted: after Ctrl-C, once the checkpoint is saved.
        RewardError: when a reward raises or gives something else than finite gains; the last
            checkpoint stays.
    """
    require_expressible(settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the critic's start
        actor = Actor(policy)
    student = copy.deepcopy(policy).eval().requires_grad_(False) if settings.kl else None
    optimizer = torch.optim.AdamW(actor.parameters(), lr=settings.learning_rate, weight_decay=0.0)

    with Logbook(folder, "align", quiet) as log, interruptible() as stop:
        keeper = Keeper(
            policy,
            actor,
            optimizer,
            validate,
            settings,
            log,
            stop,
            progress={"kl weight": settings.kl},
        )
        with log.progress(settings.updates, keeper.update) as keeper.bar:
            keeper.arrive(keeper.update)
            for update in range(keeper.update, settings.updates):
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * (
                        1 - 0.95 * update / max(1, settings.updates - 1)
                    )
                generator = torch.Generator(policy.device).manual_seed(seed * 1_000_003 + update)
                with autocast(policy.device, settings.bf16), locate_errors(f"update {update + 1}"):
                    rollout = collect(
                        policy,
                        env,
                        k,
                        generator=generator,
                        seed=seed * 1_000_003 + update,
                        progress=update / settings.updates,
                    )
                    batches, surprise = judge(actor, student, rollout, settings)
                penalised = settings.model_copy(update={"kl": keeper.progress["kl weight"]})
                try:
                    steps = improve(actor, optimizer, batches, penalised)
                except FloatingPointError as error:
                    raise DivergenceError(
                        f"{error} in update {update + 1}: lower the learning rate"
                    ) from None
                measures = {
                    name: float(np.mean([step[name] for step in steps])) for name in steps[0]
                }
                if settings.kl_target:
                    kl = measures["kl from student"]
                    keeper.progress["kl weight"] = steered(penalised.kl, kl, settings.kl_target)
                reward = float(rollout.r_t.sum(dim=-1).mean())
                written = {
                    "reward": reward,
                    "entropy": surprise,
                    "distinct lists": distinct_share(rollout.slates),
                }
                log.record(update + 1, {**written, **rollout.terms, **measures})
                keeper.show(update + 1, reward)
                keeper.arrive(update + 1)
    return keeper.give()
