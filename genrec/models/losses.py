"""Losses over scores (N, C) and columns of positives: functions to a scalar, mean over rows.

A row may have a set of positives; then ``positive`` is (N, M), padded with 0. That is no real
column: column 0 of a catalogue's scores is PAD.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genrec.config.errors import GenrecError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores (N, C) and the positive's column (N,), or columns (N, M) padded with 0 -> scalar. A score
of -inf is no candidate."""


def positive_columns(positive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns (N, M) of the positives, and a mask (N, M) that is False at padding.

    A single positive (N,) may be in column 0.
    """
    if positive.dim() == 2:
        return positive, positive > 0
    return positive[:, None], torch.ones_like(positive[:, None], dtype=torch.bool)


def softmax(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Cross-entropy: −log(exp s⁺ / Σ_j exp s_j). With sampled columns it is the sampled softmax.

    For a set it is the mean of the members' cross-entropies. The logQ correction is applied to the
    scores, by ``Recipe.score_candidates``. Probabilities have the precision of the scores: for
    bfloat16 scores, value and gradient have a relative error of 2⁻⁹.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.

    >>> round(float(softmax(torch.zeros(1, 4), torch.tensor([2]))), 4)  # log 4
    1.3863
    """
    if positive.dim() == 2:
        each = -torch.log_softmax(scores, dim=1, dtype=torch.float32).gather(1, positive)
        sums = each.masked_fill(positive == 0, 0).sum(dim=1)
        return (sums / (positive > 0).sum(dim=1).clamp(min=1)).mean()
    loss: torch.Tensor = _Softmax.apply(scores, positive)  # type: ignore[no-untyped-call]
    return loss


class _Softmax(torch.autograd.Function):
    """Cross-entropy whose probabilities become the gradient in place.

    It saves the second and third (N, C) table that autograd would keep for the same loss.
    """

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(scores, dim=1)
        ctx.save_for_backward(probabilities, positive)
        return -probabilities.gather(1, positive[:, None]).float().clamp_min(1e-38).log().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        probabilities, positive = ctx.saved_tensors
        probabilities[torch.arange(len(positive), device=positive.device), positive] -= 1
        return probabilities.mul_(grad / len(positive)), None


def bce(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, mean over the C columns: gBCE with β = 1.

    All members of a set are positive.

    >>> round(float(bce(torch.zeros(1, 2), torch.tensor([0]))), 4)  # (log 2 + log 2) / 2
    0.6931
    """
    return gbce(scores, positive, beta=1.0)


def gbce(scores: torch.Tensor, positive: torch.Tensor, beta: float) -> torch.Tensor:
    """Generalised binary cross-entropy [Petrov & Macdonald 2023, eq. 8].

    L = [−log σ(s⁺)^β − Σ_j log(1 − σ(s_j⁻))] / C = [β·softplus(−s⁺) + Σ_j softplus(s_j⁻)] / C,
    of which the second form is exact without clamps or float64. C is the number of columns that are
    candidates. For a set, the first term is summed over its members.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.
        beta: power of the positive's probability, see ``gbce_beta``.

    # (0.5 log 2 + log 2) / 2
    >>> round(float(gbce(torch.zeros(1, 2), torch.tensor([0]), beta=0.5)), 4)
    0.5199
    """
    scores = scores.float()  # softplus of large scores loses small differences in bfloat16
    columns, real = positive_columns(positive)
    at_positive = scores.gather(1, columns)
    # The sum below takes every column as a negative; the difference corrects the positives.
    difference = beta * functional.softplus(-at_positive) - functional.softplus(at_positive)
    if positive.dim() == 2:
        difference = difference.masked_fill(~real, 0)
    total = functional.softplus(scores).sum(dim=1) + difference.sum(dim=1)
    candidates = (scores > -torch.inf).sum(dim=1)
    return (total / candidates).mean()


def gbce_beta(num_items: int, num_negatives: int, t: float) -> float:
    """β = α(t(1 − 1/α) + 1/α) = 1 − t(1 − α), with sampling rate α = k/(V − 1).

    [Petrov & Macdonald 2023, eq. 13]. Drawn with replacement, there can be more negatives than
    items; then α is above 1, and so is β.

    Args:
        num_items: V.
        num_negatives: k.
        t: calibration, from 0 (β = 1, BCE) to 1 (β = α).

    Raises:
        GenrecError: if t is not in [0, 1].

    >>> round(gbce_beta(3416, 256, 0.75), 3)
    0.306
    """
    if not 0 <= t <= 1:
        raise GenrecError(f"t must lie in [0, 1], not {t}")
    return 1 - t * (1 - num_negatives / (num_items - 1))


def uninformed_score(num_items: int, num_negatives: int | None, beta: float) -> float:
    """log(β / k): the score that minimises gBCE where every item is equally likely.

    L is minimal at s_i = log(β p_i / (k q_i)), with p_i the probability that item i is the target
    and q_i the probability of drawing it as a negative. Both are 1/V for uniform negatives and an
    uninformative history. A training that starts at scores of 0 must first lower the scores of the
    whole catalogue, which takes many epochs with hundreds of negatives.

    Args:
        num_items: V.
        num_negatives: k; None for the whole catalogue, where k = V − 1.
        beta: power of the positive's probability.

    >>> uninformed_score(3416, 1, beta=1.0)
    0.0
    >>> round(uninformed_score(3416, 256, beta=0.306), 2)
    -6.73
    """
    return math.log(beta / (num_negatives or max(1, num_items - 1)))


def bpr(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: −log σ(s⁺ − s⁻), mean over the pairs of a row.

    [Rendle et al. 2009, §4.1].

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.

    # (log(1 + 1/e) + log 2) / 2
    >>> round(float(bpr(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([0]))), 4)
    0.5032
    """
    columns, real = positive_columns(positive)
    scores = scores.float()
    negatives = scores.scatter(1, columns, -torch.inf)
    pairs = real[:, :, None] & (negatives > -torch.inf)[:, None]
    margins = scores.gather(1, columns)[:, :, None] - negatives[:, None]
    each = functional.softplus(-margins.masked_fill(~pairs, torch.inf))  # 0 where there is no pair
    return (each.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()
