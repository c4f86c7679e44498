"""Adapter from genrec's vector environment to stable-baselines3's VecEnv."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from genrec.data.sequences import Sequences
from genrec.rewards.check import locate_errors

Observation = dict[str, NDArray[Any]]
Infos = list[dict[str, Any]]


def unpadded(ids: NDArray[Any]) -> Sequences:
    """The ids of each row of (N, W) that are not PAD, in order.

    >>> [row.tolist() for row in unpadded(np.array([[0, 3, 4], [5, 0, 0]]))]
    [[3, 4], [5]]
    """
    real = ids != 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    return Sequences(offsets, ids[real].astype(np.int32))


def forbidden_ids(masks: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    """Masks as the ids of forbidden items.

    Args:
        masks: booleans (N, V+1), True where allowed; or ids (N, W), which are returned as they are.

    Returns:
        Forbidden ids, with 0 as filler: (N, V+1) for booleans, (N, W) for ids.

    >>> forbidden_ids(np.array([[False, True, False, True]])).tolist()
    [[0, 0, 2, 0]]
    """
    array = np.asarray(masks.cpu() if isinstance(masks, torch.Tensor) else masks)
    if array.dtype != np.bool_:
        return array
    return np.where(array, 0, np.arange(array.shape[1]))


class ListVecEnv(VecEnv):
    """List-generation vector environment for stable-baselines3's algorithms.

    Observations are ids, ``history`` (n, T) and ``slate`` (n, K). Complete lists are followed by
    the start of new ones, as VecEnv requires, and reported as `Monitor` would.
    ``env_method("action_masks")`` gives for each list not V+1 booleans but the ids that it may not
    take, the whole history and the list so far, with 0 as filler: `GPTRecPolicy` reads either form.

    Args:
        env: vector environment whose lists all start and end together; its reset gives
            ``infos["histories"]``, its steps ``infos["reward_terms"]``.
        episodes: number of list starts in the whole training, so that rewards can depend on its
            progress; None leaves the progress out.

    Attributes:
        mean_return: mean return of the last complete lists.
        terms: reward name -> mean unweighted sum of its gains over one of those lists.
        episode: number of list starts since the last `seed`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], episodes: int | None = None) -> None:
        self.env = env
        self.episodes = episodes
        self.mean_return = 0.0
        self.terms: dict[str, float] = {}
        self.episode = 0
        self._seed: int | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the random seed from the next reset on.

        Start number e is drawn with ``seed``·1,000,003 + e, so that a resumed training draws the
        same lists; None continues the environment's generator.
        """
        self._seed, self.episode = seed, 0
        return [seed] * self.num_envs

    def reset(self) -> Observation:
        """Start new lists."""
        seed = None if self._seed is None else self._seed * 1_000_003 + self.episode
        progress = {"progress": min(1.0, self.episode / self.episodes)} if self.episodes else {}
        self._observation: Observation
        self._observation, infos = self.env.reset(seed=seed, options=progress | self._options[0])
        self._reset_options()
        self.episode += 1
        histories: Sequences = infos["histories"]
        lists_per_history = self.num_envs // len(histories)
        self._seen = np.repeat(histories.padded().astype(np.int32), lists_per_history, axis=0)
        self._returns = np.zeros(self.num_envs)
        self._gains: dict[str, float] = {}
        return self._observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the items to place; ``step_wait`` places them."""
        self._actions = actions

    def step_wait(self) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], Infos]:
        """Place one item in every list."""
        with locate_errors(f"update {self.episode}"):
            self._observation, rewards, terminated, truncated, infos = self.env.step(self._actions)
        self._returns += rewards
        for name, gains in infos["reward_terms"].items():
            self._gains[name] = self._gains.get(name, 0.0) + float(gains.mean())
        dones = terminated | truncated
        ends: Infos = [{} for _ in range(self.num_envs)]
        if dones.all():
            ends = self._episode_ends()
            self.mean_return, self.terms = float(self._returns.mean()), self._gains
            self.reset()
        return self._observation, rewards.astype(np.float32), dones, ends

    def forbidden(self) -> NDArray[np.int32]:
        """(n, W) ids that each list may not take now, 0 as filler."""
        return np.concatenate([self._seen, self._observation["slate"]], axis=1)

    def close(self) -> None:
        """Close the wrapped environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Attribute of the wrapped environment, repeated for each list."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the wrapped environment, which all lists share."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Forbidden ids of each list for ``"action_masks"``, the only method of a single list.

        Raises:
            AttributeError: for any other method.
        """
        if method_name != "action_masks":
            raise AttributeError(
                f"no method {method_name!r} of a single list here; call it on .env, for all of them"
            )
        ids = self.forbidden()
        return [ids[index] for index in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """True for `Monitor`, whose report of an episode is part of the infos here."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _episode_ends(self) -> Infos:
        """Infos of complete lists: last observation, and return and length as of `Monitor`."""
        last, length = self._observation, self._observation["slate"].shape[1]
        return [
            {
                "terminal_observation": {key: value[i] for key, value in last.items()},
                "episode": {"r": total, "l": length},
            }
            for i, total in enumerate(self._returns.tolist())
        ]
