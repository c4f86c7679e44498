"""A reward that is checked at every call: wrong shapes and non-finite gains stop the run where they arise."""

from dataclasses import dataclass

import numpy as np

from genrec.metrics import Context, Floats, Slates
from genrec.rewards.reward import Reward, WeightedSum


class RewardError(ValueError):
    """A reward returned something that is not a gain for every position."""


@dataclass(frozen=True)
class Checked(Reward):
    """A reward whose every answer is verified: see ``checked``."""

    reward: Reward

    @property
    def name(self) -> str:
        """The reward's name."""
        return self.reward.name

    @property
    def needs(self) -> frozenset[str]:
        """What the reward needs."""
        return self.reward.needs

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j), verified.

        Raises:
            RewardError: naming the reward, the position and the list.
        """
        gains = _of_shape(self.reward(slates, context), slates.shape, self.name)
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} at position {column + 1} of list {row}:"
                f" {slates[row].tolist()}"
            )
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """Marginal gains (n, C), verified.

        Raises:
            RewardError: naming the reward, the position, the candidate and the list.
        """
        gains = _of_shape(self.reward.marginal(slates, candidates, context), candidates.shape, self.name)
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} for item {candidates[row, column]} at position"
                f" {slates.shape[1] + 1} of list {row}: {slates[row].tolist()}"
            )
        return gains


def checked(reward: Reward) -> Reward:
    """The reward, with shape and finiteness of every answer verified; each term of a weighted sum on its own.

    The cost is one pass over the gains, small beside any reward.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.rewards.reward import FunctionReward
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b"]), k=2)
    >>> wrong = FunctionReward(lambda slates, context: np.array([[0.5, np.nan]]), "wrong")
    >>> checked(wrong)(np.array([[2, 1]]), context)
    Traceback (most recent call last):
        ...
    genrec.rewards.check.RewardError: reward 'wrong' is nan at position 2 of list 0: [2, 1]
    """
    if isinstance(reward, Checked):
        return reward
    if isinstance(reward, WeightedSum):
        return WeightedSum(tuple((checked(term), weight) for term, weight in reward.terms))
    return Checked(reward)


def _of_shape(gains: Floats, shape: tuple[int, ...], name: str) -> Floats:
    array = np.asarray(gains)
    if array.shape != shape:
        raise RewardError(f"reward {name!r} returned shape {array.shape}, not one gain per item, {shape}")
    if array.dtype.kind not in "fiub":
        raise RewardError(f"reward {name!r} returned {array.dtype} values, not numbers")
    numbers: Floats = array if array.dtype.kind == "f" else array.astype(np.float64)
    return numbers
