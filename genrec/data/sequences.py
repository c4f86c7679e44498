"""Ragged sequences of item indices: the form in which all histories travel through genrec."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAD = 0


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of item indices, oldest item first, stored back to back.

    Attributes:
        offsets: (N+1,) int64; sequence n is ``items[offsets[n]:offsets[n + 1]]``.
        items: (M,) int32 item indices, 1..V.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[-1] > len(self.items):
            raise ValueError(f"offsets end at {self.offsets[-1:]} but there are {len(self.items)} items")

    @classmethod
    def from_lists(cls, lists: Iterable[ArrayLike]) -> Self:
        """Sequences from an iterable of item-index lists, empty ones allowed."""
        rows = [np.asarray(row, dtype=np.int32).reshape(-1) for row in lists]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(offsets, np.concatenate([np.empty(0, np.int32), *rows]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> NDArray[np.int32]:
        if not -len(self) <= n < len(self):
            raise IndexError(f"sequence {n} of {len(self)}")
        n %= len(self)
        return self.items[self.offsets[n] : self.offsets[n + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) number of items of each sequence."""
        return np.diff(self.offsets)

    def slices(self, starts: NDArray[np.integer], stops: NDArray[np.integer]) -> "Sequences":
        """Sequences made of ``items[starts[i]:stops[i]]``, positions in the flat array."""
        lengths = np.maximum(stops - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Sequences(offsets, self.items[flat])

    def take(self, rows: ArrayLike) -> "Sequences":
        """The sequences at ``rows`` (indices or a boolean mask), in that order."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return self.slices(self.offsets[chosen], self.offsets[chosen + 1])

    def last(self, length: int) -> "Sequences":
        """The newest ``length`` items of each sequence."""
        return self.slices(np.maximum(self.offsets[:-1], self.offsets[1:] - length), self.offsets[1:])

    def drop_last(self, count: int | NDArray[np.integer]) -> "Sequences":
        """Each sequence without its newest ``count`` items (a number, or one number a sequence)."""
        return self.slices(self.offsets[:-1], np.maximum(self.offsets[1:] - count, self.offsets[:-1]))

    def rows(self) -> NDArray[np.int64]:
        """(M,) the number of the sequence that each item belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def distinct(self) -> NDArray[np.int64]:
        """(N,) number of different items in each sequence."""
        base = int(self.items.max(initial=0)) + 1
        pairs = np.unique(self.rows() * base + self.items)
        return np.bincount(pairs // base, minlength=len(self))

    def padded(self, length: int | None = None, side: Literal["left", "right"] = "right") -> NDArray[np.int64]:
        """(N, T) the newest T items of each sequence, PAD (0) elsewhere.

        Args:
            length: T; by default the longest sequence (at least 1).
            side: where the padding goes.
        """
        width = max(1, int(self.lengths.max(initial=0))) if length is None else length
        newest = self.last(width)
        lengths = newest.lengths
        column = np.arange(len(newest.items)) - np.repeat(newest.offsets[:-1], lengths)
        if side == "left":
            column += np.repeat(width - lengths, lengths)
        out = np.full((len(self), width), PAD, dtype=np.int64)
        out[newest.rows(), column] = newest.items
        return out


def length_buckets(
    lengths: NDArray[np.int64], max_length: int, tokens: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of similar length with about ``tokens`` padded positions each, in random order.

    Lengths are jittered by up to a tenth before sorting, so that batches differ from epoch to epoch.
    """
    clipped = np.minimum(lengths, max_length)
    order = np.argsort(clipped * generator.uniform(0.9, 1.0, len(lengths)), kind="stable")
    widest = np.maximum.accumulate(clipped[order])
    batches, start = [], 0
    while start < len(order):
        # the largest stop with (stop - start) * widest[stop - 1] <= tokens; the left side grows with stop
        sizes = np.arange(1, len(order) - start + 1)
        fits = int(np.searchsorted(sizes * widest[start:], tokens, side="right"))
        batches.append(order[start : start + max(1, fits)])
        start += max(1, fits)
    return [batches[i] for i in generator.permutation(len(batches))]
