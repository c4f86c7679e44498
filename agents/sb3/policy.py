"""What sb3-contrib's MaskablePPO needs to train a GPTRec: a policy and a rollout buffer that keep
masks as ids.

A mask is the ids of what is forbidden, never a row of V booleans: ``ListVecEnv`` names them, the
policy applies them to a few hundred rows of logits at a time, ``ListRolloutBuffer`` keeps them
ragged.
"""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import (
    MaskableDictRolloutBuffer,
    MaskableDictRolloutBufferSamples,
)
from sb3_contrib.common.maskable.distributions import (
    MaskableCategoricalDistribution,
    MaskableDistribution,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from genrec.agents.gptrec.head import MOST_LOGITS, ROWS, Allowed, choice_log_probabilities
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.ppo import Actor
from genrec.agents.sb3.vec_env import forbidden_ids, unpadded
from genrec.data.sequences import Sequences

Observations = Any  # dict[str, torch.Tensor]; the parents allow a single tensor too
Masks = NDArray[Any] | torch.Tensor | None


def next_states(policy: GPTRec, history: torch.Tensor, slate: torch.Tensor) -> torch.Tensor:
    """The state that predicts the next item of each list so far; differentiable.

    Rows of one history share its encoding, and rows of one list, which are beginnings of one
    another, are read in one
    pass: sorted, each row comes right before a row that goes on from it, if there is one.

    Args:
        policy: GPTRec.
        history: (N, T) the newest items, PAD on the left.
        slate: (N, K) the lists so far, PAD on the right.

    Returns:
        (N, D).
    """
    width = history.shape[1]
    rows, inverse = torch.unique(torch.cat([history, slate], dim=1), dim=0, return_inverse=True)
    histories, slates = rows[:, :width], rows[:, width:]
    other_history = (histories[1:] != histories[:-1]).any(dim=1)
    other_list = other_history | ((slates[1:] != slates[:-1]) & (slates[:-1] > 0)).any(dim=1)
    group, own = _starts(other_history).cumsum(0) - 1, _starts(other_list).cumsum(0) - 1
    last = (
        torch.cat([other_list, other_list.new_ones(1)]).nonzero().squeeze(1)
    )  # the longest row of each list
    of_list = group[last]
    slot = torch.arange(len(last), device=last.device) - torch.searchsorted(
        of_list, of_list
    )  # among its history's
    placed = (
        (slates > 0).sum(dim=1).clamp(max=slates.shape[1] - 1)
    )  # a complete list has no next item
    longest = int(placed.max()) + 1
    lists = slates.new_zeros(int(group[-1]) + 1, int(slot.max()) + 1, longest)
    lists[of_list, slot] = slates[last, :longest]
    prefix = policy.encode(unpadded(histories[_starts(other_history)].cpu().numpy()))
    return policy.slate_states(prefix, lists)[group, slot[own], placed][inverse]


def _starts(differs: torch.Tensor) -> torch.Tensor:
    """(N,) whether a row begins something new, from whether rows 2..N differ from the row
    before."""
    return torch.cat([differs.new_ones(1), differs])


@torch.no_grad()
def draw(
    states: torch.Tensor, weight: torch.Tensor, allowed: Allowed, greedy: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items drawn from softmax(masked h·Wᵀ), or its best ones, and their log-probabilities, each
    (N,).

    Args:
        states: (N, D).
        weight: (V, D) of the output layer; never more than a few hundred rows of logits are held.
        allowed: which columns each row may choose.
        greedy: take the most probable item.
    """
    step = max(1, min(ROWS, MOST_LOGITS // len(weight)))
    items, chosen = [], []
    for start in range(0, len(states), step):
        rows = slice(start, min(start + step, len(states)))
        log_p = torch.log_softmax(allowed.apply((states[rows] @ weight.T).float(), rows), dim=1)
        item = log_p.argmax(dim=1, keepdim=True) if greedy else torch.multinomial(log_p.exp(), 1)
        items.append(item.squeeze(1))
        chosen.append(log_p.gather(1, item).squeeze(1))
    return torch.cat(items), torch.cat(chosen)


class GPTRecPolicy(MaskableActorCriticPolicy):
    """stable-baselines3's actor-critic policy around a GPTRec and the value head beside it.

    Observations are ids, ``history`` (N, T) and ``slate`` (N, K). ``action_masks`` are ids too, (N,
    W) with 0 as filler; booleans (N, V+1) are understood as well, and without any the items of the
    observation are masked. Dropout stays off, so that the first probability ratio of an update is
    1.

    Args:
        observation_space: of ``ListVecEnv``.
        action_space: of ``ListVecEnv``.
        lr_schedule: learning rate by the share of training that is left.
        actor: GPTRec and critic, trained in place.
        optimizer_class: of all their parameters.
        optimizer_kwargs: of that class; no weight decay by default.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        actor: Actor,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.AdamW,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        chosen = {"weight_decay": 0.0} if optimizer_kwargs is None else optimizer_kwargs
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=chosen,
        )  # not the parent's: its multilayer perceptrons have no place here
        assert isinstance(action_space, spaces.Discrete)
        self.actor = actor
        self.action_dist = MaskableCategoricalDistribution(int(action_space.n))
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **chosen)  # type: ignore[call-arg]
        self.set_training_mode(False)

    def set_training_mode(self, mode: bool) -> None:
        """Dropout stays off in either mode."""
        self.train(False)

    def forward(
        self, obs: Observations, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Drawn (or best) items (N,), values (N, 1) and log-probabilities (N,)."""
        states = self._states(obs)
        items, logp = draw(states, self._weight, self._allowed(obs, action_masks), deterministic)
        return items, self.actor.critic(states)[:, None], logp

    def evaluate_actions(
        self, obs: Observations, actions: torch.Tensor, action_masks: Masks = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values (N, 1), log-probabilities (N,) of items (N,), and entropies (N,);
        differentiable."""
        states = self._states(obs)
        allowed = self._allowed(obs, action_masks)
        logp, entropy = choice_log_probabilities(
            states, self._weight, allowed, actions.long()[:, None], True
        )
        return self.actor.critic(states)[:, None], logp.squeeze(1), entropy

    def predict_values(self, obs: Observations) -> torch.Tensor:
        """Values (N, 1)."""
        return self.actor.critic(self._states(obs))[:, None]  # type: ignore[no-any-return]

    def get_distribution(
        self, obs: Observations, action_masks: Masks = None
    ) -> MaskableDistribution:
        """The distribution of the next item as stable-baselines3's object, which holds all (N, V+1)
        of it."""
        logits = (self._states(obs) @ self._weight.T).float()
        allowed = self._allowed(obs, action_masks).apply(torch.zeros_like(logits), slice(None)) == 0
        distribution = self.action_dist.proba_distribution(action_logits=logits[:, :-1])
        distribution.apply_masking(allowed[:, :-1])
        return distribution

    def _predict(
        self, observation: Observations, deterministic: bool = False, action_masks: Masks = None
    ) -> torch.Tensor:
        allowed = self._allowed(observation, action_masks)
        return draw(self._states(observation), self._weight, allowed, deterministic)[0]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "actor": self.actor,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    @property
    def _weight(self) -> torch.Tensor:
        weight: torch.Tensor = self.actor.policy.lm.lm_head.weight
        return weight

    def _states(self, obs: Observations) -> torch.Tensor:
        return next_states(self.actor.policy, obs["history"].long(), obs["slate"].long())

    def _allowed(self, obs: Observations, action_masks: Masks) -> Allowed:
        """One row of what nothing may choose, PAD and SEP, and the forbidden ids of each row."""
        if action_masks is None:
            ids = torch.cat([obs["history"], obs["slate"]], dim=1)
        else:
            ids = torch.as_tensor(forbidden_ids(action_masks), device=self.device)
        policy = self.actor.policy
        blocked = torch.zeros(1, policy.num_items + 2, dtype=torch.bool, device=self.device)
        blocked[0, [0, policy.separator]] = True
        return Allowed(
            blocked, torch.zeros(len(ids), dtype=torch.long, device=self.device), ids.long()
        )


class ListRolloutBuffer(MaskableDictRolloutBuffer):
    """A rollout buffer that keeps the masks as ragged ids: their size does not depend on the number
    of items.

    Minibatches are drawn with torch's generator, in parts of nearly equal size.
    """

    def reset(self) -> None:
        """Forget the rollout. The parent would make float32 masks (steps, envs, V+1) here."""
        super(MaskableDictRolloutBuffer, self).reset()
        self._forbidden: list[Sequences] = []
        self._together: Sequences | None = None

    def add(  # type: ignore[override]
        self,
        obs: dict[str, NDArray[Any]],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: torch.Tensor,
        log_prob: torch.Tensor,
        action_masks: NDArray[Any] | None = None,
    ) -> None:
        """Keep a step of every environment; without masks, the items of the observation are what is
        forbidden."""
        placed = np.concatenate([obs["history"], obs["slate"]], axis=1)
        self._forbidden.append(
            unpadded(placed if action_masks is None else forbidden_ids(action_masks))
        )
        super(MaskableDictRolloutBuffer, self).add(
            obs, action, reward, episode_start, value, log_prob
        )

    def get(  # type: ignore[override]
        self, batch_size: int | None = None
    ) -> Generator[MaskableDictRolloutBufferSamples, None, None]:
        """Minibatches of at most ``batch_size`` steps in random order; everything at once by
        default."""
        assert self.full, "a rollout is read when it is complete"
        rows = self.buffer_size * self.n_envs
        for part in torch.randperm(rows).tensor_split(-(-rows // (batch_size or rows))):
            yield self._get_samples(part.numpy())

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[Any], env: object = None
    ) -> MaskableDictRolloutBufferSamples:
        """Steps by number, environment by environment within a step."""
        if self._together is None:
            lengths = np.concatenate([part.lengths for part in self._forbidden])
            items = np.concatenate([part.items for part in self._forbidden])
            self._together = Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)

        def of(array: NDArray[Any]) -> torch.Tensor:
            return self.to_torch(
                array.reshape(self.buffer_size * self.n_envs, *array.shape[2:])[batch_inds]
            )

        return MaskableDictRolloutBufferSamples(
            observations={key: of(value) for key, value in self.observations.items()},
            actions=of(self.actions),
            old_values=of(self.values),
            old_log_prob=of(self.log_probs),
            advantages=of(self.advantages),
            returns=of(self.returns),
            action_masks=self.to_torch(self._together.take(batch_inds).padded()),
        )
