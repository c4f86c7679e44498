"""Lists written in an environment, and what they earned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from genrec.agents.decoding import sample
from genrec.agents.gptrec import GPTRec
from genrec.data.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Rollout:
    """H·G lists, G for each history.

    Attributes:
        histories: H whole histories.
        slates: (H, G, K) item indices.
        r_t: (H, G, K) rewards.
        terms: reward name -> mean unweighted sum over a list.
    """

    histories: Sequences
    slates: torch.Tensor
    r_t: torch.Tensor
    terms: dict[str, float]


def collect(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    k: int,
    generator: torch.Generator,
    seed: int | None = None,
) -> Rollout:
    """Let the policy write one list in every sub-environment.

    The environment's state is the list itself, so all K items are drawn first, over one encoding of each history, and
    then played; its reset must give ``infos["histories"]``, the H whole histories, the lists of one history lying side
    by side.

    Args:
        policy: draws from its distribution, dropout off.
        env: a list-generation vector environment of n = H·G lists.
        k: K, its horizon.
        generator: of the policy's choices.
        seed: of the environment's draw of histories; None goes on from before.
    """
    _, infos = env.reset(seed=seed)
    histories: Sequences = infos["histories"]
    group_size = env.num_envs // len(histories)
    policy.eval()
    slates, _ = sample(policy, histories, k, generator, group_size)
    played = slates.flatten(0, 1).cpu().numpy()
    rewards: list[NDArray[np.float64]] = []
    terms: dict[str, float] = {}
    for t in range(k):
        _, reward, _, _, infos = env.step(played[:, t])
        rewards.append(reward)
        for name, gains in infos["reward_terms"].items():
            terms[name] = terms.get(name, 0.0) + float(gains.mean())
    r_t = torch.from_numpy(np.stack(rewards, axis=1)).float().to(policy.device)
    return Rollout(histories, slates, r_t.view_as(slates), terms)
