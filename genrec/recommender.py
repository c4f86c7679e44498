"""The two interfaces of everything that recommends: scorers and recommenders."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences


class Scorer(Protocol):
    """Histories in, one score for every item out."""

    @property
    def num_items(self) -> int:
        """V."""
        ...

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores; column i is item i, column 0 (PAD) is -inf. Seen items are *not*
        filtered."""
        ...


@runtime_checkable
class Ranker(Scorer, Protocol):
    """A scorer that finds its best items by itself, with or without a score for every item."""

    def best(self, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and items of the k best unseen items, both (B, k): what sorting ``score`` would
        give.

        Equal scores keep the order of the items. Every history leaves at least k items.
        """
        ...


class Recommender(Protocol):
    """Histories in, lists out."""

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) slates of distinct items that are not in the history, best first.

        Raises:
            GenrecError: where a history leaves fewer than k items.
        """
        ...


@dataclass(frozen=True)
class TopK:
    """The recommender that sorts a scorer's scores, or lets a ``Ranker`` do so."""

    scorer: Scorer
    batch_size: int = 512  # histories at once, fewer where their scores would not fit

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """The k best-scored unseen items, (B, k); equal scores keep the order of the items."""
        return self.candidates(histories, k)[0]

    def candidates(
        self, histories: Sequences, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best unseen items and their scores, both (B, k)."""
        slates, scores = [np.empty((0, k), np.int64)], [np.empty((0, k), np.float32)]
        for batch in batches(histories, min(self.batch_size, rows_at_once(self.scorer.num_items))):
            best, items = _best(self.scorer, batch, k)
            slates.append(items.cpu().numpy())
            scores.append(best.float().cpu().numpy())
        return np.concatenate(slates), np.concatenate(scores)


def _best(scorer: Scorer, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(scorer, Ranker):
        require_unseen(histories, scorer.num_items, k)
        return scorer.best(histories, k)
    scores = mask_seen(scorer.score(histories), histories)
    require_choice(scores, k)
    return top_k(scores, k)


def top_k(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row, (B, k) values and columns; ties go to the smaller column, on every
    device."""
    values, columns = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    values, columns = values[:, :k].clone(), columns[:, :k].clone()
    if tied.any():
        exact = torch.sort(scores[tied], dim=1, descending=True, stable=True)
        values[tied], columns[tied] = exact.values[:, :k], exact.indices[:, :k]
    return values, columns


def mask_seen(scores: torch.Tensor, histories: Sequences) -> torch.Tensor:
    """Scores with -inf at every item of the whole history and at PAD; in place."""
    rows = torch.from_numpy(histories.rows()).to(scores.device)
    items = torch.from_numpy(histories.items.astype(np.int64)).to(scores.device)
    scores[rows, items] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores


def require_choice(scores: torch.Tensor, k: int) -> None:
    """Raise where a row has fewer than k items to choose from."""
    allowed = (scores > -torch.inf).sum(dim=1)
    _require(allowed.cpu().numpy(), scores.shape[1] - 1, k)


def require_unseen(histories: Sequences, num_items: int, k: int) -> None:
    """Raise where a history leaves fewer than k items."""
    _require(num_items - histories.distinct(), num_items, k)


def _require(allowed: NDArray[np.int64], num_items: int, k: int) -> None:
    if len(allowed) and allowed.min() < k:
        raise GenrecError(
            f"a list of {k} items was asked for, but only {allowed.min()} of {num_items} items are"
            " new"
            f" to the user of row {allowed.argmin()}; ask for a shorter list"
        )


def batches(histories: Sequences, size: int) -> Iterator[Sequences]:
    """The histories in slices of ``size``."""
    for start in range(0, len(histories), size):
        yield histories.take(np.arange(start, min(start + size, len(histories))))


def rows_at_once(num_items: int) -> int:
    """How many histories are scored at once, so that their scores (B, V+1) are no more than 2²⁶
    numbers, 256 MiB.

    >>> rows_at_once(1_000_000)
    67
    """
    return max(1, SCORES // (num_items + 1))


SCORES = 2**26
