"""Ragged sequences of item indices: the form in which all histories travel through genrec."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.config.errors import GenrecError

PAD = 0


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of item indices, oldest item first, stored back to back.

    Attributes:
        offsets: (N+1,) int64; sequence n is ``items[offsets[n]:offsets[n + 1]]``.
        items: (M,) int32 item indices, 1..V.
        times: (M,) int64 seconds, when each item's event happened; None where only the order is
            known.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[-1] > len(self.items):
            raise GenrecError(
                f"offsets end at {self.offsets[-1:]} but there are {len(self.items)} items"
            )
        if self.times is not None and self.times.shape != self.items.shape:
            raise GenrecError(
                f"times have shape {self.times.shape}, items {self.items.shape}: give one time an"
                " item"
            )

    @classmethod
    def from_lists(
        cls, lists: Iterable[ArrayLike], times: Iterable[ArrayLike] | None = None
    ) -> Self:
        """Sequences from an iterable of item-index lists, empty ones allowed, and on demand their
        times alike.

        Raises:
            GenrecError: if the times are not as many as the items, list by list.
        """
        rows = [np.asarray(row, dtype=np.int32).reshape(-1) for row in lists]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        items = np.concatenate([np.empty(0, np.int32), *rows])
        if times is None:
            return cls(offsets, items)
        moments = [np.asarray(row, dtype=np.int64).reshape(-1) for row in times]
        if [len(row) for row in moments] != [len(row) for row in rows]:
            raise GenrecError(
                "the lists of times are not as long as the lists of items: give one time an item"
            )
        return cls(offsets, items, np.concatenate([np.empty(0, np.int64), *moments]))

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
        return Sequences(
            offsets, self.items[flat], None if self.times is None else self.times[flat]
        )

    def take(self, rows: ArrayLike) -> "Sequences":
        """The sequences at ``rows`` (indices or a boolean mask), in that order."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return self.slices(self.offsets[chosen], self.offsets[chosen + 1])

    def last(self, length: int) -> "Sequences":
        """The newest ``length`` items of each sequence."""
        return self.slices(
            np.maximum(self.offsets[:-1], self.offsets[1:] - length), self.offsets[1:]
        )

    def drop_last(self, count: int | NDArray[np.integer]) -> "Sequences":
        """Each sequence without its newest ``count`` items (a number, or one number a sequence)."""
        return self.slices(
            self.offsets[:-1], np.maximum(self.offsets[1:] - count, self.offsets[:-1])
        )

    def rows(self) -> NDArray[np.int64]:
        """(M,) the number of the sequence that each item belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def distinct(self) -> NDArray[np.int64]:
        """(N,) number of different items in each sequence."""
        base = int(self.items.max(initial=0)) + 1
        pairs = np.unique(self.rows() * base + self.items)
        return np.bincount(pairs // base, minlength=len(self))

    def padded(
        self, length: int | None = None, side: Literal["left", "right"] = "right"
    ) -> NDArray[np.int64]:
        """(N, T) the newest T items of each sequence, PAD (0) elsewhere.

        Args:
            length: T; by default the longest sequence (at least 1).
            side: where the padding goes.
        """
        width = self._width(length)
        newest = self.last(width)
        return _spread(newest, newest.items, width, side)

    def padded_times(
        self, length: int | None = None, side: Literal["left", "right"] = "right"
    ) -> NDArray[np.int64]:
        """(N, T) the times of the items that ``padded`` puts there, 0 elsewhere.

        Raises:
            GenrecError: where the times are unknown.
        """
        width = self._width(length)
        newest = self.last(width)
        return _spread(newest, newest.known_times(), width, side)

    def known_times(self) -> NDArray[np.int64]:
        """(M,) ``times``.

        Raises:
            GenrecError: where they are unknown.
        """
        if self.times is None:
            raise GenrecError(
                "it is not known when the events of these histories happened: take a log with"
                " timestamps"
            )
        return self.times

    def _width(self, length: int | None) -> int:
        return max(1, int(self.lengths.max(initial=0))) if length is None else length


def _spread(
    sequences: Sequences, values: NDArray[np.integer], width: int, side: Literal["left", "right"]
) -> NDArray[np.int64]:
    """(N, width) the values (M,) of sequences that are no longer than that, PAD elsewhere."""
    lengths = sequences.lengths
    column = np.arange(len(values)) - np.repeat(sequences.offsets[:-1], lengths)
    if side == "left":
        column += np.repeat(width - lengths, lengths)
    out = np.full((len(sequences), width), PAD, dtype=np.int64)
    out[sequences.rows(), column] = values
    return out


def length_buckets(
    lengths: NDArray[np.int64], max_length: int, tokens: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches of similar length with about ``tokens`` padded positions each, in random order.

    Lengths are jittered by up to a tenth before sorting, so that batches differ from epoch to
    epoch.
    """
    clipped = np.minimum(lengths, max_length)
    order = np.argsort(clipped * generator.uniform(0.9, 1.0, len(lengths)), kind="stable")
    widest = np.maximum.accumulate(clipped[order])
    batches, start = [], 0
    while start < len(order):
        # the largest stop with (stop - start) * widest[stop - 1] <= tokens; the left side grows
        # with stop
        sizes = np.arange(1, min(len(order) - start, tokens) + 1)
        fits = int(np.searchsorted(sizes * widest[start : start + tokens], tokens, side="right"))
        batches.append(order[start : start + max(1, fits)])
        start += max(1, fits)
    return [batches[i] for i in generator.permutation(len(batches))]
