"""Reading rewards in every form that they may be given in: text, objects, functions, pairs."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TypeGuard, cast

from genrec.config.components import Modules
from genrec.config.errors import GenrecError
from genrec.rewards.contract import Reward, WeightedSum
from genrec.rewards.ranges import middle_weight, read_weight, require_ranges, split_spec
from genrec.rewards.registry import GainFunction, as_reward, resolve

Weight = float | tuple[float, float]
"""One number, or the low and the high end of a range."""
RewardLike = str | Reward | type[Reward] | GainFunction
"""A spec such as ``diversity=0.3``, a reward, or a function ``(slates, context) -> gains``."""
WeightedReward = RewardLike | tuple[RewardLike, Weight]
"""A reward, or a reward and its weight."""


@dataclass(frozen=True)
class GivenReward:
    """A reward as it was given.

    Attributes:
        reward: the reward.
        ends: low and high end of its weight, which are equal for one number; None where no weight
            was stated.
        target: the name or place in its spec; None for an object.
        found: the object that was given; the reward itself where a spec was.
    """

    reward: Reward
    ends: tuple[float, float] | None
    target: str | None
    found: object

    @property
    def weight(self) -> float:
        """The weight, 1 where none was stated; the middle one of a range (``middle_weight``)."""
        return middle_weight(*(self.ends or (1.0, 1.0)))


def read_reward(given: WeightedReward, modules: Modules) -> GivenReward:
    """A reward in any of its forms.

    Args:
        given: ``target``, ``target=weight``, ``target=low:high``, a reward, a function, or a pair
            of a target or object and its weight.
        modules: files that were executed before; see ``genrec.config.components.load_object``.

    Raises:
        GenrecError: for an unknown reward, a weight that is not a finite number, or a range that
            does not rise.
    """
    if isinstance(given, str):
        # "diversity=" is an error, while "diversity" has the default weight: both have no text.
        target, text = split_spec(given)
        ends = None if target == given else read_weight(text, target)
        reward = resolve(target, modules)
        return GivenReward(reward, ends, target, reward)
    if not _is_pair(given):
        return GivenReward(as_reward(given), None, None, given)
    found, weight = given
    target_of_pair = found if isinstance(found, str) else None
    reward = resolve(found, modules) if isinstance(found, str) else as_reward(found)
    return GivenReward(reward, ends_of(weight, reward.name), target_of_pair, found)


def ends_of(weight: Weight, name: str) -> tuple[float, float]:
    """Low and high end of a weight.

    Raises:
        GenrecError: if it is not a finite number, or a range that does not rise.
    """
    # The text of a float is exact, and the messages are those of weights in specs.
    if not isinstance(weight, tuple):
        return read_weight(str(float(weight)), name)
    low, high = (float(end) for end in weight)
    require_ranges({name: (low, high)})
    return low, high


def listed(rewards: WeightedReward | Iterable[WeightedReward]) -> list[WeightedReward]:
    """One reward, or several, as a list; the terms of a weighted sum as pairs."""
    if isinstance(rewards, WeightedSum):
        return list(rewards.terms)
    # Text is iterable and a pair is a tuple: neither is a collection of rewards here.
    if isinstance(rewards, str) or callable(rewards) or _is_pair(rewards):
        return [rewards]
    return list(cast(Iterable[WeightedReward], rewards))


def weighted(rewards: Iterable[WeightedReward]) -> WeightedSum:
    """The weighted sum of several rewards; a range counts with its middle weight.

    Args:
        rewards: specs, rewards, functions and pairs of these with a weight, in any mixture; a
            weight that is not stated is 1.

    Raises:
        GenrecError: if there are none, one cannot be found, or two have the same name (their terms
            could not be distinguished).

    >>> def even(slates, context):
    ...     return (slates % 2 == 0) / context.k
    >>> weighted(["relevance", "diversity=0.5", even]).name
    'relevance+0.5*diversity+even'
    """
    modules: Modules = {}
    given = [read_reward(each, modules) for each in rewards]
    if not given:
        raise GenrecError("no reward given; write for instance ndcg or diversity=0.5")
    require_different_names([each.reward.name for each in given])
    return WeightedSum(tuple((each.reward, each.weight) for each in given))


def as_weighted_sum(rewards: WeightedReward | Iterable[WeightedReward]) -> WeightedSum:
    """One reward, or several, as the weighted sum that environments and stages take.

    Args:
        rewards: what ``weighted`` takes, or one such reward; a weighted sum is returned as it is.

    Raises:
        GenrecError: as ``weighted``.

    >>> as_weighted_sum("diversity=0.5").terms
    ((Diversity(), 0.5),)
    """
    return rewards if isinstance(rewards, WeightedSum) else weighted(listed(rewards))


def require_different_names(names: list[str]) -> None:
    """Raise GenrecError where two rewards have the same name."""
    if len(set(names)) < len(names):
        raise GenrecError(f"rewards {names} share a name; give each once, with its whole weight")


def _is_pair(given: object) -> TypeGuard[tuple[RewardLike, Weight]]:
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    ends = given[1] if isinstance(given[1], tuple) else (given[1],) * 2
    return len(ends) == 2 and all(isinstance(end, Real) for end in ends)
