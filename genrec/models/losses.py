"""Losses over scores (N, C) with the column of the positive item: plain functions to a scalar, mean
over rows.

A row may have a set of positives: then ``positive`` is (N, M), padded with 0. Column 0 of a
catalogue's scores is PAD.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genrec.config.errors import GenrecError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores (N, C) and the positive's column (N,), or columns (N, M) padded with 0 -> scalar. -inf is
no candidate."""
SIGMOID_LOSSES = (
    "bce",
    "gbce",
)  # losses under which σ(score) is the probability of one item by itself


def columns_of(positive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns (N, M) of the positives and (N, M) True where there is one; a single positive may sit
    in column 0."""
    if positive.dim() == 2:
        return positive, positive > 0
    return positive[:, None], torch.ones_like(positive[:, None], dtype=torch.bool)


def softmax(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Cross-entropy: −log(exp s⁺ / Σ_j exp s_j). With sampled columns it is the sampled softmax.

    Of a set it is the mean of the members' cross-entropies. A logQ correction is made in the
    scores, by ``Recipe.compare``. Probabilities are kept in the precision of the scores: of
    bfloat16 scores the value is right to 2⁻⁹, as their gradient is.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.

    >>> round(float(softmax(torch.zeros(1, 4), torch.tensor([2]))), 4)  # log 4
    1.3863
    """
    if positive.dim() == 2:
        each = -torch.log_softmax(scores, dim=1, dtype=torch.float32).gather(1, positive)
        return (
            each.masked_fill(positive == 0, 0).sum(dim=1) / (positive > 0).sum(dim=1).clamp(min=1)
        ).mean()
    loss: torch.Tensor = _Softmax.apply(scores, positive)  # type: ignore[no-untyped-call]
    return loss


class _Softmax(torch.autograd.Function):
    """Cross-entropy whose probabilities, computed once in the scores' own precision, become the
    gradient in place."""

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
    """Binary cross-entropy over the C columns, mean over them: gBCE with β = 1. All members of a
    set are positive.

    >>> round(float(bce(torch.zeros(1, 2), torch.tensor([0]))), 4)  # (log 2 + log 2) / 2
    0.6931
    """
    return gbce(scores, positive, beta=1.0)


def gbce(scores: torch.Tensor, positive: torch.Tensor, beta: float) -> torch.Tensor:
    """Generalised binary cross-entropy [Petrov & Macdonald 2023, eq. 8].

    L = [−log σ(s⁺)^β − Σ_j log(1 − σ(s_j⁻))] / C = [β·softplus(−s⁺) + Σ_j softplus(s_j⁻)] / C,
    the second form exact without clamps or float64. C counts the columns that are candidates. A set
    sums over its s⁺.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.
        beta: power of the positive's probability, see ``gbce_beta``.

    # (0.5 log 2 + log 2) / 2
    >>> round(float(gbce(torch.zeros(1, 2), torch.tensor([0]), beta=0.5)), 4)
    0.5199
    """
    scores = scores.float()
    columns, real = columns_of(positive)
    at_positive = scores.gather(1, columns)
    change = beta * functional.softplus(-at_positive) - functional.softplus(at_positive)
    if positive.dim() == 2:
        change = change.masked_fill(~real, 0)
    total = functional.softplus(scores).sum(dim=1) + change.sum(dim=1)
    candidates = (scores > -torch.inf).sum(dim=1)
    return (total / candidates).mean()


def gbce_beta(num_items: int, num_negatives: int, t: float) -> float:
    """β = α(t(1 − 1/α) + 1/α) = 1 − t(1 − α), with sampling rate α = k/(V − 1) [Petrov & Macdonald
    2023, eq. 13].

    >>> round(gbce_beta(3416, 256, 0.75), 3)
    0.306
    """
    if not 0 <= t <= 1:
        raise GenrecError(f"t must lie in [0, 1], not {t}")
    return 1 - t * (1 - min(1.0, num_negatives / (num_items - 1)))


def uninformed_score(num_items: int, num_negatives: int | None, beta: float) -> float:
    """log(β / k): the score that gBCE is content with where an item is as likely as any other.

    L is least at s_i = log(β p_i / (k q_i)), with p_i the chance that item i is the target and q_i
    that it is drawn as a negative; both are 1/V for uniform negatives and a history that says
    nothing. A training that starts at scores of 0 must first push the whole catalogue down, and
    with hundreds of negatives it takes many epochs to leave that.

    Args:
        num_items: V.
        num_negatives: k; None for the whole catalogue, k = V − 1.
        beta: power of the positive's probability.

    >>> uninformed_score(3416, 1, beta=1.0)
    0.0
    >>> round(uninformed_score(3416, 256, beta=0.306), 2)
    -6.73
    """
    return math.log(beta / (num_negatives or max(1, num_items - 1)))


def bpr(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: −log σ(s⁺ − s⁻), mean over the row's pairs [Rendle et al.
    2009, §4.1].

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns.

    # (log(1 + 1/e) + log 2) / 2
    >>> round(float(bpr(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([0]))), 4)
    0.5032
    """
    columns, real = columns_of(positive)
    scores = scores.float()
    negatives = scores.scatter(1, columns, -torch.inf)
    pairs = real[:, :, None] & (negatives > -torch.inf)[:, None]
    gap = scores.gather(1, columns)[:, :, None] - negatives[:, None]
    each = functional.softplus(-gap.masked_fill(~pairs, torch.inf))
    return (each.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()
