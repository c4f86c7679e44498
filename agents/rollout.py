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
    progress: float = 1.0,
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
        progress: share of the training that is done, for rewards that read it.
    """
    _, infos = env.reset(seed=seed, options={"progress": progress})
    histories: Sequences = infos["histories"]
    group_size = env.num_envs // len(histories)
    policy.eval()
    slates, _ = sample(policy, histories, k, generator, group_size)
    rewards, gains = play(env, slates.flatten(0, 1).cpu().numpy())
    terms = {name: float(found.sum(axis=1).mean()) for name, found in gains.items()}
    r_t = torch.from_numpy(rewards).float().to(policy.device)
    return Rollout(histories, slates, r_t.view_as(slates), terms)


def play(
    env: VectorEnv[Any, Any, Any], slates: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Write finished lists (n, K) in an environment that was just reset.

    Returns:
        (n, K) rewards, and by reward name the (n, K) unweighted gains.
    """
    rewards: list[NDArray[np.float64]] = []
    gains: dict[str, list[NDArray[np.float64]]] = {}
    for items in slates.T:
        _, reward, _, _, infos = env.step(items)
        rewards.append(reward)
        for name, found in infos["reward_terms"].items():
            gains.setdefault(name, []).append(found)
    return np.stack(rewards, axis=1), {name: np.stack(found, axis=1) for name, found in gains.items()}
