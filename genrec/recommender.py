"""The interfaces of everything that recommends, scorers and recommenders, and sorting by score.

What a scorer of somebody else's returns is verified before it is sorted.
"""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences

PACKAGE = Path(__file__).parent
MAX_SCORES = 2**26  # numbers in a table of scores, 256 MiB in float32


class Scorer(Protocol):
    """Maps histories to one score per item."""

    @property
    def num_items(self) -> int:
        """V, the number of items."""
        ...

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores; column i is item i, column 0 (PAD) is -inf.

        Seen items are *not* filtered. The table may be one that the scorer keeps: its callers write
        into a copy, unless the scorer has an attribute ``makes_new_scores = True``.
        """
        ...


@runtime_checkable
class Ranker(Scorer, Protocol):
    """A scorer that finds its best items itself, possibly without a score for every item."""

    def best(self, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and items of the k best unseen items, both (B, k), best first.

        The result is that of sorting ``score``; ties go to the smaller item index. Every history
        leaves at least k unseen items.
        """
        ...


class Recommender(Protocol):
    """Maps histories to lists of items."""

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) slates of distinct items that are not in the history, best first.

        Raises:
            GenrecError: if a history leaves fewer than k items.
        """
        ...


@dataclass(frozen=True)
class TopK:
    """The recommender that sorts a scorer's scores, or calls ``best`` of a ``Ranker``.

    Attributes:
        scorer: the scorer.
        batch_size: histories scored at a time, of similar length, so that little is computed for
            padding and a batch stays in the cache; fewer if their scores are too many for the
            memory, see ``rows_at_once``.
    """

    scorer: Scorer
    batch_size: int = 64

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) unseen items with the highest scores; ties go to the smaller item index."""
        return self.candidates(histories, k)[0]

    def candidates(
        self, histories: Sequences, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k unseen items with the highest scores, and these scores, both (B, k)."""
        require_unseen(histories, self.scorer.num_items, k)
        slates = np.empty((len(histories), k), np.int64)
        scores = np.empty((len(histories), k), np.float32)
        order = np.argsort(histories.lengths, kind="stable")
        size = min(self.batch_size, rows_at_once(self.scorer.num_items))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            best, items = _best(self.scorer, histories.take(rows), k)
            slates[rows], scores[rows] = items.cpu().numpy(), best.float().cpu().numpy()
        return slates, scores


def _best(scorer: Scorer, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and items of the k best unseen items, both (B, k)."""
    if isinstance(scorer, Ranker):
        return _best_of_ranker(scorer, histories, k)
    scores = unseen_scores(scorer, histories)
    require_choice(scores, k)
    return top_k(scores, k)


def _best_of_ranker(
    ranker: Ranker, histories: Sequences, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a ranker's ``best`` returns, verified.

    Raises:
        GenrecError: if it is something else than k unseen items of each history and their scores.
    """
    name, shape = f"{type(ranker).__name__}.best", (len(histories), k)
    with _given(ranker, name, histories) as given:
        found = ranker.best(given, k)
    is_pair = isinstance(found, tuple | list) and len(found) == 2
    if not is_pair or not all(isinstance(each, torch.Tensor) for each in found):
        raise GenrecError(f"{name} returned a {type(found).__name__}, not {_pair(shape)}")
    best, items = (each.detach() for each in found)
    kinds = best.is_floating_point(), items.dtype in (torch.int64, torch.int32)
    if best.shape != shape or items.shape != shape or not all(kinds):
        raise GenrecError(
            f"{name} returned {best.dtype} scores of shape {tuple(best.shape)} and {items.dtype}"
            f" items of shape {tuple(items.shape)}, not {_pair(shape)}"
        )
    if best.numel() and not bool(best.amax() < torch.inf):
        raise GenrecError(f"{name} returned a score that is NaN or infinity: -inf is allowed")
    _require_unseen_items(items.cpu().numpy(), histories, num_items=ranker.num_items, name=name)
    return best, items


def _pair(shape: tuple[int, int]) -> str:
    return (
        f"two tensors of shape (B, k), here {shape}: the scores as floats, and the item indices as"
        " int64, best first"
    )


def _require_unseen_items(
    items: NDArray[np.integer], histories: Sequences, *, num_items: int, name: str
) -> None:
    """Raise GenrecError where rows (B, k) are not different items, new to their histories."""
    order, rows = np.sort(items, axis=1), np.arange(len(items))[:, None]
    repeats = np.zeros(items.shape, np.bool_)
    repeats[:, 1:] = order[:, 1:] == order[:, :-1]
    known = histories.rows() * (num_items + 1) + histories.items
    for wrong, values, why in (
        ((items < 1) | (items > num_items), items, f"which is not one of 1 to {num_items}"),
        (repeats, order, "twice"),
        (np.isin(rows * (num_items + 1) + items, known), items, "which is in the history"),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise GenrecError(
                f"{name} returned for history {row} item {values[row, column]}, {why}: return"
                " different items that are new to the user"
            )


def scores_of(scorer: Scorer, histories: Sequences) -> torch.Tensor:
    """(B, V+1) what a scorer returns, of which type and shape are verified.

    Args:
        scorer: the scorer.
        histories: B whole histories, which stay as they are.

    Raises:
        GenrecError: if the scorer does not return such a table, or changes the histories; if one of
            the user's own raises an exception or exits.
    """
    name, shape = f"{type(scorer).__name__}.score", (len(histories), scorer.num_items + 1)
    with _given(scorer, name, histories) as given:
        scores = scorer.score(given)
    if not isinstance(scores, torch.Tensor):
        raise GenrecError(f"{name} returned a {type(scores).__name__}: {_table(shape)}")
    if scores.shape != shape or not scores.is_floating_point():
        raise GenrecError(
            f"{name} returned {scores.dtype} of shape {tuple(scores.shape)}: {_table(shape)}"
        )
    return scores.detach()


def _table(shape: tuple[int, int]) -> str:
    return (
        f"return a float torch.Tensor of shape (B, V+1), here {shape}: column i is the score of"
        " item i, and column 0 (PAD) is ignored"
    )


def unseen_scores(scorer: Scorer, histories: Sequences) -> torch.Tensor:
    """(B, V+1) the scores of a scorer, verified, with -inf for PAD and all items of the history.

    A table that the scorer may keep for itself is copied before anything is written into it.

    Args:
        scorer: the scorer.
        histories: B whole histories.

    Raises:
        GenrecError: if the scorer does not return such a table of numbers; it says what to return.
    """
    scores = scores_of(scorer, histories)
    if not getattr(scorer, "makes_new_scores", False):
        scores = scores.clone()
    scores = mask_seen(scores, histories)
    # The largest of all is NaN where any is; -inf says that an item is never recommended.
    if scores.numel() and not bool(scores.amax() < torch.inf):
        row, item = (~(scores < torch.inf)).nonzero()[0].tolist()
        raise GenrecError(
            f"{type(scorer).__name__}.score returned {scores[row, item]:g} for item {item} of"
            f" history {row}: {_table((len(scores), scores.shape[1]))}; a score is a number, or"
            " -inf for an item that is never recommended"
        )
    return scores


@contextmanager
def _given(scorer: Scorer, name: str, histories: Sequences) -> Iterator[Sequences]:
    """Copies of the histories for one call of a scorer, so that it cannot change what others read.

    Raises:
        GenrecError: if an item is not in the catalogue, or the scorer changes the histories; if one
            of the user's own raises or exits.
    """
    low, high = histories.items.min(initial=1), histories.items.max(initial=1)
    if low < 1 or high > scorer.num_items:
        raise GenrecError(
            f"a history has item {low if low < 1 else high}: items are 1 to {scorer.num_items}"
        )
    times = histories.times
    given = Sequences(
        histories.offsets.copy(),
        histories.items.copy(),
        None if times is None else times.copy(),
    )
    # A defect of this package keeps its traceback.
    with errors_of(name) if is_of_the_user(scorer) else nullcontext():
        yield given
    same = np.array_equal(given.items, histories.items) and np.array_equal(
        given.offsets, histories.offsets
    )
    if given.times is not None and times is not None:
        same = same and np.array_equal(given.times, times)
    if not same:
        raise GenrecError(f"{name} changes the histories that it is given: copy them first")


@contextmanager
def errors_of(what: str) -> Iterator[None]:
    """Code of the user's own: its errors name it, and what it prints goes to standard error.

    Args:
        what: runs inside the context, such as "teacher './mine.py:Mine'".

    Raises:
        GenrecError: for an exception of any kind, or an exit, that is not one of this package.
    """
    try:
        with redirect_stdout(sys.stderr):  # what it prints is not a command's output
            yield
    except (Exception, SystemExit) as error:
        # Those of this package say what is wrong; one of them stops a training that was saved.
        if not is_of_the_user(error):
            raise
        place = outside_line(traceback.extract_tb(error.__traceback__))
        path = Path(place.filename)
        where = "" if PACKAGE in path.parents else f" ({path.name}, line {place.lineno})"
        raise GenrecError(f"{what} raised {type(error).__name__}: {error}{where}") from error


def is_of_the_user(found: object) -> bool:
    """Whether the class of an object is defined outside this package."""
    return type(found).__module__.partition(".")[0] != __name__.partition(".")[0]


def outside_line(frames: Sequence[traceback.FrameSummary]) -> traceback.FrameSummary:
    """The deepest line of the first file outside this package, or of all where there is none.

    Args:
        frames: a traceback, at least one frame, the outermost first.
    """
    outside = [frame for frame in frames if PACKAGE not in Path(frame.filename).parents] or frames
    return [frame for frame in outside if frame.filename == outside[0].filename][-1]


def top_k(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest scores of each row and their columns, both (B, k).

    Ties go to the smaller column, on every device.
    """
    # ``torch.topk`` is fast but orders ties arbitrarily. One value more than needed shows whether
    # there are ties that matter, and only these rows are sorted.
    values, columns = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    values, columns = values[:, :k].clone(), columns[:, :k].clone()
    if tied.any():
        exact = torch.sort(scores[tied], dim=1, descending=True, stable=True)
        values[tied], columns[tied] = exact.values[:, :k], exact.indices[:, :k]
    return values, columns


def mask_seen(scores: torch.Tensor, histories: Sequences) -> torch.Tensor:
    """Set the scores of all items of each history and of PAD to -inf, in place.

    Args:
        scores: (B, V+1).
        histories: B whole histories.

    Returns:
        The scores.
    """
    rows = torch.from_numpy(histories.rows()).to(scores.device)
    items = torch.from_numpy(histories.items.astype(np.int64)).to(scores.device)
    scores[rows, items] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores


def require_choice(scores: torch.Tensor, k: int) -> None:
    """Check that every row of masked scores (B, V+1) leaves at least k items.

    Raises:
        GenrecError: naming the first row with the fewest items.
    """
    allowed = (scores > -torch.inf).sum(dim=1)
    _require(allowed.cpu().numpy(), scores.shape[1] - 1, k)


def require_unseen(histories: Sequences, num_items: int, k: int) -> None:
    """Check that every history leaves at least k of V items.

    Raises:
        GenrecError: naming the first row with the fewest items.
    """
    _require(num_items - histories.distinct(), num_items, k)


def _require(allowed: NDArray[np.int64], num_items: int, k: int) -> None:
    if len(allowed) and allowed.min() < k:
        raise GenrecError(
            f"a list of {k} items was requested, but only {allowed.min()} of {num_items} items are"
            f" new to the user in row {allowed.argmin()}; request a shorter list"
        )


def batches(histories: Sequences, size: int) -> Iterator[Sequences]:
    """The histories in batches of ``size``, in their order."""
    for start in range(0, len(histories), size):
        yield histories.take(np.arange(start, min(start + size, len(histories))))


def rows_at_once(num_items: int) -> int:
    """How many histories to score at a time, so that their scores (B, V+1) take at most 256 MiB.

    >>> rows_at_once(1_000_000)
    67
    """
    return max(1, MAX_SCORES // (num_items + 1))
