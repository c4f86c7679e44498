"""Rewards that are checked at every call.

What goes wrong in a reward stops the run where it happens, and the message says where that is.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.metrics.context import Context, Floats, Slates, read_only, read_only_view
from genrec.recommender import outside_line
from genrec.rewards.contract import Reward, WeightedSum

Fault = Literal["runs", "shape", "dtype", "finite", "inputs"]
"""The check that a reward failed; a key of ``genrec.rewards.audit.MEANING``."""
Rows = NDArray[np.int64]


class RewardError(GenrecError):
    """A reward raised an exception, or returned anything but one finite gain per position.

    Attributes:
        fault: the check that it failed.
        row: index of the list on which it failed; None where no single list is the cause.
    """

    def __init__(self, message: str, fault: Fault, row: int | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.row = row

    def __reduce__(self) -> tuple[type["RewardError"], tuple[str, Fault, int | None]]:
        """Keep all attributes when the error is pickled, as between processes."""
        return type(self), (str(self), self.fault, self.row)


@dataclass(frozen=True)
class Checked(Reward):
    """A reward whose every result is verified; see ``checked``.

    Attributes:
        reward: the reward.
        reveal: show it the held-out items even if it does not declare that it needs them, to find
            out whether it reads them.
    """

    reward: Reward
    reveal: bool = False

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
        context, slates = self._visible(context), read_only_view(slates)
        gains = self._verified(
            slates,
            slates,
            call=lambda: self.reward(slates, context),
            call_on=lambda rows: self.reward(slates[rows], context.take(rows)),
        )
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} at position {column + 1} of"
                f" {_describe(slates, row)}",
                "finite",
                int(row),
            )
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """Marginal gains (n, C), verified.

        Raises:
            RewardError: naming the reward, the position, the candidate and the list.
        """
        context, slates = self._visible(context), read_only_view(slates)
        candidates = read_only_view(candidates)
        reward = self.reward
        if type(reward).marginal is Reward.marginal:  # takes the last column: verify all of them
            reward = _ShapeChecked(reward)
        gains = self._verified(
            slates,
            candidates,
            call=lambda: reward.marginal(slates, candidates, context),
            call_on=lambda rows: reward.marginal(
                slates[rows], candidates[rows], context.take(rows)
            ),
        )
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} for item {candidates[row, column]}"
                f" at position {slates.shape[1] + 1} of {_describe(slates, row)}",
                "finite",
                int(row),
            )
        return gains

    def _visible(self, context: Context) -> Context:
        """The context, read-only, without targets unless the reward declares that it reads them.

        A training has no targets for a reward that does not ask for them, so that validation must
        not have any either.
        """
        context = read_only(context)
        if self.reveal or "targets" in self.needs or not context.of_targets.any():
            return context
        return replace(context, of_targets=read_only_view(np.zeros_like(context.of_targets)))

    def _verified(
        self,
        slates: Slates,
        items: Slates,
        *,
        call: Callable[[], Floats],
        call_on: Callable[[Rows], Floats],
    ) -> Floats:
        """The gains that ``call`` returns, one for each of the items (n, m).

        Args:
            slates: (n, j) the lists.
            items: (n, m) what there must be gains for: the lists themselves, or candidates.
            call: calls the reward.
            call_on: calls it on some of the lists, to find one that it raises on.

        Raises:
            RewardError: if it raises, writes into what it is given, or returns another shape or no
                numbers.
        """
        try:
            with redirect_stdout(sys.stderr):  # what a reward prints is not a command's output
                array = np.asarray(call())
        except RewardError:
            raise  # a term of a sum has already said what is wrong
        except (Exception, SystemExit) as error:  # a reward may not end the command either
            if isinstance(error, ValueError) and "read-only" in str(error):
                raise RewardError(
                    f"reward {self.name!r} writes into the lists or the context that it is given"
                    f" ({_place(error)}): copy them first",
                    "inputs",
                ) from error
            row = _first_that_raises(call_on, np.arange(len(slates)))
            where = "" if items is slates else _candidate(items, row, slates.shape[1] + 1)
            lists = f"{len(slates)} lists together, " if row is None else ""
            raise RewardError(
                f"reward {self.name!r} raised {type(error).__name__}: {error} ({_place(error)}) on"
                f" {where}{lists}{_describe(slates, row or 0)}",
                "runs",
                row,
            ) from error
        return _gains(array, items.shape, name=self.name, slates=slates)


@dataclass(frozen=True)
class _ShapeChecked(Reward):
    """A reward without a marginal of its own, whose gains are verified as a whole.

    ``Reward.marginal`` takes their last column, which exists even where the shape is wrong.
    """

    reward: Reward

    def __call__(self, slates: Slates, context: Context) -> Floats:
        gains = np.asarray(self.reward(slates, context))
        return _gains(gains, slates.shape, name=self.reward.name, slates=slates)


def checked(reward: Reward) -> Reward:
    """The reward with every result verified: its shape, and that all gains are finite numbers.

    The terms of a weighted sum are checked one by one. For a reward that does not declare that it
    needs targets, they are unknown (0) in every call, as they are in training: what is validated
    and reported is what was paid.

    The cost is one pass over the gains, which is small beside any reward.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.rewards.contract import FunctionReward
    >>> catalogue = make_catalogue(["a", "b"])
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> wrong = FunctionReward(lambda slates, context: np.array([[0.5, np.nan]]), "wrong")
    >>> checked(wrong)(np.array([[2, 1]]), context)
    Traceback (most recent call last):
        ...
    genrec.rewards.check.RewardError: reward 'wrong' is nan at position 2 of list 0: [2, 1]
    """
    if isinstance(reward, Checked):
        return reward
    # Term by term, so that the message names the term and not the whole sum.
    if isinstance(reward, WeightedSum):
        return WeightedSum(tuple((checked(term), weight) for term, weight in reward.terms))
    return Checked(reward)


@contextmanager
def locate_errors(place: str) -> Iterator[None]:
    """Let a RewardError that passes through say where in a run it happened, such as "update 12"."""
    try:
        yield
    except RewardError as error:
        error.args = (f"{place}: {error}",)
        raise


def _describe(slates: Slates, row: int | np.signedinteger[Any]) -> str:
    return f"list {row}: {slates[row].tolist()}" if len(slates) else "no lists"


def _candidate(items: Slates, row: int | None, position: int) -> str:
    """Where a candidate was tried; named itself where there is one per list, as in environments."""
    item = f"item {items[row, 0]} at " if row is not None and items.shape[1] == 1 else ""
    return f"{item}position {position} of "


def _gains(array: NDArray[Any], shape: tuple[int, ...], *, name: str, slates: Slates) -> Floats:
    """What a reward returned as floating-point gains of that shape.

    Raises:
        RewardError: if it has another shape, or does not hold numbers.
    """
    if array.shape != shape:
        raise RewardError(
            f"reward {name!r} returned shape {array.shape}, not one gain per item, {shape};"
            f" it was given lists such as {_describe(slates, 0)}",
            "shape",
        )
    if array.dtype.kind not in "fiub":
        raise RewardError(f"reward {name!r} returned {array.dtype} values, not numbers", "dtype")
    gains: Floats = array if array.dtype.kind == "f" else array.astype(np.float64)
    return gains


def _first_that_raises(call_on: Callable[[Rows], Floats], rows: Rows) -> int | None:
    """A list that raises an exception by itself, found by bisection; None where there is none."""
    # Asking list by list would take n calls of a reward that may be slow.
    while len(rows) > 1:
        half = len(rows) // 2
        rows = rows[:half] if _raises(call_on, rows[:half]) else rows[half:]
    return int(rows[0]) if len(rows) and _raises(call_on, rows) else None


def _raises(call_on: Callable[[Rows], Floats], rows: Rows) -> bool:
    try:
        with redirect_stdout(sys.stderr):
            call_on(rows)
    except (Exception, SystemExit):
        return True
    return False


def _place(error: BaseException) -> str:
    """File and line of an exception: the deepest line of the first file outside this package."""
    place = outside_line(traceback.extract_tb(error.__traceback__))
    return f"{Path(place.filename).name}, line {place.lineno}"
