"""Policy and rollout buffer with which sb3-contrib's MaskablePPO trains a GPTRec.

A mask is the ids of forbidden items, never a row of V booleans: ``ListVecEnv`` lists them, the
policy applies them to a few hundred rows of logits at a time, ``ListRolloutBuffer`` stores them as
ragged sequences.
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

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.gptrec.head import Allowed, choice_log_probabilities, row_chunks
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.sb3.vec_env import forbidden_ids, unpadded
from genrec.data.sequences import Sequences

Observations = Any  # dict[str, torch.Tensor]; the parents allow a single tensor too
Masks = NDArray[Any] | torch.Tensor | None


def next_states(policy: GPTRec, history: torch.Tensor, slate: torch.Tensor) -> torch.Tensor:
    """States that predict the next item of each list so far; differentiable.

    A rollout buffer holds every prefix of a list as a row of its own. Rows of one history share its
    encoding, and rows that are prefixes of one list are read in one pass of the longest of them:
    after sorting, a row comes right before a row that continues it, if there is one.

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
    new_history = (histories[1:] != histories[:-1]).any(dim=1)
    continues = ((slates[1:] == slates[:-1]) | (slates[:-1] == 0)).all(dim=1)
    new_list = new_history | ~continues
    # Numbers of each sorted row's history and list, and the longest row of each list.
    history_of, list_of = _starts(new_history).cumsum(0) - 1, _starts(new_list).cumsum(0) - 1
    longest = torch.cat([new_list, new_list.new_ones(1)]).nonzero().squeeze(1)
    history_of_list = history_of[longest]
    # Number of a list among those of its history: histories are sorted, so the first list of a
    # history is where its number first appears.
    first = torch.searchsorted(history_of_list, history_of_list)
    slot = torch.arange(len(longest), device=longest.device) - first
    # A complete list has no next item: its last state stands in, and nobody reads it.
    placed = (slates > 0).sum(dim=1).clamp(max=slates.shape[1] - 1)
    length = int(placed.max()) + 1
    lists = slates.new_zeros(int(history_of[-1]) + 1, int(slot.max()) + 1, length)
    lists[history_of_list, slot] = slates[longest, :length]
    prefix = policy.encode(unpadded(histories[_starts(new_history)].cpu().numpy()))
    states = policy.slate_states(prefix, lists)
    return states[history_of, slot[list_of], placed][inverse]


def _starts(differs: torch.Tensor) -> torch.Tensor:
    """(N,) True where a row starts a group; ``differs`` (N-1,) compares rows 2..N to the last."""
    return torch.cat([differs.new_ones(1), differs])


@torch.no_grad()
def choose_items(
    states: torch.Tensor, weight: torch.Tensor, allowed: Allowed, *, greedy: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one item per row from softmax(masked h·Wᵀ), or take the most probable one.

    Args:
        states: (N, D).
        weight: (V, D) of the output layer; the logits of one chunk of rows are held at a time.
        allowed: columns that each row may choose.
        greedy: whether to take the most probable item.

    Returns:
        Items (N,) and their log-probabilities (N,).
    """
    items, chosen = [], []
    for rows in row_chunks(len(states), len(weight)):
        logits = allowed.apply((states[rows] @ weight.T).float(), rows)
        log_p = torch.log_softmax(logits, dim=1)
        item = log_p.argmax(dim=1, keepdim=True) if greedy else torch.multinomial(log_p.exp(), 1)
        items.append(item.squeeze(1))
        chosen.append(log_p.gather(1, item).squeeze(1))
    return torch.cat(items), torch.cat(chosen)


class GPTRecPolicy(MaskableActorCriticPolicy):
    """Actor-critic policy of stable-baselines3 around a GPTRec and its value head.

    Observations are ids, ``history`` (N, T) and ``slate`` (N, K). ``action_masks`` are ids too, (N,
    W) with 0 as filler; booleans (N, V+1) are understood as well, and without any the items of the
    observation are masked. Dropout stays off, so that the first probability ratio of an update is
    1.

    Args:
        observation_space: observation space of ``ListVecEnv``.
        action_space: action space of ``ListVecEnv``.
        lr_schedule: learning rate as a function of the share of training that is left.
        actor: GPTRec and critic, trained in place.
        optimizer_class: class of the optimizer of all their parameters.
        optimizer_kwargs: further arguments of that class; no weight decay by default.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        actor: ActorCritic,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.AdamW,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        kwargs = {"weight_decay": 0.0} if optimizer_kwargs is None else optimizer_kwargs
        # The grandparent's constructor: the parent's would build multilayer perceptrons.
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=kwargs,
        )
        assert isinstance(action_space, spaces.Discrete)
        self.actor = actor
        self.action_dist = MaskableCategoricalDistribution(int(action_space.n))
        parameters, rate = self.parameters(), lr_schedule(1)
        self.optimizer = optimizer_class(parameters, lr=rate, **kwargs)  # type: ignore[call-arg]
        self.set_training_mode(False)

    def set_training_mode(self, mode: bool) -> None:
        """Do nothing: dropout stays off in either mode."""
        self.train(False)

    def forward(
        self, obs: Observations, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Items (N,) that are drawn or most probable, values (N, 1), log-probabilities (N,)."""
        states = self._states(obs)
        allowed = self._allowed(obs, action_masks)
        items, logp = choose_items(states, self._weight, allowed, greedy=deterministic)
        return items, self.actor.critic(states)[:, None], logp

    def evaluate_actions(
        self, obs: Observations, actions: torch.Tensor, action_masks: Masks = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values (N, 1), log-probabilities (N,) of items (N,), entropies (N,); differentiable."""
        states = self._states(obs)
        allowed = self._allowed(obs, action_masks)
        found = choice_log_probabilities(
            states,
            self._weight,
            allowed=allowed,
            columns=actions.long()[:, None],
            with_entropy=True,
        )
        return self.actor.critic(states)[:, None], found.logp.squeeze(1), found.entropy

    def predict_values(self, obs: Observations) -> torch.Tensor:
        """Values (N, 1)."""
        return self.actor.critic(self._states(obs))[:, None]  # type: ignore[no-any-return]

    def get_distribution(
        self, obs: Observations, action_masks: Masks = None
    ) -> MaskableDistribution:
        """Distribution of the next item as stable-baselines3's object, which holds (N, V+1)."""
        logits = (self._states(obs) @ self._weight.T).float()
        allowed = self._allowed(obs, action_masks).apply(torch.zeros_like(logits), slice(None)) == 0
        distribution = self.action_dist.proba_distribution(action_logits=logits[:, :-1])
        distribution.apply_masking(allowed[:, :-1])
        return distribution

    def _predict(
        self, observation: Observations, deterministic: bool = False, action_masks: Masks = None
    ) -> torch.Tensor:
        allowed = self._allowed(observation, action_masks)
        states = self._states(observation)
        return choose_items(states, self._weight, allowed, greedy=deterministic)[0]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments with which stable-baselines3 makes a saved policy again."""
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
        """Columns that each row may choose; no mask of V columns per row is built."""
        if action_masks is None:
            ids = torch.cat([obs["history"], obs["slate"]], dim=1)
        else:
            ids = torch.as_tensor(forbidden_ids(action_masks), device=self.device)
        policy = self.actor.policy
        # One shared row blocks PAD and SEP; what a history blocks is among the ids of each row.
        blocked = torch.zeros(1, policy.num_items + 2, dtype=torch.bool, device=self.device)
        blocked[0, [0, policy.separator]] = True
        history = torch.zeros(len(ids), dtype=torch.long, device=self.device)
        return Allowed(blocked, history, ids.long())


class ListRolloutBuffer(MaskableDictRolloutBuffer):
    """Rollout buffer with masks as ragged ids, whose size does not depend on the number of items.

    Minibatches are drawn with torch's generator, in parts of nearly equal size.
    """

    def reset(self) -> None:
        """Empty the buffer."""
        # The grandparent's method: the parent's would make float32 masks (steps, envs, V+1).
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
        """Store a step of every environment.

        Without masks, the items of the observation are forbidden.
        """
        placed = np.concatenate([obs["history"], obs["slate"]], axis=1)
        ids = placed if action_masks is None else forbidden_ids(action_masks)
        self._forbidden.append(unpadded(ids))
        super(MaskableDictRolloutBuffer, self).add(
            obs,
            action,
            reward,
            episode_start=episode_start,
            value=value,
            log_prob=log_prob,
        )

    def get(  # type: ignore[override]
        self, batch_size: int | None = None
    ) -> Generator[MaskableDictRolloutBufferSamples, None, None]:
        """Yield minibatches of at most ``batch_size`` steps in random order, by default one."""
        assert self.full, "a rollout is read when it is complete"
        rows = self.buffer_size * self.n_envs
        for part in torch.randperm(rows).tensor_split(-(-rows // (batch_size or rows))):
            yield self._get_samples(part.numpy())

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[Any], env: object = None
    ) -> MaskableDictRolloutBufferSamples:
        """Steps by number, environment by environment within a step."""
        # Joined once per rollout: an update reads the buffer in several epochs.
        if self._together is None:
            lengths = np.concatenate([part.lengths for part in self._forbidden])
            items = np.concatenate([part.items for part in self._forbidden])
            self._together = Sequences(np.concatenate([[0], np.cumsum(lengths)]), items)

        def of(array: NDArray[Any]) -> torch.Tensor:
            flat = array.reshape(self.buffer_size * self.n_envs, *array.shape[2:])
            return self.to_torch(flat[batch_inds])

        return MaskableDictRolloutBufferSamples(
            observations={key: of(value) for key, value in self.observations.items()},
            actions=of(self.actions),
            old_values=of(self.values),
            old_log_prob=of(self.log_probs),
            advantages=of(self.advantages),
            returns=of(self.returns),
            action_masks=self.to_torch(self._together.take(batch_inds).padded()),
        )
