"""The contract of a reward."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Context, Slates
from genrec.rewards.audit import audit_reward
from genrec.rewards.contract import Reward
from genrec.testing.conditions import require, require_close
from genrec.testing.examples import example_lists


def check_reward(
    reward: Reward, slates: Slates | None = None, context: Context | None = None
) -> None:
    """Check that a reward keeps its contract.

    It returns one finite number per position for lists of any length; is causal, deterministic and
    independent of the other lists; modifies nothing that it is given; reads only what it declares;
    and ``marginal``, over all items, is the gain of the next position.

    Args:
        reward: the reward.
        slates: (n, K) lists, at least 4; ``example_lists`` by default.
        context: their context; required with ``slates``.

    Raises:
        ContractError: naming the reward and the part of the contract.

    >>> from genrec.rewards import Diversity, FunctionReward
    >>> check_reward(Diversity())
    >>> def relative(slates, context):
    ...     return slates / slates.max(axis=1, keepdims=True)
    >>> check_reward(FunctionReward(relative, "relative"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    genrec.testing.conditions.ContractError: reward 'relative' is not causal: gains of the first ...
    """
    if slates is None or context is None:
        slates, context = example_lists()
    for check in REWARD_CHECKS.values():
        check(reward, slates.copy(), context)


def one_number_per_position(reward: Reward, slates: Slates, context: Context) -> None:
    """Gains have the shape of the lists and are finite numbers, for every number of positions."""
    for width in range(1, slates.shape[1] + 1):
        gains = np.asarray(reward(slates[:, :width], context))
        subject = f"reward {reward.name!r}, lists of {width} items"
        require(
            gains.shape == (len(slates), width),
            f"{subject}: gains have shape {gains.shape}, not {(len(slates), width)}",
        )
        require(gains.dtype.kind in "fiub", f"{subject}: gains are {gains.dtype}, not numbers")
        require(np.isfinite(gains).all(), f"{subject}: a gain is not finite")


def causality(reward: Reward, slates: Slates, context: Context) -> None:
    """Gains do not change if later items are left out, or others stand in their place."""
    subject = f"reward {reward.name!r} is not causal: gains of the first"
    whole = reward(slates, context)
    for j in range(1, slates.shape[1]):
        shorter = reward(slates[:, :j], context)
        require_close(shorter, whole[:, :j], f"{subject} {j} positions change without the others")
        # Leaving later items out can go unnoticed where only their number is read.
        changed = slates.copy()
        changed[:, j:] = slates[::-1, j:]
        other = reward(changed, context)[:, :j]
        require_close(other, whole[:, :j], f"{subject} {j} positions change with later items")


def marginal_gains(reward: Reward, slates: Slates, context: Context) -> None:
    """``marginal`` of any item is the gain of the list that it makes longer."""
    items = np.arange(1, context.catalogue.num_items + 1)
    candidates = np.tile(items, (len(slates), 1))
    whole = reward(slates, context)
    for j in range(slates.shape[1]):
        subject = f"reward {reward.name!r}: marginal() at position {j + 1}"
        closed = reward.marginal(slates[:, :j], candidates, context)
        general = Reward.marginal(reward, slates[:, :j], candidates, context)
        require_close(closed, general, f"{subject} is not the gain of the longer list")
        own = reward.marginal(slates[:, :j], slates[:, j : j + 1], context)[:, 0]
        require_close(own, whole[:, j], f"{subject} of the item that is there is not its gain")


def independence(reward: Reward, slates: Slates, context: Context) -> None:
    """The same list gets the same gains again, in another order and beside other lists."""
    gains = reward(slates, context)
    subject = f"reward {reward.name!r}"
    again = reward(slates, context)
    require_close(again, gains, f"{subject} is not deterministic", atol=0)
    # Other neighbours, another order, and one list twice.
    order = np.array([len(slates) - 3, 0, 3, 3])
    message = f"{subject}: the gains of a list depend on the other lists"
    require_close(reward(slates[order], context.take(order)), gains[order], message)


def unchanged_inputs(reward: Reward, slates: Slates, context: Context) -> None:
    """Neither the lists nor the catalogue are modified."""
    catalogue = context.catalogue
    given: list[NDArray[Any]] = [slates, catalogue.vectors, catalogue.counts]
    before = [array.copy() for array in given]
    reward.marginal(slates[:, : slates.shape[1] // 2], slates, context)
    reward(slates, context)
    for name, array, copy in zip(("lists", "vectors", "counts"), given, before, strict=True):
        require(np.array_equal(array, copy), f"reward {reward.name!r} modifies the {name}")


def audit(reward: Reward, slates: Slates, context: Context) -> None:
    """``genrec rewards check`` finds nothing either: also not halfway through a training."""
    for finding in audit_reward(reward, slates, context).findings:
        # A reward may pay for what none of these few items has.
        require(
            finding.passed or finding.check == "varies",
            f"reward {reward.name!r}, {finding.check}: {finding.message} {list(finding.slate)}",
        )


REWARD_CHECKS: Mapping[str, Callable[[Reward, Slates, Context], None]] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            one_number_per_position,
            causality,
            marginal_gains,
            independence,
            unchanged_inputs,
            audit,
        )
    }
)
"""Name -> check of a reward on lists; ``check_reward`` runs them all."""
