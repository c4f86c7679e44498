"""Contrastive learning as a second loss: states of positive pairs become similar."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from genrec.data.sequences import Sequences
from genrec.models.choices import CL4SRecConfig, Contrast, NoContrast
from genrec.models.scorer import NeuralScorer
from genrec.models.views import Augmented, SameTarget, Views

MAX_PAIRS = 512  # pairs that are each other's negatives: (1024, 1024) similarities at a time


@dataclass(frozen=True)
class ContrastiveLoss:
    """An auxiliary loss for any recipe: w · Σ_j InfoNCE(first view, view j).

    It compares the states that score the next item.

    Attributes:
        views: makes the histories that belong together.
        weight: w.
        temperature: τ.
    """

    views: Views
    weight: float
    temperature: float

    def training_step(
        self, scorer: NeuralScorer, rows: NDArray[np.int64], generator: np.random.Generator
    ) -> float:
        """Loss of a batch, with its gradients added to those of the scorer's weights.

        Args:
            scorer: the model in training.
            rows: (B,) rows of the training sequences.
            generator: random numbers for the views.

        Returns:
            The weighted loss, a mean over the batch.
        """
        views, labels = self.views(rows, generator)
        total = 0.0
        for start in range(0, len(rows), MAX_PAIRS):
            part = np.arange(start, min(start + MAX_PAIRS, len(rows)))
            # Every view is encoded once; the first one is compared with each of the others.
            first, *others = (encode_by_length(scorer, view.take(part)) for view in views)
            classes = None if labels is None else torch.from_numpy(labels[part]).to(scorer.device)
            terms = [
                info_nce(first, other, temperature=self.temperature, labels=classes)
                for other in others
            ]
            loss = self.weight * torch.stack(terms).sum() * (len(part) / len(rows))
            torch.autograd.backward(loss)
            total += float(loss.detach())
        return total


def encode_by_length(scorer: NeuralScorer, histories: Sequences) -> torch.Tensor:
    """States (B, D) that score the next item, with histories of similar length encoded together.

    A view can have any length, also in a batch of short sequences: one long history among short
    ones would pad all of them to its length.
    """
    # Groups of 1, up to 4, up to 16, up to 64 items, and so on.
    group = np.ceil(np.log2(np.clip(histories.lengths, 1, scorer.max_length)) / 2)
    rows_of_groups = [np.flatnonzero(group == n) for n in np.unique(group)]
    encoded = [scorer.encode_histories(histories.take(rows)) for rows in rows_of_groups]
    states = torch.cat(encoded)
    return states[torch.from_numpy(np.argsort(np.concatenate(rows_of_groups))).to(states.device)]


def make_contrastive_loss(
    config: Contrast, train: Sequences, *, max_length: int, mask_id: int
) -> ContrastiveLoss | None:
    """The contrastive loss that the settings name; None for none.

    Args:
        config: settings of the loss.
        train: training sequences of at least two items.
        max_length: number of newest items of a sequence that are augmented.
        mask_id: index of the MASK token.
    """
    if isinstance(config, NoContrast):
        return None
    views: Views
    if isinstance(config, CL4SRecConfig):
        views = Augmented(train, max_length, mask_id)
    else:
        views = SameTarget.of(train)
    return ContrastiveLoss(views, config.weight, config.temperature)


def info_nce(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    temperature: float,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE with the negatives of the batch [Oord et al. 2018, eq. 4; Xie et al. 2022].

    L = mean over the 2N states z of

        −log( exp(cos(z, z⁺)/τ) / (exp(cos(z, z⁺)/τ) + Σ_{z⁻} exp(cos(z, z⁻)/τ)) ),

    with z⁺ the other state of the same row and z⁻ the 2(N − 1) states of other rows. The papers use
    dot products instead of cosines. The lengths of states differ between backbones, and with
    cosines τ means the same for all of them.

    Args:
        first: (N, D) states.
        second: (N, D) states; row n belongs to row n of ``first``.
        temperature: τ.
        labels: (N,) classes; rows of the same class are not negatives of each other. None for a
            class per row.

    >>> one = torch.eye(2)
    >>> round(float(info_nce(one, one, temperature=1.0)), 4)  # cosines 1, 0, 0: log(1 + 2/e)
    0.5514
    >>> round(float(info_nce(one, one, temperature=1.0, labels=torch.tensor([7, 7]))), 4)
    0.0
    """
    size = len(first)
    # Cosines divided by a small temperature are too coarse in bfloat16.
    with torch.autocast(first.device.type, enabled=False):
        states = functional.normalize(torch.cat([first, second]).float(), dim=1)
        scores = states @ states.T / temperature
    classes = torch.arange(size, device=first.device) if labels is None else labels
    positive = torch.arange(2 * size, device=first.device).roll(size)
    excluded = classes.repeat(2)[:, None] == classes.repeat(2)
    excluded[torch.arange(2 * size, device=first.device), positive] = False
    return functional.cross_entropy(scores.masked_fill(excluded, -torch.inf), positive)
