"""A reward that is checked at every call: what goes wrong in it stops the run where it arises, and
says where."""

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
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward, WeightedSum

Fault = Literal["answers", "shape", "dtype", "finite"]
Rows = NDArray[np.int64]


class RewardError(GenrecError):
    """A reward raised, or returned something that is not a gain for every position.

    Attributes:
        fault: what went wrong.
        row: the list it went wrong on, None where no single list is to blame.
    """

    def __init__(self, message: str, fault: Fault, row: int | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.row = row

    def __reduce__(self) -> tuple[type["RewardError"], tuple[str, Fault, int | None]]:
        """So that it comes back whole from another process."""
        return type(self), (str(self), self.fault, self.row)


@dataclass(frozen=True)
class Checked(Reward):
    """A reward whose every answer is verified, and that sees no held-out item unless it says so:
    see ``checked``.

    Attributes:
        reward: the reward.
        reveal: show it held-out items all the same, to find out whether it reads them.
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
        context = self._shown(context)
        gains = self._answer(
            slates,
            slates,
            lambda: self.reward(slates, context),
            lambda rows: self.reward(slates[rows], context.take(rows)),
        )
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} at position {column + 1} of"
                f" {_shown(slates, row)}",
                "finite",
                int(row),
            )
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """Marginal gains (n, C), verified.

        Raises:
            RewardError: naming the reward, the position, the candidate and the list.
        """
        context = self._shown(context)
        reward = self.reward
        if type(reward).marginal is Reward.marginal:  # which looks at the last column alone
            reward = _Shaped(reward)
        gains = self._answer(
            slates,
            candidates,
            lambda: reward.marginal(slates, candidates, context),
            lambda rows: reward.marginal(slates[rows], candidates[rows], context.take(rows)),
        )
        if not np.isfinite(gains).all():
            row, column = np.argwhere(~np.isfinite(gains))[0]
            raise RewardError(
                f"reward {self.name!r} is {gains[row, column]} for item {candidates[row, column]}"
                " at position"
                f" {slates.shape[1] + 1} of {_shown(slates, row)}",
                "finite",
                int(row),
            )
        return gains

    def _shown(self, context: Context) -> Context:
        """The context without held-out items, unless the reward says that it reads them: no
        training has them then."""
        if self.reveal or "targets" in self.needs or not context.of_targets.any():
            return context
        return replace(context, of_targets=np.zeros_like(context.of_targets))

    def _answer(
        self,
        slates: Slates,
        items: Slates,
        ask: Callable[[], Floats],
        ask_some: Callable[[Rows], Floats],
    ) -> Floats:
        """The gains that ``ask`` gives, one for each of the items (n, m); ``ask_some`` finds the
        list it raises on."""
        try:
            with redirect_stdout(
                sys.stderr
            ):  # what a reward prints is no part of a command's answer
                array = np.asarray(ask())
        except RewardError:
            raise
        except Exception as error:
            row = _first_that_raises(ask_some, np.arange(len(slates)))
            lists = (
                _shown(slates, row)
                if row is not None
                else f"{len(slates)} lists together, {_shown(slates, 0)}"
            )
            tried = (
                ""
                if items is slates
                else f"{_candidate(items, row)}position {slates.shape[1] + 1} of "
            )
            raise RewardError(
                f"reward {self.name!r} raised {type(error).__name__}: {error} ({_place(error)}) on"
                f" {tried}{lists}",
                "answers",
                row,
            ) from error
        return _numbers(array, items.shape, self.name, slates)


@dataclass(frozen=True)
class _Shaped(Reward):
    """A reward without a marginal of its own, whose gains are verified before their last column is
    taken."""

    reward: Reward

    def __call__(self, slates: Slates, context: Context) -> Floats:
        return _numbers(
            np.asarray(self.reward(slates, context)), slates.shape, self.reward.name, slates
        )


def checked(reward: Reward) -> Reward:
    """The reward, with shape and finiteness of every answer verified; each term of a weighted sum
    on its own.

    A reward that does not declare that it needs targets finds them unknown (0) wherever it is
    asked, as in training: what is validated and reported is what was paid.

    The cost is one pass over the gains, small beside any reward.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.rewards.contract import FunctionReward
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


@contextmanager
def locate_errors(place: str) -> Iterator[None]:
    """Let a RewardError that passes through say where in a run it arose, such as "update 12"."""
    try:
        yield
    except RewardError as error:
        error.args = (f"{place}: {error}",)
        raise


def _shown(slates: Slates, row: int | np.signedinteger[Any]) -> str:
    return f"list {row}: {slates[row].tolist()}" if len(slates) else "no lists"


def _candidate(items: Slates, row: int | None) -> str:
    """The one item that is tried on a list, as in an environment; a re-ranker tries many."""
    return f"item {items[row, 0]} at " if row is not None and items.shape[1] == 1 else ""


def _numbers(array: NDArray[Any], shape: tuple[int, ...], name: str, slates: Slates) -> Floats:
    """The array as floating-point gains of that shape."""
    if array.shape != shape:
        raise RewardError(
            f"reward {name!r} returned shape {array.shape}, not one gain per item, {shape};"
            f" it was given lists such as {_shown(slates, 0)}",
            "shape",
        )
    if array.dtype.kind not in "fiub":
        raise RewardError(f"reward {name!r} returned {array.dtype} values, not numbers", "dtype")
    gains: Floats = array if array.dtype.kind == "f" else array.astype(np.float64)
    return gains


def _first_that_raises(ask: Callable[[Rows], Floats], rows: Rows) -> int | None:
    """A list on which ``ask`` raises when asked about it alone, found by halving; None where there
    is none."""
    while len(rows) > 1:
        half = len(rows) // 2
        rows = rows[:half] if _raises(ask, rows[:half]) else rows[half:]
    return int(rows[0]) if len(rows) and _raises(ask, rows) else None


def _raises(ask: Callable[[Rows], Floats], rows: Rows) -> bool:
    try:
        with redirect_stdout(sys.stderr):
            ask(rows)
    except Exception:
        return True
    return False


def _place(error: Exception) -> str:
    """File and line of an exception: the deepest line of the first file outside this room."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [
        frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent
    ] or list(frames)
    deepest = [frame for frame in outside if frame.filename == outside[0].filename][-1]
    return f"{Path(deepest.filename).name}, line {deepest.lineno}"
