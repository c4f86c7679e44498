"""Lists written in an environment, and what they earned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from genrec.agents.gptrec.decoding import sample
from genrec.agents.gptrec.model import GPTRec
from genrec.data.sequences import Sequences
from genrec.metrics.context import Floats


@dataclass(frozen=True, eq=False)
class Rollout:
    """H·G lists, G for each history.

    Attributes:
        histories: H whole histories.
        slates: (H, G, K) item indices.
        r_t: (H, G, K) rewards.
        terms: reward name -> mean unweighted sum over a list.
        weights: (H, C) what a conditioned policy was told, None for any other.
        spread: (H,) how much the weights of a history make its returns vary, see ``spread_of``;
            None where all have the same weights.
    """

    histories: Sequences
    slates: torch.Tensor
    r_t: torch.Tensor
    terms: dict[str, float]
    weights: torch.Tensor | None = None
    spread: torch.Tensor | None = None

    def take(self, rows: NDArray[np.integer[Any]]) -> "Rollout":
        """Some of the histories with their lists; the terms stay those of all."""
        chosen = torch.from_numpy(rows).to(self.slates.device)
        weights = None if self.weights is None else self.weights[chosen]
        spread = None if self.spread is None else self.spread[chosen]
        return Rollout(
            self.histories.take(rows),
            self.slates[chosen],
            self.r_t[chosen],
            self.terms,
            weights,
            spread,
        )


def collect(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    k: int,
    generator: torch.Generator,
    seed: int | None = None,
    progress: float = 1.0,
) -> Rollout:
    """Let the policy write one list in every sub-environment.

    The environment's state is the list itself, so all K items are drawn first, over one encoding of
    each history, and then played; its reset must give ``infos["histories"]``, the H whole
    histories, the lists of one history lying side by side. For a conditioned policy it also gives
    ``infos["reward_weights"]``, name -> weight or (H,) weights.

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
    weights = spread = None
    if policy.ranges:
        asked = {
            name: np.broadcast_to(weight, len(histories))
            for name, weight in infos["reward_weights"].items()
        }
        told = np.stack([asked[name] for name in policy.ranges], axis=1)
        weights = torch.from_numpy(told).float().to(policy.device)
    slates, _ = sample(policy, histories, k, generator, group_size, weights=weights)
    rewards, gains = play(env, slates.flatten(0, 1).cpu().numpy())
    totals = {name: found.sum(axis=1) for name, found in gains.items()}
    if policy.ranges:
        spread = torch.from_numpy(spread_of(totals, asked)).float().to(policy.device)
    terms = {name: float(found.mean()) for name, found in totals.items()}
    r_t = torch.from_numpy(rewards).float().to(policy.device)
    return Rollout(histories, slates, r_t.view_as(slates), terms, weights, spread)


def spread_of(
    totals: Mapping[str, NDArray[np.float64]], weights: Mapping[str, NDArray[np.float64]]
) -> Floats:
    """s_h = √ Σ_c w_hc² · σ_c², with σ_c² the variance of term c between the lists of one history,
    over all histories.

    Advantages of a history are divided by it, so that one that was given large weights does not
    drown the others. It depends on the weights alone, not on how the lists of that history turned
    out: the best list for a weight stays the best.

    Args:
        totals: name of a term -> (H·G,) its unweighted sum over each list.
        weights: name of a term -> (H,).

    Returns:
        (H,).

    # two of each history: variance 1 and 0, mean 1/2
    >>> lists = {"a": np.array([0.0, 2.0, 5.0, 5.0])}
    >>> spread_of(lists, {"a": np.array([2.0, 4.0])}).round(4).tolist()
    [1.4142, 2.8284]
    """
    squares = np.zeros(len(next(iter(weights.values()))))
    for name, total in totals.items():
        groups = total.reshape(len(squares), -1)
        within = groups.var(axis=1).mean() if groups.shape[1] > 1 else total.var()
        squares += weights[name] ** 2 * within
    spread: Floats = np.sqrt(squares)
    return spread


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
    return np.stack(rewards, axis=1), {
        name: np.stack(found, axis=1) for name, found in gains.items()
    }
