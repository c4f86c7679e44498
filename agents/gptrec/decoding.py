"""Next-K decoding: greedy, sampling and beam search over one cached encoding per history."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.agents.gptrec.model import GPTRec
from genrec.agents.gptrec.prefix import Prefix, require_room
from genrec.data.sequences import Sequences
from genrec.recommender import batches


def draw(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw one column per row by inverting the cumulative distribution.

    One random number per row is needed, not V as for Gumbel noise. A column of probability 0 is
    never drawn.

    Args:
        probabilities: (N, V), rows sum to about 1.
        generator: source of randomness.

    Returns:
        (N, 1) column indices.

    >>> draw(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.Generator()).tolist()
    [[2]]
    """
    cumulative = probabilities.cumsum(dim=1)
    # In (0, 1]: a draw of exactly 0 would choose the first column, whatever its probability.
    uniform = 1 - torch.rand(len(probabilities), 1, generator=generator, device=generator.device)
    columns = torch.searchsorted(cumulative, uniform.to(cumulative.device) * cumulative[:, -1:])
    # Parallel sums may fall by a rounding error, so that a column of probability 0 can be found.
    impossible = probabilities.gather(1, columns) == 0
    if not bool(impossible.any()):
        return columns
    return torch.where(impossible, probabilities.argmax(dim=1, keepdim=True), columns)


@torch.no_grad()
def sample(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    *,
    generator: torch.Generator | None,
    group_size: int = 1,
    temperature: float = 1.0,
    weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw lists item by item from the policy; each history is encoded once for all its lists.

    Args:
        policy: policy to draw from.
        histories: H histories.
        k: items per list.
        generator: source of randomness; None takes the most probable item at each position (greedy
            Next-K).
        group_size: G, lists per history.
        temperature: temperature of the distribution that items are drawn from. The returned
            log-probabilities are those at temperature 1.
        weights: (H, C) weights to condition on; None for the policy's own.

    Returns:
        Slates (H, G, k) and their log-probabilities (H, G, k).

    Raises:
        GenrecError: if a history leaves fewer than k items.
    """
    prefix = policy.encode(histories, weights)
    require_room(prefix.blocked, k)
    states = prefix.state[:, None].expand(-1, group_size, -1)
    slates = torch.zeros(len(histories), group_size, 0, dtype=torch.long, device=policy.device)
    chosen = []
    for t in range(k):
        log_p = _next_log_probabilities(policy, prefix, states, slates)
        if generator is None:
            item = log_p.argmax(dim=2, keepdim=True)
        else:
            probabilities = torch.softmax(log_p / temperature, dim=2)
            item = draw(probabilities.flatten(0, 1), generator).view(*slates.shape[:2], 1)
        chosen.append(log_p.gather(2, item))
        slates = torch.cat([slates, item], dim=2)
        if t + 1 < k:  # the last item predicts nothing
            states = policy.extend(prefix, item, start=t)[:, :, 0]
    return slates, torch.cat(chosen, dim=2)


@torch.no_grad()
def beam(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    *,
    width: int,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Find the most probable list per history by beam search.

    Args:
        policy: policy to search.
        histories: H histories.
        k: items per list.
        width: number of beams that are kept after each position.
        weights: (H, C) weights to condition on; None for the policy's own.

    Returns:
        Slates (H, k).

    Raises:
        GenrecError: if a history leaves fewer than k items.
    """
    size = len(histories)
    prefix = policy.encode(histories, weights)
    require_room(prefix.blocked, k)
    slates = torch.zeros(size, 1, 0, dtype=torch.long, device=policy.device)
    total = torch.zeros(size, 1, device=policy.device)
    states = prefix.state[:, None]
    for t in range(k):
        log_p = _next_log_probabilities(policy, prefix, states, slates)
        paths = (total[:, :, None] + log_p).flatten(1)
        total, place = paths.topk(min(width, paths.shape[1]), dim=1)
        parent, item = place // log_p.shape[2], place % log_p.shape[2]
        begun = slates.gather(1, parent[..., None].expand(-1, -1, t))
        slates = torch.cat([begun, item[..., None]], dim=2)
        if t + 1 < k:
            # Beams change parents: cached items are dropped and all lists are read again.
            cached = prefix.cache.get_seq_length() - prefix.visible.shape[1]
            if cached:
                prefix.cache.crop(-cached)
            states = policy.extend(prefix, slates, start=0)[:, :, -1]
    return slates[:, 0]


@dataclass(frozen=True)
class NextK:
    """GPTRec as a recommender: greedy Next-K lists, or beam search with several beams.

    Attributes:
        policy: policy that writes the lists; a conditioned one for its own weights (``at``).
        beams: width of the beam search; 1 is greedy.
        batch_size: histories per batch.
        weights: (B, C) weights to condition on, one row per history of the batch of B histories
            that ``recommend`` is called with; None for the policy's own.
    """

    policy: GPTRec
    beams: int = 1
    _: KW_ONLY
    batch_size: int = 256
    weights: torch.Tensor | None = None

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """Recommend slates (B, k) of distinct items that are not in the history."""
        training = self.policy.training
        self.policy.eval()
        # Sorted by length, so that batches carry little padding.
        order = np.argsort(-histories.lengths, kind="stable")
        slates = np.zeros((len(histories), k), dtype=np.int64)
        done = 0
        for batch in batches(histories.take(order), self.batch_size):
            rows = order[done : done + len(batch)]
            slates[rows] = self._decode(batch, k, rows).cpu().numpy()
            done += len(batch)
        self.policy.train(training)
        return slates

    def _decode(self, batch: Sequences, k: int, rows: NDArray[np.int64]) -> torch.Tensor:
        """Slates of a batch, whose weights are in those rows."""
        weights = None
        if self.weights is not None:
            weights = self.weights[torch.from_numpy(rows)].to(self.policy.device)
        if self.beams > 1:
            return beam(self.policy, batch, k, width=self.beams, weights=weights)
        return sample(self.policy, batch, k, generator=None, weights=weights)[0][:, 0]


def _next_log_probabilities(
    policy: GPTRec, prefix: Prefix, states: torch.Tensor, placed: torch.Tensor
) -> torch.Tensor:
    """(H, G, V+2) log-probabilities of the next item after the placed items (H, G, t)."""
    logits = policy.lm.lm_head(states).float()
    logits = logits.masked_fill_(prefix.blocked[:, None], -torch.inf)
    return torch.log_softmax(logits.scatter_(2, placed, -torch.inf), dim=2)
