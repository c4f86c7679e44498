"""Contrastive learning beside a recipe's own loss: like states for what belongs together, unlike
ones for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.config.reading import TeacherSettings
from genrec.data.sequences import Sequences
from genrec.models.scorer import NeuralScorer

GROUP = 512  # pairs that are each other's negatives: (1024, 1024) similarities at a time


class Views(Protocol):
    """Rows of the training sequences to histories that belong together."""

    def __call__(
        self, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[list[Sequences], NDArray[np.int32] | None]:
        """Two or more views, one history a row each, and labels: equal ones are no negatives of
        each other."""
        ...


@dataclass(frozen=True)
class Contrast:
    """An auxiliary loss for any recipe: w · Σ_j InfoNCE(first view, view j), over the states that
    score the next item.

    Attributes:
        views: how histories that belong together come about.
        weight: w.
        temperature: τ.
    """

    views: Views
    weight: float
    temperature: float

    def step(
        self, scorer: NeuralScorer, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> float:
        """The loss of the training sequences at ``rows``, with gradients accumulated in the
        scorer's weights."""
        views, labels = self.views(rows, generator)
        total = 0.0
        for start in range(0, len(rows), GROUP):
            part = np.arange(start, min(start + GROUP, len(rows)))
            first, *others = (states_of(scorer, view.take(part)) for view in views)
            label = None if labels is None else torch.from_numpy(labels[part]).to(scorer.device)
            each = [info_nce(first, other, self.temperature, label) for other in others]
            loss = self.weight * torch.stack(each).sum() * (len(part) / len(rows))
            torch.autograd.backward(loss)
            total += float(loss.detach())
        return total


def states_of(scorer: NeuralScorer, histories: Sequences) -> torch.Tensor:
    """(B, D) the state of each history that scores the next item; histories of like length are read
    together.

    Other histories before the same item can be any length, also in a batch of short sequences.
    """
    size = np.ceil(
        np.log2(np.clip(histories.lengths, 1, scorer.max_length)) / 2
    )  # 1, to 4, to 16, to 64 items ...
    alike = [np.flatnonzero(size == n) for n in np.unique(size)]
    states = torch.cat([scorer.read(histories.take(rows)) for rows in alike])
    return states[torch.from_numpy(np.argsort(np.concatenate(alike))).to(states.device)]


def contrast_of(settings: TeacherSettings, train: Sequences, mask_id: int) -> Contrast | None:
    """The auxiliary loss that the settings name; None for none.

    Raises:
        GenrecError: for DuoRec without dropout, which its views differ by.
    """
    if settings.contrastive == "none":
        return None
    if settings.contrastive == "duorec" and not settings.dropout:
        raise GenrecError(
            "the two views of teacher.contrastive=duorec differ by dropout alone, and"
            " teacher.dropout is 0: set it to"
            " 0.1, or choose cl4srec"
        )
    views: Views = SameTarget.of(train)
    if settings.contrastive == "cl4srec":
        views = Augmented(train, settings.max_length, mask_id)
    return Contrast(views, settings.contrastive_weight, settings.contrastive_temperature)


def info_nce(
    first: torch.Tensor,
    second: torch.Tensor,
    temperature: float,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE with the negatives of the batch [Oord et al. 2018, eq. 4], in the form of [Xie et al.
    2022].

    L = mean over the 2N states z of −log( exp(cos(z, z⁺)/τ) / (exp(cos(z, z⁺)/τ) + Σ_{z⁻}
    exp(cos(z, z⁻)/τ)) ), z⁺ the other state of the same row, z⁻ the 2(N − 1) states of other rows.
    The papers take products in place of cosines; the lengths of states differ from backbone to
    backbone, and cosines give τ one meaning for all.

    Args:
        first: (N, D).
        second: (N, D).
        temperature: τ.
        labels: (N,) rows of the same label are no negatives of each other.

    >>> one = torch.eye(2)
    >>> round(float(info_nce(one, one, temperature=1.0)), 4)  # cosines 1, 0, 0: log(1 + 2/e)
    0.5514
    >>> round(float(info_nce(one, one, temperature=1.0, labels=torch.tensor([7, 7]))), 4)
    0.0
    """
    size = len(first)
    with torch.autocast(first.device.type, enabled=False):
        states = functional.normalize(torch.cat([first, second]).float(), dim=1)
        scores = states @ states.T / temperature
    own = torch.arange(size, device=first.device) if labels is None else labels
    positive = torch.arange(2 * size, device=first.device).roll(size)
    excluded = own.repeat(2)[:, None] == own.repeat(2)
    excluded[torch.arange(2 * size, device=first.device), positive] = False
    return functional.cross_entropy(scores.masked_fill(excluded, -torch.inf), positive)


@dataclass(frozen=True, eq=False)
class Augmented:
    """Two of crop, mask and reorder, drawn for each sequence, make its two views [Xie et al. 2022].

    Attributes:
        train: training sequences.
        max_length: how many of their newest items are augmented.
        mask_id: index of the MASK token.
        crop_share: η, of a sequence that stays.
        mask_share: γ, of its items that are masked.
        reorder_share: β, of a sequence that is shuffled.
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
        """Two views of the newest items of each row, by different operators; no labels."""
        recent = self.train.take(rows).last(self.max_length)
        chosen = generator.permuted(np.tile(np.arange(3), (len(recent), 1)), axis=1)
        return [self._view(recent, chosen[:, view], generator) for view in (0, 1)], None

    def _view(
        self, recent: Sequences, chosen: NDArray[np.int64], generator: np.random.Generator
    ) -> Sequences:
        operators = (
            partial(crop, share=self.crop_share),
            partial(mask, share=self.mask_share, mask_id=self.mask_id),
            partial(reorder, share=self.reorder_share),
        )
        parts = [
            change(recent.take(chosen == n), generator=generator)
            for n, change in enumerate(operators)
        ]
        return _joined(parts).take(np.argsort(np.argsort(chosen, kind="stable"), kind="stable"))


def crop(sequences: Sequences, share: float, generator: np.random.Generator) -> Sequences:
    """⌊share · n⌋ items of each sequence of n, at least one, that follow each other from a random
    place."""
    kept = np.maximum((share * sequences.lengths).astype(np.int64), 1)
    starts = sequences.offsets[:-1] + _places(sequences.lengths - kept, generator)
    return sequences.slices(starts, np.minimum(starts + kept, sequences.offsets[1:]))


def mask(
    sequences: Sequences, share: float, mask_id: int, generator: np.random.Generator
) -> Sequences:
    """Each sequence with MASK in place of ⌊share · n⌋ of its n items, at random."""
    rows, lengths = sequences.rows(), sequences.lengths
    shuffled = np.lexsort(
        (generator.random(len(rows)), rows)
    )  # the positions of each sequence in a random order
    place = np.arange(len(rows)) - np.repeat(sequences.offsets[:-1], lengths)
    items = sequences.items.copy()
    items[shuffled[place < np.repeat((share * lengths).astype(np.int64), lengths)]] = mask_id
    return Sequences(sequences.offsets, items, sequences.times)


def reorder(sequences: Sequences, share: float, generator: np.random.Generator) -> Sequences:
    """Each sequence with ⌊share · n⌋ items that follow each other, from a random place, in a random
    order.

    Times stay where they are: what happened in the window is told in another order.
    """
    lengths = sequences.lengths
    size = (share * lengths).astype(np.int64)
    begin = _places(lengths - size, generator)
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1] + begin, lengths)
    inside = np.flatnonzero((place >= 0) & (place < np.repeat(size, lengths)))
    shuffled = inside[np.lexsort((generator.random(len(inside)), sequences.rows()[inside]))]
    items = sequences.items.copy()
    items[inside] = sequences.items[shuffled]
    return Sequences(sequences.offsets, items, sequences.times)


@dataclass(frozen=True, eq=False)
class SameTarget:
    """A history twice, which dropout tells apart, and another history before the same item [Qiu et
    al. 2022].

    Each training sequence is cut at random: what came before is the history, what came next the
    target. Where nobody else had the target, the other history is the same one. Rows of the same
    target are no negatives of each other.

    Attributes:
        train: training sequences of at least two items.
        events: (E,) positions in ``train.items`` that have something before them, by item.
        starts: the events of item i are ``events[starts[i]:starts[i + 1]]``.
        place: (M,) place of each position among ``events``.
    """

    train: Sequences
    events: NDArray[np.int64]
    starts: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, train: Sequences) -> Self:
        """The index of training sequences of at least two items."""
        later = np.ones(len(train.items), dtype=bool)
        later[train.offsets[:-1]] = False
        positions = np.flatnonzero(later)
        events = positions[np.argsort(train.items[positions], kind="stable")]
        starts = np.concatenate([[0], np.cumsum(np.bincount(train.items[events]))])
        place = np.zeros(len(train.items), np.int64)
        place[events] = np.arange(len(events))
        return cls(train, events, starts, place)

    def __call__(
        self, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[list[Sequences], NDArray[np.int32]]:
        """Three views of each row, the first two equal, and the targets."""
        offsets = self.train.offsets
        cuts = offsets[rows] + 1 + _places(self.train.lengths[rows] - 2, generator)
        targets = self.train.items[cuts]
        others = self._other(cuts, targets, generator)
        history = self.train.slices(offsets[rows], cuts)
        users = np.searchsorted(offsets, others, side="right") - 1
        return [history, history, self.train.slices(offsets[users], others)], targets

    def _other(
        self, cuts: NDArray[np.int64], targets: NDArray[np.int32], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Another event of the same item for each position; the position itself where there is
        none."""
        first = self.starts[targets]
        count, own = self.starts[targets + 1] - first, self.place[cuts] - first
        drawn = _places(np.maximum(count - 2, 0), generator)
        return self.events[first + np.where(count > 1, drawn + (drawn >= own), own)]


def _places(highest: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """A number from 0 to each of ``highest``, uniformly."""
    return (generator.random(len(highest)) * (highest + 1)).astype(np.int64)


def _joined(parts: Sequence[Sequences]) -> Sequences:
    """Sequences one after the other."""
    lengths = np.concatenate([part.lengths for part in parts])
    times = [part.times for part in parts if part.times is not None]
    return Sequences(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.items for part in parts]),
        np.concatenate(times) if times else None,
    )
