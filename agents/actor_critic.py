"""The policy that PPO trains, with the value head beside it."""

import torch
from torch import nn

from genrec.agents.gptrec.model import GPTRec
from genrec.agents.rollout import Rollout


class ValueHead(nn.Module):
    """Value v_t of the policy's state before item t.

    Its gradient stops at the state, so that a poor value estimate cannot harm the policy.

    Args:
        hidden_size: D.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, 1)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Values (...) of states (..., D)."""
        return self.layers(states.detach().float()).squeeze(-1)  # type: ignore[no-any-return]


class ActorCritic(nn.Module):
    """A policy (actor) and a value head (critic) on its states.

    Args:
        policy: shared, not copied.
    """

    def __init__(self, policy: GPTRec) -> None:
        super().__init__()
        self.policy = policy
        self.critic = ValueHead(int(policy.lm.config.n_embd)).to(policy.device)

    def forward(
        self, rollout: Rollout, *, with_entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities, entropies and values along the lists of a rollout, each (H, G, K).

        Args:
            rollout: lists, and the weights that the policy was conditioned on.
            with_entropy: whether to compute entropies; they are zeros otherwise.
        """
        prefix = self.policy.encode(rollout.histories, rollout.weights)
        states = self.policy.slate_states(prefix, rollout.slates)
        logp, entropy = self.policy.evaluate_items(
            prefix,
            states,
            rollout.slates,
            items=rollout.slates[..., None],
            with_entropy=with_entropy,
        )
        return logp.squeeze(3), entropy, self.critic(states)
