"""The interfaces of everything that recommends, scorers and recommenders, and sorting by score."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences

MAX_SCORES = 2**26  # numbers in a table of scores, 256 MiB in float32


class Scorer(Protocol):
    """Maps histories to one score per item."""

    @property
    def num_items(self) -> int:
        """V, the number of items."""
        ...

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores; column i is item i, column 0 (PAD) is -inf.

        Seen items are *not* filtered.
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
        batch_size: histories scored at a time; fewer if their scores are too many for the memory,
            see ``rows_at_once``.
    """

    scorer: Scorer
    batch_size: int = 512

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) unseen items with the highest scores; ties go to the smaller item index."""
        return self.candidates(histories, k)[0]

    def candidates(
        self, histories: Sequences, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k unseen items with the highest scores, and these scores, both (B, k)."""
        slates, scores = [np.empty((0, k), np.int64)], [np.empty((0, k), np.float32)]
        for batch in batches(histories, min(self.batch_size, rows_at_once(self.scorer.num_items))):
            best, items = _best(self.scorer, batch, k)
            slates.append(items.cpu().numpy())
            scores.append(best.float().cpu().numpy())
        return np.concatenate(slates), np.concatenate(scores)


def _best(scorer: Scorer, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and items of the k best unseen items, both (B, k)."""
    if isinstance(scorer, Ranker):
        require_unseen(histories, scorer.num_items, k)
        best, items = scorer.best(histories, k)
        _require_best(scorer, best, items, shape=(len(histories), k))
        return best, items
    scores = unseen_scores(scorer, histories)
    require_choice(scores, k)
    return top_k(scores, k)


def _require_best(
    ranker: Ranker, best: torch.Tensor, items: torch.Tensor, *, shape: tuple[int, int]
) -> None:
    """Raise GenrecError where a ranker returned something else than items and their scores."""
    name, num_items = type(ranker).__name__, ranker.num_items
    if best.shape != shape or items.shape != shape or items.is_floating_point():
        raise GenrecError(
            f"{name}.best returned scores of shape {tuple(best.shape)} and {items.dtype} items of"
            f" shape {tuple(items.shape)}: return two tensors of shape {shape}, the scores and the"
            " integer item indices, best first"
        )
    if items.numel() and not bool(((items >= 1) & (items <= num_items)).all()):
        raise GenrecError(f"{name}.best returned an item that is not one of 1 to {num_items}")


def unseen_scores(scorer: Scorer, histories: Sequences) -> torch.Tensor:
    """(B, V+1) the scores of a scorer, verified, with -inf for PAD and all items of the history.

    A table that the scorer may keep for itself is copied before anything is written into it. One
    whose ``score`` always makes a new table says so by an attribute ``makes_new_scores = True``.

    Args:
        scorer: the scorer.
        histories: B whole histories.

    Raises:
        GenrecError: if the scorer does not return such a table of numbers; it says what to return.
    """
    # Of one's own: a scorer that changes them would change what it is measured on.
    given = Sequences(histories.offsets.copy(), histories.items.copy(), histories.times)
    scores = scorer.score(given)
    name, shape = type(scorer).__name__, (len(histories), scorer.num_items + 1)
    expected = (
        f"return a float torch.Tensor of shape (B, V+1), here {shape}: column i is the score of"
        " item i, and column 0 (PAD) is ignored"
    )
    if not isinstance(scores, torch.Tensor):
        raise GenrecError(f"{name}.score returned a {type(scores).__name__}: {expected}")
    if scores.shape != shape or not scores.is_floating_point():
        raise GenrecError(
            f"{name}.score returned {scores.dtype} of shape {tuple(scores.shape)}: {expected}"
        )
    if not np.array_equal(given.items, histories.items):
        raise GenrecError(f"{name}.score changes the histories that it is given: copy them first")
    scores = scores.detach()
    if not getattr(scorer, "makes_new_scores", False):
        scores = scores.clone()
    scores = mask_seen(scores, histories)
    # The largest of all is NaN where any is; -inf says that an item is never recommended.
    if scores.numel() and not bool(scores.amax() < torch.inf):
        row = int((~(scores < torch.inf)).any(dim=1).nonzero()[0])
        raise GenrecError(
            f"{name}.score returned NaN or infinity for history {row}: {expected}; -inf is allowed"
        )
    return scores


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
