"""Dense surrogates of sparse rewards, which greedy selection can follow."""

from typing import Protocol, runtime_checkable

from genrec.rewards.contract import Reward, WeightedSum


@runtime_checkable
class HasSurrogate(Protocol):
    """A sparse reward that offers a dense surrogate of itself.

    A reward that is paid for whole lists (``genrec.rewards.terminal``) is zero until the last
    position, so that greedy selection learns nothing from it before. Where the same function also
    has a meaning for an unfinished list, the reward offers that as its surrogate, for instance in
    the form of ``genrec.rewards.telescoped``. Lists are still evaluated by the reward itself.
    """

    @property
    def surrogate(self) -> Reward:
        """The dense reward that greedy selection maximises instead."""
        ...


def with_surrogates(reward: Reward) -> Reward:
    """The reward with its surrogate, or those of its terms, where there is one."""
    if isinstance(reward, WeightedSum):
        return WeightedSum(tuple((with_surrogates(term), weight) for term, weight in reward.terms))
    return reward.surrogate if isinstance(reward, HasSurrogate) else reward
