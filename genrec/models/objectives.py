"""Training objectives: which positions of a sequence predict which items."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        inputs: (B, T) item indices, padded on the right with 0.
        positions: (N,) which of the B·T flattened positions predict.
        targets: (N,) the item that each of them predicts, or (N, M) a set of items, padded with 0.
        times: (B, T) int64 seconds at which the inputs happened, 0 at padding; None where the log
            has no times.
        sequences: (B,) int64 which of the training sequences the rows are; None where nobody asks.
    """

    inputs: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    times: torch.Tensor | None = None
    sequences: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(
            inputs=self.inputs.to(device),
            positions=self.positions.to(device),
            targets=self.targets.to(device),
            times=None if self.times is None else self.times.to(device),
            sequences=None if self.sequences is None else self.sequences.to(device),
        )


class Objective(Protocol):
    """Turns sequences into batches for training and histories into inputs for scoring."""

    def batch(
        self, sequences: Sequences, *, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """A training batch of whole training sequences.

        Args:
            sequences: training sequences.
            max_length: T, the number of newest items that are read.
            mask_id: index of the MASK token.
            generator: random numbers for objectives that draw positions.
        """
        ...

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (B, T) of histories, and the (B,) flattened positions that score the next item."""
        ...


@dataclass(frozen=True)
class Shifted:
    """Every position predicts the next item [Kang & McAuley 2018, §3.5]."""

    def batch(
        self, sequences: Sequences, *, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs s_1..s_{n-1} and targets s_2..s_n of the newest ``max_length`` + 1 items."""
        recent = sequences.last(max_length + 1)
        window, times = torch.from_numpy(recent.padded()), newest_times(recent, max_length + 1)
        # The last item of a sequence is a target only: it is removed where padding follows it.
        inputs, targets = window[:, :-1] * (window[:, 1:] > 0), window[:, 1:].reshape(-1)
        positions = targets.nonzero().squeeze(1)
        return Batch(
            inputs=inputs,
            positions=positions,
            targets=targets[positions],
            times=None if times is None else times[:, :-1],
        )

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items and the position of the last one."""
        return newest_items(histories, max_length)


@dataclass(frozen=True)
class Last:
    """Only the last position predicts: sequence continuation [Petrov & Macdonald 2022b]."""

    def batch(
        self, sequences: Sequences, *, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs the newest ``max_length`` of s_1..s_{n-1}, target s_n.

        Sequences of a single item are left out.
        """
        several = sequences.take(sequences.lengths >= 2)
        before = several.drop_last(1)
        inputs, positions = newest_items(before, max_length)
        targets = torch.from_numpy(several.last(1).padded(1)[:, 0])
        times = newest_times(before, max_length)
        return Batch(inputs=inputs, positions=positions, targets=targets, times=times)

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items and the position of the last one."""
        return newest_items(histories, max_length)


@dataclass(frozen=True)
class RecencySampled:
    """The last position predicts a set of items drawn from the sequence, mostly recent ones (RSS).

    Position i of n is drawn with probability ∝ f(i), with replacement. The drawn items leave the
    input and become an unordered set of targets. f(i) = α^(n−i) [Petrov & Macdonald 2022b] or
    f(i) = i^β, the power family [Petrov & Macdonald 2024d].

    Attributes:
        share: number of draws as a share of the sequence's items (at least one draw); at least one
            position always stays.
        decay: α; a smaller one draws more recent items, 0 only the last one.
        power: β; if given, the power family is used in place of the exponential one.

    Raises:
        GenrecError: if ``decay`` is not in [0, 1].
    """

    share: float = 0.2
    decay: float = 0.8
    power: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise GenrecError(f"decay must lie in [0, 1], not {self.decay}")

    def batch(
        self, sequences: Sequences, *, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs the newest ``max_length`` items that were not drawn, targets the drawn items.

        The targets (N, M) are distinct per row. Sequences of a single item are left out.
        """
        several = sequences.take(sequences.lengths >= 2)
        drawn = self.draw(several.lengths, generator)
        rest = _select(several, ~drawn)
        inputs, positions = newest_items(rest, max_length)
        targets = torch.from_numpy(_distinct_items(_select(several, drawn)).padded())
        times = newest_times(rest, max_length)
        return Batch(inputs=inputs, positions=positions, targets=targets, times=times)

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items and the position of the last one."""
        return newest_items(histories, max_length)

    def draw(self, lengths: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
        """Which positions of each sequence are drawn.

        Args:
            lengths: (B,) lengths of the sequences, all at least 2.
            generator: random numbers.

        Returns:
            (sum of lengths,), the sequences one after the other.
        """
        stops = np.cumsum(lengths)
        starts = stops - lengths
        position = np.arange(lengths.sum()) - np.repeat(starts, lengths)
        if self.power is None:
            importance = self.decay ** (np.repeat(lengths, lengths) - 1.0 - position)
        else:  # of i/n, since i^β overflows for long sequences and large powers
            importance = ((position + 1.0) / np.repeat(lengths, lengths)) ** self.power
        # Each sequence sums to 1, so that the draws of sequence n are the numbers from n to n + 1
        # on one cumulative sum over all sequences.
        importance /= np.repeat(np.add.reduceat(importance, starts), lengths)
        draws = np.clip((self.share * lengths).astype(np.int64), 1, lengths - 1)
        rows = np.repeat(np.arange(len(lengths)), draws)
        uniform = rows + generator.random(len(rows))
        found = np.searchsorted(np.cumsum(importance), uniform, side="right")
        drawn = np.zeros(len(importance), dtype=bool)
        # Rounding of the cumulative sum may lead into a neighbouring sequence; it is clipped back.
        drawn[np.clip(found, starts[rows], stops[rows] - 1)] = True
        return drawn


@dataclass(frozen=True)
class Masked:
    """Cloze: masked items are predicted from both sides [Sun et al. 2019, §3.6].

    Attributes:
        share: probability of masking an item.
        last_share: share of the sequences in which only the last item is masked, as in scoring.
    """

    share: float = 0.2
    last_share: float = 0.1

    def batch(
        self, sequences: Sequences, *, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs with MASK at random items (at least one per sequence), targets those items."""
        window = sequences.last(max_length).padded()
        lengths = (window > 0).sum(axis=1)
        last = np.arange(window.shape[1]) == lengths[:, None] - 1
        hidden = (generator.random(window.shape) < self.share) & (window > 0)
        # A sequence without a masked item would contribute nothing; its last item is masked.
        only_last = (generator.random(len(window)) < self.last_share) | ~hidden.any(axis=1)
        hidden[only_last] = last[only_last]
        inputs = torch.from_numpy(np.where(hidden, mask_id, window))
        positions = torch.from_numpy(np.flatnonzero(hidden))
        return Batch(inputs, positions, torch.from_numpy(window.reshape(-1)[positions]))

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` - 1 items and a MASK, and the position of the MASK."""
        window = histories.last(max_length - 1)
        inputs = np.concatenate([window.padded(), np.zeros((len(window), 1), np.int64)], axis=1)
        inputs[np.arange(len(inputs)), window.lengths] = mask_id
        positions = np.arange(len(inputs)) * inputs.shape[1] + window.lengths
        return torch.from_numpy(inputs), torch.from_numpy(positions)


def newest_items(histories: Sequences, max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The newest ``max_length`` items (B, T), and the (B,) flattened positions of the last ones.

    An empty history has its first position, which is padding.
    """
    inputs = torch.from_numpy(histories.last(max_length).padded())
    last = (inputs > 0).sum(dim=1).clamp(min=1) - 1
    return inputs, torch.arange(len(inputs)) * inputs.shape[1] + last


def newest_times(histories: Sequences, max_length: int) -> torch.Tensor | None:
    """Times (B, T) of the items of ``newest_items``, 0 at padding; None where they are unknown."""
    if histories.times is None:
        return None
    return torch.from_numpy(histories.last(max_length).padded_times())


def _select(sequences: Sequences, kept: NDArray[np.bool_]) -> Sequences:
    """The events (M,) at which ``kept`` is True."""
    counts = np.bincount(sequences.rows()[kept], minlength=len(sequences))
    times = None if sequences.times is None else sequences.times[kept]
    return Sequences(np.concatenate([[0], np.cumsum(counts)]), sequences.items[kept], times)


def _distinct_items(sequences: Sequences) -> Sequences:
    """The different items of each sequence in ascending order, without times."""
    base = int(sequences.items.max(initial=0)) + 1
    pairs = np.unique(sequences.rows() * base + sequences.items)
    counts = np.bincount(pairs // base, minlength=len(sequences))
    return Sequences(np.concatenate([[0], np.cumsum(counts)]), (pairs % base).astype(np.int32))
