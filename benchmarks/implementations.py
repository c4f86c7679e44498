"""Three implementations of a PPO iteration for ``alignment.py``, of the same mathematics.

- ``shared``, genrec's own: a history is encoded once per pass, and its lists continue from the same
  keys and values.
- ``separate``: every list is a sequence history | SEP | list of its own, read from its start for
  every item that is written and in every pass of the update. Attention is fused, and 64 lists are
  read at once, which is fastest for it.
- ``generate``: ``GPT2LMHeadModel.generate`` writes the lists with its cache of keys and values,
  each after a copy of its history; the update is that of ``separate``.
"""

import copy
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

from genrec.agents import ppo, rollout
from genrec.agents.actor_critic import ActorCritic
from genrec.agents.config import PPOConfig
from genrec.agents.gptrec import decoding
from genrec.agents.gptrec.head import Choices, Reference
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.gptrec.prefix import Prefix
from genrec.data import Sequences
from genrec.envs import ListGenerationVectorEnv
from genrec.recommender import batches
from genrec.training.device import autocast

Lists = tuple[torch.Tensor, torch.Tensor]  # (H, G, k) slates and their log-probabilities
LISTS_PER_BATCH = 64  # of ``separate``
CPU = torch.device("cpu")


def history_tokens(policy: GPTRec, histories: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, P) tokens of histories and SEP, padded on the left, and their position ids."""
    tokens = torch.from_numpy(histories.last(policy.max_length).padded(side="left"))
    tokens = nn.functional.pad(tokens, (0, 1), value=policy.separator)
    return tokens, torch.arange(tokens.shape[1] - 1, -1, -1).expand(len(tokens), -1)


def separate_states(policy: GPTRec, histories: Sequences, placed: torch.Tensor) -> torch.Tensor:
    """(H, G, n+1, D) states of SEP and of placed items (H, G, n), every list a sequence."""
    size, lists, n = placed.shape
    tokens, positions = history_tokens(policy, histories)
    tokens = torch.cat([tokens.repeat_interleave(lists, dim=0), placed.flatten(0, 1)], dim=1)
    list_positions = policy.max_length + torch.arange(1, n + 1)[None]
    positions = torch.cat([positions[:1], list_positions], dim=1)
    hidden = policy.lm.transformer(
        input_ids=tokens,
        attention_mask=(tokens > 0).long(),
        position_ids=positions.expand_as(tokens),
        use_cache=False,
    ).last_hidden_state
    return hidden[:, -n - 1 :].view(size, lists, n + 1, -1)


class SeparateActor(ActorCritic):
    """Actor and critic of ``ppo`` without shared histories; the output layer is the same."""

    def forward(
        self, written: rollout.Rollout, *, with_entropy: bool, reference: Reference | None = None
    ) -> tuple[Choices, torch.Tensor]:
        """Statistics of the policy along the lists of a rollout, and values, each (H, G, K)."""
        policy, slates = self.policy, written.slates
        states = separate_states(policy, written.histories, slates[:, :, :-1])
        visible = torch.ones(len(slates), 0, dtype=torch.bool)
        blocked = policy.blocked(written.histories)
        prefix = Prefix(DynamicCache(), visible, state=states[:, 0, 0], blocked=blocked)
        found = policy.evaluate_items(
            prefix,
            states,
            slates,
            items=slates[..., None],
            with_entropy=with_entropy,
            reference=reference,
        )
        return found._replace(logp=found.logp.squeeze(3)), self.critic(states)


@torch.no_grad()
def sample_separately(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    *,
    generator: torch.Generator,
    group_size: int,
    weights: None = None,
) -> Lists:
    """Stand-in for ``decoding.sample`` that reads every list from its start for every item."""
    parts = batches(histories, max(1, LISTS_PER_BATCH // group_size))
    written = [
        _write_separately(policy, part, k, generator=generator, group_size=group_size)
        for part in parts
    ]
    return torch.cat([slates for slates, _ in written]), torch.cat([logp for _, logp in written])


def _write_separately(
    policy: GPTRec, histories: Sequences, k: int, *, generator: torch.Generator, group_size: int
) -> Lists:
    blocked = policy.blocked(histories)[:, None]
    slates, chosen = torch.zeros(len(histories), group_size, 0, dtype=torch.long), []
    for _ in range(k):
        states = separate_states(policy, histories, slates)[:, :, -1]
        logits = policy.lm.lm_head(states).float().masked_fill(blocked, -torch.inf)
        logp = torch.log_softmax(logits.scatter(2, slates, -torch.inf), dim=2)
        items = decoding.draw(torch.softmax(logp, dim=2).flatten(0, 1), generator)
        item = items.view(*slates.shape[:2], 1)
        chosen.append(logp.gather(2, item))
        slates = torch.cat([slates, item], dim=2)
    return slates, torch.cat(chosen, dim=2)


class MaskItems(LogitsProcessor):
    """Mask of what a row's history blocks and of what its list, from ``start`` on, holds."""

    def __init__(self, blocked: torch.Tensor, start: int) -> None:
        self.blocked, self.start = blocked, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Masked scores (n, V+2)."""
        placed = input_ids[:, self.start :]
        return scores.masked_fill(self.blocked, -torch.inf).scatter(1, placed, -torch.inf)


@torch.no_grad()
def sample_with_generate(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    *,
    generator: torch.Generator,
    group_size: int,
    weights: None = None,
) -> Lists:
    """Stand-in for ``decoding.sample`` by transformers' ``generate``, one row per list."""
    tokens, positions = history_tokens(policy, histories)
    tokens = tokens.repeat_interleave(group_size, dim=0)
    blocked = policy.blocked(histories).repeat_interleave(group_size, dim=0)

    def shift_positions(
        _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Any]:
        # generate counts on from SEP, whose position is 0, but the positions of lists start at T+1.
        in_list = named["past_key_values"].get_seq_length() > 0
        positions = named["position_ids"] + policy.max_length * in_list
        return arguments, named | {"position_ids": positions}

    hook = policy.lm.transformer.register_forward_pre_hook(shift_positions, with_kwargs=True)
    with hook, torch.random.fork_rng():
        torch.manual_seed(generator.initial_seed())
        found = policy.lm.generate(
            tokens,
            attention_mask=(tokens > 0).long(),
            position_ids=positions.repeat_interleave(group_size, dim=0),
            logits_processor=LogitsProcessorList([MaskItems(blocked, tokens.shape[1])]),
            max_new_tokens=k,
            do_sample=True,
            top_k=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
    slates = found.sequences[:, -k:]
    chosen = [
        torch.log_softmax(scores, dim=1).gather(1, slates[:, i, None])
        for i, scores in enumerate(found.scores)
    ]
    return slates.view(-1, group_size, k), torch.cat(chosen, dim=1).view(-1, group_size, k)


class Implementation:
    """A sampler of lists, and an actor with its own copy of the policy that learns from them.

    Args:
        sample: stand-in for ``decoding.sample``.
        actor: class of the actor.
        policy: copied.
        learning_rate: learning rate of AdamW.
    """

    def __init__(
        self,
        sample: Callable[..., Lists],
        actor: type[ActorCritic],
        policy: GPTRec,
        *,
        learning_rate: float,
    ) -> None:
        self.sample = sample
        self.actor = actor(copy.deepcopy(policy))
        self.optimizer = torch.optim.AdamW(
            self.actor.parameters(), lr=learning_rate, weight_decay=0.0
        )

    def collect(self, env: ListGenerationVectorEnv, seed: int) -> rollout.Rollout:
        """Rollout as in ``ppo``, with this implementation's sampler."""
        generator = torch.Generator().manual_seed(seed)
        with mock.patch.object(rollout, "sample", self.sample):
            return rollout.collect(
                self.actor.policy, env, env.task.k, generator=generator, seed=seed, progress=0.0
            )

    def compute_advantages(
        self, written: rollout.Rollout, config: PPOConfig
    ) -> list[ppo.Minibatch]:
        """Minibatches with advantages."""
        with autocast(CPU, config.bf16):
            return ppo.compute_advantages(self.actor, None, written, config)[0]

    def update(self, minibatches: list[ppo.Minibatch], config: PPOConfig) -> list[float]:
        """Take the gradient steps of one update; returns the loss before each."""
        steps = ppo.ppo_update(self.actor, self.optimizer, minibatches, config=config, kl_coef=0.0)
        return [step["loss"] for step in steps]

    def iterate(self, env: ListGenerationVectorEnv, config: PPOConfig, seed: int) -> list[float]:
        """Seconds of the parts of one iteration: rollout, advantages, update."""
        times = [now()]
        with autocast(CPU, config.bf16):
            written = self.collect(env, seed)
        times.append(now())
        minibatches = self.compute_advantages(written, config)
        times.append(now())
        self.update(minibatches, config)
        times.append(now())
        return np.diff(times).tolist()


def make_implementations(policy: GPTRec, config: PPOConfig) -> dict[str, Implementation]:
    """The three implementations by name, each with a copy of the policy."""
    torch.manual_seed(0)  # initial weights of the critics
    rate = config.learning_rate
    made = {
        "shared": Implementation(decoding.sample, ActorCritic, policy, learning_rate=rate),
        "separate": Implementation(sample_separately, SeparateActor, policy, learning_rate=rate),
        "generate": Implementation(sample_with_generate, SeparateActor, policy, learning_rate=rate),
    }
    # Fused attention is faster for whole sequences; genrec's own code sets what it needs itself.
    for name in ("separate", "generate"):
        made[name].actor.policy.lm.set_attn_implementation("sdpa")
    return made


def now() -> float:
    """Seconds of processor time with one thread, of the clock with several."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
