"""Views for contrastive learning: augmented histories, and histories with the same target."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from genrec.data.sequences import Sequences


class Views(Protocol):
    """Makes histories that belong together from rows of the training sequences."""

    def __call__(
        self, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[list[Sequences], NDArray[np.int32] | None]:
        """Two or more views of one history per row, and labels.

        Args:
            rows: (B,) rows of the training sequences.
            generator: random numbers.

        Returns:
            The views, and (B,) labels: rows with equal labels are not negatives of each other. None
            for a label per row.
        """
        ...


@dataclass(frozen=True, eq=False)
class Augmented:
    """Two of crop, mask and reorder, drawn per sequence, make its two views [Xie et al. 2022].

    Attributes:
        train: training sequences.
        max_length: number of their newest items that are augmented.
        mask_id: index of the MASK token.
        crop_share: η, the share of a sequence that a crop keeps.
        mask_share: γ, the share of its items that are masked.
        reorder_share: β, the share of a sequence that is shuffled.
    """

    train: Sequences
    max_length: int
    mask_id: int
    crop_share: float = 0.6
    mask_share: float = 0.3
    reorder_share: float = 0.6

    def __call__(
        self, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[list[Sequences], None]:
        """Two views of the newest items of each row, by two different operators; no labels."""
        recent = self.train.take(rows).last(self.max_length)
        # The first two of a random permutation of the three operators, per sequence.
        operators = generator.permuted(np.tile(np.arange(3), (len(recent), 1)), axis=1)
        return [self._view(recent, operators[:, view], generator) for view in (0, 1)], None

    def _view(
        self, recent: Sequences, chosen: NDArray[np.int64], generator: np.random.Generator
    ) -> Sequences:
        """Each sequence changed by the operator with the number in ``chosen``."""
        operators = (
            partial(crop, share=self.crop_share),
            partial(mask, share=self.mask_share, mask_id=self.mask_id),
            partial(reorder, share=self.reorder_share),
        )
        parts = [
            operator(recent.take(chosen == n), generator=generator)
            for n, operator in enumerate(operators)
        ]
        # The parts are grouped by operator; the inverse permutation restores the order of rows.
        place = np.argsort(np.argsort(chosen, kind="stable"), kind="stable")
        return _concatenate(parts).take(place)


def crop(sequences: Sequences, *, share: float, generator: np.random.Generator) -> Sequences:
    """A contiguous part of each sequence, ⌊share · n⌋ of n items (at least one), at random."""
    kept = np.maximum((share * sequences.lengths).astype(np.int64), 1)
    starts = sequences.offsets[:-1] + _integers_up_to(sequences.lengths - kept, generator)
    return sequences.slices(starts, np.minimum(starts + kept, sequences.offsets[1:]))


def mask(
    sequences: Sequences, *, share: float, mask_id: int, generator: np.random.Generator
) -> Sequences:
    """Each sequence with MASK in place of ⌊share · n⌋ of its n items, at random."""
    rows, lengths = sequences.rows(), sequences.lengths
    # The positions of each sequence in a random order.
    shuffled = np.lexsort((generator.random(len(rows)), rows))
    place = np.arange(len(rows)) - np.repeat(sequences.offsets[:-1], lengths)
    count = np.repeat((share * lengths).astype(np.int64), lengths)
    items = sequences.items.copy()
    items[shuffled[place < count]] = mask_id
    return Sequences(sequences.offsets, items, sequences.times)


def reorder(sequences: Sequences, *, share: float, generator: np.random.Generator) -> Sequences:
    """Each sequence with a contiguous part of ⌊share · n⌋ items at a random place shuffled.

    Times stay at their positions, so that they still ascend.
    """
    lengths = sequences.lengths
    size = (share * lengths).astype(np.int64)
    begin = _integers_up_to(lengths - size, generator)
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1] + begin, lengths)
    inside = np.flatnonzero((place >= 0) & (place < np.repeat(size, lengths)))
    shuffled = inside[np.lexsort((generator.random(len(inside)), sequences.rows()[inside]))]
    items = sequences.items.copy()
    items[inside] = sequences.items[shuffled]
    return Sequences(sequences.offsets, items, sequences.times)


@dataclass(frozen=True, eq=False)
class SameTarget:
    """A history twice, and another history with the same target [Qiu et al. 2022].

    The first two views differ by dropout only. Each training sequence is cut at random: the events
    before the cut are the history, the next one is the target. Where nobody else has the target,
    the other history is the same one. Rows of the same target are not negatives of each other.

    Attributes:
        train: training sequences of at least two items.
        events: (E,) positions in ``train.items`` that have a history, ordered by item.
        starts: the events of item i are ``events[starts[i]:starts[i + 1]]``.
        place: (M,) the place of each position among ``events``.
    """

    train: Sequences
    events: NDArray[np.int64]
    starts: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, train: Sequences) -> Self:
        """Index training sequences of at least two items by their targets."""
        # The first event of a sequence has nothing before it.
        has_history = np.ones(len(train.items), dtype=bool)
        has_history[train.offsets[:-1]] = False
        positions = np.flatnonzero(has_history)
        events = positions[np.argsort(train.items[positions], kind="stable")]
        starts = np.concatenate([[0], np.cumsum(np.bincount(train.items[events]))])
        place = np.zeros(len(train.items), np.int64)
        place[events] = np.arange(len(events))
        return cls(train=train, events=events, starts=starts, place=place)

    def __call__(
        self, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[list[Sequences], NDArray[np.int32]]:
        """Three views of each row, of which the first two are equal, and the targets as labels."""
        offsets = self.train.offsets
        cuts = offsets[rows] + 1 + _integers_up_to(self.train.lengths[rows] - 2, generator)
        targets = self.train.items[cuts]
        others = self._other_events(cuts, targets, generator)
        history = self.train.slices(offsets[rows], cuts)
        users = np.searchsorted(offsets, others, side="right") - 1
        return [history, history, self.train.slices(offsets[users], others)], targets

    def _other_events(
        self, cuts: NDArray[np.int64], targets: NDArray[np.int32], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """A random other event of the same item; the event itself where there is no other."""
        first = self.starts[targets]
        count, own = self.starts[targets + 1] - first, self.place[cuts] - first
        # Drawn from all events but one; numbers from that of the event itself on are shifted by 1.
        drawn = _integers_up_to(np.maximum(count - 2, 0), generator)
        return self.events[first + np.where(count > 1, drawn + (drawn >= own), own)]


def _integers_up_to(
    highest: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Uniform integers from 0 to each of ``highest``, inclusive."""
    return (generator.random(len(highest)) * (highest + 1)).astype(np.int64)


def _concatenate(parts: Sequence[Sequences]) -> Sequences:
    """The sequences of all parts, one after the other."""
    lengths = np.concatenate([part.lengths for part in parts])
    items = np.concatenate([part.items for part in parts])
    times = [part.times for part in parts if part.times is not None]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(offsets, items, np.concatenate(times) if times else None)
