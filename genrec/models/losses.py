"""Losses over scores (N, C) with the column of the positive item: plain functions to a scalar, mean over rows."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores (N, C) and the positive's column (N,) -> scalar. A score of -inf is no candidate."""


def softmax(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Cross-entropy: −log(exp s⁺ / Σ_j exp s_j). With sampled columns it is the sampled softmax.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive.

    >>> round(float(softmax(torch.zeros(1, 4), torch.tensor([2]))), 4)  # log 4
    1.3863
    """
    loss: torch.Tensor = _Softmax.apply(scores, positive)  # type: ignore[no-untyped-call]
    return loss


class _Softmax(torch.autograd.Function):
    """Cross-entropy whose probabilities are computed once and become the gradient: a third of the memory traffic."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        log_probabilities = torch.log_softmax(scores, dim=1, dtype=torch.float32)
        ctx.dtype = scores.dtype
        ctx.save_for_backward(log_probabilities, positive)
        return -log_probabilities.gather(1, positive[:, None]).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        log_probabilities, positive = ctx.saved_tensors
        probabilities = log_probabilities.exp_()
        probabilities[torch.arange(len(positive), device=positive.device), positive] -= 1
        return probabilities.mul_(grad / len(positive)).to(ctx.dtype), None


def bce(scores: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy over the C columns, mean over them: gBCE with β = 1.

    >>> round(float(bce(torch.zeros(1, 2), torch.tensor([0]))), 4)  # (log 2 + log 2) / 2
    0.6931
    """
    return gbce(scores, positive, beta=1.0)


def gbce(scores: torch.Tensor, positive: torch.Tensor, beta: float) -> torch.Tensor:
    """Generalised binary cross-entropy [Petrov & Macdonald 2023, eq. 8].

    L = [−log σ(s⁺)^β − Σ_j log(1 − σ(s_j⁻))] / C = [β·softplus(−s⁺) + Σ_j softplus(s_j⁻)] / C,
    the second form exact without clamps or float64. C counts the columns that are candidates.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive.
        beta: power of the positive's probability, see ``gbce_beta``.

    >>> round(float(gbce(torch.zeros(1, 2), torch.tensor([0]), beta=0.5)), 4)  # (0.5 log 2 + log 2) / 2
    0.5199
    """
    scores = scores.float()
    at_positive = scores.gather(1, positive[:, None])
    as_negatives = functional.softplus(scores)
    total = as_negatives.sum(dim=1, keepdim=True) - functional.softplus(at_positive)
    total = total + beta * functional.softplus(-at_positive)
    candidates = (scores > -torch.inf).sum(dim=1, keepdim=True)
    return (total / candidates).mean()


def gbce_beta(num_items: int, num_negatives: int, t: float) -> float:
    """β = α(t(1 − 1/α) + 1/α) = 1 − t(1 − α), with sampling rate α = k/(V − 1) [Petrov & Macdonald 2023, eq. 13].

    >>> round(gbce_beta(3416, 256, 0.75), 3)
    0.306
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t must lie in [0, 1], not {t}")
    return 1 - t * (1 - min(1.0, num_negatives / (num_items - 1)))
