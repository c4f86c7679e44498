"""LambdaRank: pairwise gradients weighted by the NDCG that swapping two items would gain."""

import math
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable

from genrec.models.losses import positive_columns

Discounts = Literal["all", "truncated"]


def lambdarank(
    scores: torch.Tensor,
    positive: torch.Tensor,
    *,
    cutoff: int = 50,
    truncate: int = 4000,
    sigma: float = 1.0,
    discounts: Discounts = "all",
) -> torch.Tensor:
    """1 − NDCG@cutoff, with the lambdas of LambdaRank as its gradient.

    [Burges 2010, §4; Petrov & Macdonald 2022b].

    With D(i) = 1/log₂(rank_i + 1), each pair of a positive p and a negative j, of which at least
    one is ranked within the cutoff, has

        λ_pj = σ · sigmoid(−σ(s_p − s_j)) · |D(p) − D(j)| / IDCG@cutoff / (0.01 + |s_p − s_j|).

    ∂L/∂s_p = −c Σ_j λ_pj and ∂L/∂s_j = c Σ_p λ_pj. The last division and the row's factor c =
    log₂(1 + Λ)/Λ, with Λ = 2 Σ_pj λ_pj, are LightGBM's normalisation. Rows are averaged. As in
    LightGBM and in the authors' code, D goes on below the cutoff; with truncated discounts it is 0
    there, so that |D(p) − D(j)| is the change of NDCG@cutoff.

    Args:
        scores: (N, C).
        positive: (N,) column of the positive, or (N, M) columns padded with 0, distinct per row.
        cutoff: depth of the NDCG.
        truncate: number of negatives that take part, those with the highest scores; all positives
            take part.
        sigma: σ, steepness of the sigmoid.
        discounts: "all", or "truncated" at the cutoff.

    >>> s = torch.tensor([[0.0, 1.0]])  # the positive is second: NDCG = 1/log2(3)
    >>> round(float(lambdarank(s, torch.tensor([0]))), 4)
    0.3691
    """
    # autograd functions take positional arguments only
    arguments = (scores, positive, cutoff, truncate, sigma, discounts == "truncated")
    loss: torch.Tensor = _LambdaRank.apply(*arguments)  # type: ignore[no-untyped-call]
    return loss


class _LambdaRank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        positive: torch.Tensor,
        cutoff: int,
        truncate: int,
        sigma: float,
        truncated: bool,
    ) -> torch.Tensor:
        columns, real = positive_columns(positive)
        ctx.dtype, scores = scores.dtype, scores.float()
        discount = _discounts(scores)
        lowest = 1 / math.log2(cutoff + 1.5)  # between the discounts of the cutoff and of the next
        within = discount > lowest
        of_metric = discount * within
        if truncated:
            discount = of_metric
        ideal = _ideal_dcg(real.sum(dim=1), cutoff)
        count = min(truncate, scores.shape[1])
        negatives = scores.scatter(1, columns, -torch.inf).topk(count, sorted=False)

        # (N, M, negatives) pairs, in place where possible: these tables are what the loss costs.
        pairs = real[:, :, None] & (negatives.values > -torch.inf)[:, None]
        gap = scores.gather(1, columns)[:, :, None] - negatives.values[:, None]
        gap.masked_fill_(~pairs, 0)
        near = within.gather(1, columns)[:, :, None] | within.gather(1, negatives.indices)[:, None]
        pairs &= near
        of_positives = discount.gather(1, columns)[:, :, None]
        swap = (of_positives - discount.gather(1, negatives.indices)[:, None]).abs_()
        lambdas = torch.sigmoid(-sigma * gap).mul_(swap).div_(gap.abs_().add_(0.01)).mul_(pairs)
        lambdas *= sigma / ideal[:, None, None]

        total = 2 * lambdas.sum(dim=(1, 2)).clamp(min=1e-12)
        lambdas *= (torch.log2(1 + total) / total)[:, None, None]
        gradient = torch.zeros_like(scores).scatter_add_(1, columns, -lambdas.sum(dim=2))
        ctx.save_for_backward(gradient.scatter_add_(1, negatives.indices, lambdas.sum(dim=1)))
        return (1 - (of_metric.gather(1, columns) * real).sum(dim=1) / ideal).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * (grad / len(gradient))).to(ctx.dtype), *[None] * 5


def _discounts(scores: torch.Tensor) -> torch.Tensor:
    """(N, C) 1/log₂(rank + 1) of each column."""
    order = scores.argsort(dim=1, descending=True)
    discounts = 1 / torch.log2(torch.arange(scores.shape[1], device=scores.device) + 2.0)
    return torch.empty_like(scores).scatter_(1, order, discounts.expand(order.shape))


def _ideal_dcg(relevant: torch.Tensor, cutoff: int) -> torch.Tensor:
    """(N,) DCG of a ranking that begins with all relevant items, of which there are (N,)."""
    discounts = 1 / torch.log2(torch.arange(cutoff, device=relevant.device) + 2.0)
    return discounts.cumsum(0)[relevant.clamp(1, cutoff) - 1]
