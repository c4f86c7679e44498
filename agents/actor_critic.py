"""The policy that PPO trains, with the value head beside it."""

import torch
from torch import nn

from genrec.agents.gptrec.head import Choices, Reference
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
        self, rollout: Rollout, *, with_entropy: bool, reference: Reference | None = None
    ) -> tuple[Choices, torch.Tensor]:
        """Statistics of the policy along the lists of a rollout, and values, each (H, G, K).

        Args:
            rollout: lists, and the weights that the policy was conditioned on.
            with_entropy: whether to compute entropies.
            reference: of the same lists, for the divergence from another policy.
        """
        prefix = self.policy.encode(rollout.histories, rollout.weights)
        states = self.policy.slate_states(prefix, rollout.slates)
        found = self.policy.evaluate_items(
            prefix,
            states,
            rollout.slates,
            items=rollout.slates[..., None],
            with_entropy=with_entropy,
            reference=reference,
        )
        return found._replace(logp=found.logp.squeeze(3)), self.critic(states)
