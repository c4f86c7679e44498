"""Rollouts: lists that a policy writes in an environment, and the rewards they earn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """H·G lists, G for each of H histories.

    Attributes:
        histories: H whole histories.
        slates: (H, G, K) item indices.
        r_t: (H, G, K) rewards.
        terms: reward name -> mean unweighted sum of its gains over a list.
        weights: (H, C) weights that the policy was conditioned on; None without conditioning.
        return_std: (H,) standard deviation of returns under the weights of a history, see
            ``return_std``; None without conditioning, where all histories have the same weights.
    """

    histories: Sequences
    slates: torch.Tensor
    r_t: torch.Tensor
    terms: dict[str, float]
    weights: torch.Tensor | None = None
    return_std: torch.Tensor | None = None

    def take(self, rows: NDArray[np.integer[Any]]) -> "Rollout":
        """Part of the histories with their lists; the terms stay those of the whole rollout."""
        chosen = torch.from_numpy(rows).to(self.slates.device)
        return replace(
            self,
            histories=self.histories.take(rows),
            slates=self.slates[chosen],
            r_t=self.r_t[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            return_std=None if self.return_std is None else self.return_std[chosen],
        )


def collect(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    k: int,
    *,
    generator: torch.Generator,
    seed: int | None = None,
    progress: float = 1.0,
) -> Rollout:
    """Let the policy write one list in every sub-environment.

    The state of the environment is the list itself, so all K items are drawn first, with one
    encoding of each history, and then played. The environment's reset must give
    ``infos["histories"]``, the H whole histories, with the lists of one history side by side. For a
    conditioned policy it also gives ``infos["reward_weights"]``, name -> weight or (H,) weights.

    Args:
        policy: policy that lists are drawn from, with dropout off.
        env: list-generation vector environment of n = H·G lists.
        k: K, items per list.
        generator: source of randomness of the policy's choices.
        seed: random seed of the environment's choice of histories; None continues its generator.
        progress: share of the training that is done, 0 to 1, for rewards that depend on it.
    """
    _, infos = env.reset(seed=seed, options={"progress": progress})
    histories: Sequences = infos["histories"]
    group_size = env.num_envs // len(histories)
    policy.eval()
    weights, by_term = None, {}
    if policy.ranges:
        by_term = {
            name: np.broadcast_to(weight, len(histories))
            for name, weight in infos["reward_weights"].items()
        }
        columns = [by_term[name] for name in policy.ranges]
        weights = _tensor(np.stack(columns, axis=1), policy.device)
    slates, _ = sample(
        policy, histories, k, generator=generator, group_size=group_size, weights=weights
    )
    rewards, gains = play(env, slates.flatten(0, 1).cpu().numpy())
    totals = {name: found.sum(axis=1) for name, found in gains.items()}
    std = _tensor(return_std(totals, by_term), policy.device) if policy.ranges else None
    return Rollout(
        histories,
        slates,
        r_t=_tensor(rewards, policy.device).view_as(slates),
        terms={name: float(total.mean()) for name, total in totals.items()},
        weights=weights,
        return_std=std,
    )


def return_std(
    totals: Mapping[str, NDArray[np.float64]], weights: Mapping[str, NDArray[np.float64]]
) -> Floats:
    """Standard deviation of the returns that the weights of a history imply.

    s_h = √ Σ_c w_hc²·σ_c², with σ_c² the variance of term c between the lists of one history,
    averaged over all histories. The advantages of a history are divided by it, so that histories
    with large weights do not dominate the gradient. It depends on the weights alone, not on the
    lists of that history: which list is best for a weight does not change.

    Args:
        totals: name of a term -> (H·G,) its unweighted sum over each list.
        weights: name of a term -> (H,).

    Returns:
        (H,).

    # two lists of each history: variance 1 and 0, mean 1/2
    >>> lists = {"a": np.array([0.0, 2.0, 5.0, 5.0])}
    >>> return_std(lists, {"a": np.array([2.0, 4.0])}).round(4).tolist()
    [1.4142, 2.8284]
    """
    variances = np.zeros(len(next(iter(weights.values()))))
    for name, total in totals.items():
        groups = total.reshape(len(variances), -1)
        # A single list per history does not vary within it: all lists together must do.
        within = groups.var(axis=1).mean() if groups.shape[1] > 1 else total.var()
        variances += weights[name] ** 2 * within
    std: Floats = np.sqrt(variances)
    return std


def play(
    env: VectorEnv[Any, Any, Any], slates: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Play complete lists in an environment that was just reset.

    Args:
        env: list-generation vector environment of n lists.
        slates: (n, K) item indices.

    Returns:
        (n, K) rewards, and reward name -> (n, K) unweighted gains.
    """
    rewards: list[NDArray[np.float64]] = []
    gains: dict[str, list[NDArray[np.float64]]] = {}
    for items in slates.T:
        _, reward, _, _, infos = env.step(items)
        rewards.append(reward)
        for name, found in infos["reward_terms"].items():
            gains.setdefault(name, []).append(found)
    by_name = {name: np.stack(found, axis=1) for name, found in gains.items()}
    return np.stack(rewards, axis=1), by_name


def _tensor(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Float32 tensor of an array; environments compute in float64."""
    return torch.from_numpy(values).float().to(device)
