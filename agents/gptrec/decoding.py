"""Next-K decoding: greedy, sampling and beam, with shared prefixes and cached keys and values."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.agents.gptrec.model import NEVER, GPTRec, Prefix, require_room
from genrec.data.sequences import Sequences
from genrec.recommender import batches


def _next_log_probabilities(
    policy: GPTRec, prefix: Prefix, states: torch.Tensor, placed: torch.Tensor
) -> torch.Tensor:
    """(H, G, V+2) log-probabilities of the next item of lists whose items so far are placed (H, G,
    t)."""
    logits = policy.lm.lm_head(states).float().masked_fill_(prefix.blocked[:, None], NEVER)
    return torch.log_softmax(logits.scatter_(2, placed, NEVER), dim=2)


def draw(chances: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N, 1) columns drawn from chances (N, V) by inverting their cumulative sums: one random
    number a row, not V.

    A column of chance 0 is never drawn.

    >>> draw(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.Generator()).tolist()
    [[2]]
    """
    ladder = chances.cumsum(dim=1)
    above_zero = 1 - torch.rand(len(chances), 1, generator=generator, device=generator.device)
    column = torch.searchsorted(ladder, above_zero.to(ladder.device) * ladder[:, -1:])
    missed = (
        chances.gather(1, column) == 0
    )  # where sums that are made in parallel do not quite rise
    return (
        torch.where(missed, chances.argmax(dim=1, keepdim=True), column)
        if bool(missed.any())
        else column
    )


@torch.no_grad()
def sample(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    generator: torch.Generator | None,
    group_size: int = 1,
    temperature: float = 1.0,
    weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists drawn item by item from the policy, ``group_size`` a history; each history is encoded
    once.

    Args:
        policy: the generator.
        histories: H histories.
        k: items a list.
        generator: source of randomness; None takes the most probable item each time (greedy
            Next-K).
        group_size: G, lists a history.
        temperature: of the distribution drawn from. The returned log-probabilities are always those
            at 1.
        weights: (H, C) that a conditioned policy is told; None for its own.

    Returns:
        slates (H, G, k) and their log-probabilities (H, G, k).

    Raises:
        GenrecError: where a history leaves fewer than k items.
    """
    prefix = policy.encode(histories, weights)
    require_room(prefix.blocked, k)
    states = prefix.state[:, None].expand(-1, group_size, -1)
    slates = torch.zeros(len(histories), group_size, 0, dtype=torch.long, device=policy.device)
    chosen = []
    for t in range(k):
        log_probabilities = _next_log_probabilities(policy, prefix, states, slates)
        if generator is None:
            item = log_probabilities.argmax(dim=2, keepdim=True)
        else:
            chances = torch.softmax(log_probabilities / temperature, dim=2)
            item = draw(chances.flatten(0, 1), generator).view(*slates.shape[:2], 1)
        chosen.append(log_probabilities.gather(2, item))
        slates = torch.cat([slates, item], dim=2)
        if t + 1 < k:
            states = policy.extend(prefix, item, start=t)[:, :, 0]
    return slates, torch.cat(chosen, dim=2)


@torch.no_grad()
def beam(
    policy: GPTRec, histories: Sequences, k: int, width: int, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """(H, k) the most probable list that a beam search of that width finds; weights as in
    ``sample``."""
    size = len(histories)
    prefix = policy.encode(histories, weights)
    require_room(prefix.blocked, k)
    slates = torch.zeros(size, 1, 0, dtype=torch.long, device=policy.device)
    total = torch.zeros(size, 1, device=policy.device)
    states = prefix.state[:, None]
    for t in range(k):
        log_probabilities = _next_log_probabilities(policy, prefix, states, slates)
        paths = (total[:, :, None] + log_probabilities).flatten(1)
        total, place = paths.topk(min(width, paths.shape[1]), dim=1)
        parent, item = place // log_probabilities.shape[2], place % log_probabilities.shape[2]
        slates = torch.cat(
            [slates.gather(1, parent[..., None].expand(-1, -1, t)), item[..., None]], dim=2
        )
        if t + 1 < k:
            # beams change parents, so their lists are read again over the shared prefix
            if grown := prefix.cache.get_seq_length() - prefix.visible.shape[1]:
                prefix.cache.crop(-grown)
            states = policy.extend(prefix, slates, start=0)[:, :, -1]
    return slates[:, 0]


@dataclass(frozen=True)
class NextK:
    """GPTRec as a recommender: greedy Next-K lists, or beam search where ``beams`` > 1.

    A conditioned policy writes for its own weights (``policy.at``), or for ``weights`` (B, C), a
    row a history of the only batch that is then asked for.
    """

    policy: GPTRec
    beams: int = 1
    batch_size: int = 256
    weights: torch.Tensor | None = None

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) slates of distinct unseen items."""
        training = self.policy.training
        self.policy.eval()
        order = np.argsort(
            -histories.lengths, kind="stable"
        )  # batches of like length carry little padding
        out = np.zeros((len(histories), k), dtype=np.int64)
        done = 0
        for batch in batches(histories.take(order), self.batch_size):
            rows = order[done : done + len(batch)]
            told = (
                None
                if self.weights is None
                else self.weights[torch.from_numpy(rows)].to(self.policy.device)
            )
            if self.beams > 1:
                slates = beam(self.policy, batch, k, self.beams, told)
            else:
                slates = sample(self.policy, batch, k, generator=None, weights=told)[0][:, 0]
            out[rows] = slates.cpu().numpy()
            done += len(batch)
        self.policy.train(training)
        return out
