"""Ragged sequences of item indices, the form of all histories in genrec."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.config.errors import GenrecError

PAD = 0
"""Index that stands for no item; it fills up rows of a fixed width."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of item indices, oldest item first, stored one after the other.

    Attributes:
        offsets: (N+1,) int64; sequence n is ``items[offsets[n]:offsets[n + 1]]``.
        items: (M,) int32 item indices, 1..V.
        times: (M,) int64 seconds of each item's event; None where only the order is known.

    Raises:
        GenrecError: if the arrays do not fit each other.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[-1] > len(self.items):
            raise GenrecError(
                f"offsets end at {self.offsets[-1:]}, but there are {len(self.items)} items"
            )
        if self.times is not None and self.times.shape != self.items.shape:
            raise GenrecError(
                f"times have shape {self.times.shape}, items {self.items.shape}: give one time per"
                " item"
            )

    @classmethod
    def from_lists(
        cls, lists: Iterable[ArrayLike], times: Iterable[ArrayLike] | None = None
    ) -> Self:
        """Sequences from lists of item indices, which may be empty.

        Args:
            lists: one list of item indices per sequence.
            times: one list of int64 seconds per sequence.

        Raises:
            GenrecError: if a list of times is not as long as its list of items.
        """
        rows = [np.asarray(row, dtype=np.int32).reshape(-1) for row in lists]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        items = np.concatenate([np.empty(0, np.int32), *rows])
        if times is None:
            return cls(offsets, items)
        time_rows = [np.asarray(row, dtype=np.int64).reshape(-1) for row in times]
        if [len(row) for row in time_rows] != [len(row) for row in rows]:
            raise GenrecError(
                "the lists of times are not as long as the lists of items: give one time per item"
            )
        return cls(offsets, items, np.concatenate([np.empty(0, np.int64), *time_rows]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> NDArray[np.int32]:
        # IndexError ends a for loop over the sequences.
        if not -len(self) <= n < len(self):
            raise IndexError(f"sequence {n} of {len(self)}")
        n %= len(self)
        return self.items[self.offsets[n] : self.offsets[n + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) number of items of each sequence."""
        return np.diff(self.offsets)

    def slices(self, starts: NDArray[np.integer], stops: NDArray[np.integer]) -> "Sequences":
        """The sequences ``items[starts[i]:stops[i]]``, positions in the flat array."""
        lengths = np.maximum(stops - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        times = None if self.times is None else self.times[positions]
        return Sequences(offsets, self.items[positions], times)

    def take(self, rows: ArrayLike) -> "Sequences":
        """The sequences at ``rows`` (indices or a boolean mask), in that order."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return self.slices(self.offsets[chosen], self.offsets[chosen + 1])

    def last(self, length: int) -> "Sequences":
        """The newest ``length`` items of each sequence."""
        starts = np.maximum(self.offsets[:-1], self.offsets[1:] - length)
        return self.slices(starts, self.offsets[1:])

    def drop_last(self, count: int | NDArray[np.integer]) -> "Sequences":
        """Each sequence without its newest items; ``count`` is a number, or one per sequence."""
        stops = np.maximum(self.offsets[1:] - count, self.offsets[:-1])
        return self.slices(self.offsets[:-1], stops)

    def rows(self) -> NDArray[np.int64]:
        """(M,) index of the sequence that each item belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def distinct(self) -> NDArray[np.int64]:
        """(N,) number of different items in each sequence."""
        # A pair of row and item is one number, so that sorting numbers finds different pairs.
        base = int(self.items.max(initial=0)) + 1
        pairs = np.unique(self.rows() * base + self.items)
        return np.bincount(pairs // base, minlength=len(self))

    def padded(
        self, length: int | None = None, side: Literal["left", "right"] = "right"
    ) -> NDArray[np.int64]:
        """(N, T) the newest T items of each sequence, PAD (0) elsewhere.

        Args:
            length: T; by default the longest sequence (at least 1).
            side: side of the padding.
        """
        width = self._width(length)
        newest = self.last(width)
        return _pad(newest, newest.items, width=width, side=side)

    def padded_times(
        self, length: int | None = None, side: Literal["left", "right"] = "right"
    ) -> NDArray[np.int64]:
        """(N, T) the times of the items of ``padded``, 0 elsewhere.

        Args:
            length: T; by default the longest sequence (at least 1).
            side: side of the padding.

        Raises:
            GenrecError: if the times are unknown.
        """
        width = self._width(length)
        newest = self.last(width)
        return _pad(newest, newest.known_times(), width=width, side=side)

    def known_times(self) -> NDArray[np.int64]:
        """The times (M,).

        Raises:
            GenrecError: if they are unknown.
        """
        if self.times is None:
            raise GenrecError(
                "the times of these histories' events are unknown: use a log with timestamps"
            )
        return self.times

    def _width(self, length: int | None) -> int:
        return max(1, int(self.lengths.max(initial=0))) if length is None else length


def _pad(
    sequences: Sequences,
    values: NDArray[np.integer],
    *,
    width: int,
    side: Literal["left", "right"],
) -> NDArray[np.int64]:
    """(N, width) values (M,) of sequences of at most that length, PAD elsewhere."""
    lengths = sequences.lengths
    column = np.arange(len(values)) - np.repeat(sequences.offsets[:-1], lengths)
    if side == "left":
        column += np.repeat(width - lengths, lengths)
    out = np.full((len(sequences), width), PAD, dtype=np.int64)
    out[sequences.rows(), column] = values
    return out


def length_buckets(
    lengths: NDArray[np.int64], *, max_length: int, tokens: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of similar length with about ``tokens`` padded positions each, in random order.

    Args:
        lengths: (N,) lengths of the sequences.
        max_length: longer sequences are read up to this length.
        tokens: largest number of padded positions per batch of more than one sequence.
        generator: random numbers.

    Returns:
        Rows of the sequences, one array per batch.
    """
    clipped = np.minimum(lengths, max_length)
    # Lengths are jittered by up to a tenth, so that batches differ from epoch to epoch.
    order = np.argsort(clipped * generator.uniform(0.9, 1.0, len(lengths)), kind="stable")
    widest = np.maximum.accumulate(clipped[order])
    batches, start = [], 0
    while start < len(order):
        # The largest batch whose size times its longest sequence is at most ``tokens``; the
        # product ascends with the size, so that it can be searched by bisection.
        sizes = np.arange(1, min(len(order) - start, tokens) + 1)
        fits = int(np.searchsorted(sizes * widest[start : start + tokens], tokens, side="right"))
        batches.append(order[start : start + max(1, fits)])
        start += max(1, fits)
    return [batches[i] for i in generator.permutation(len(batches))]
