"""The contract of a loss."""

import torch

from genrec.models.losses import Loss
from genrec.testing.conditions import require, require_close

ROWS, COLUMNS = 6, 9


def check_loss(loss: Loss) -> None:
    """Check that a loss keeps its contract.

    It maps scores (N, C) and the columns (N,) of the positives to a finite scalar with finite
    gradients; is the mean over the rows; falls when the score of a positive rises; and takes a
    score of -inf as a column that is no candidate.

    Args:
        loss: scores (N, C), positive columns (N,) -> scalar.

    Raises:
        ContractError: naming the part of the contract.

    >>> from genrec.models import softmax
    >>> check_loss(softmax)
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(ROWS, COLUMNS, generator=generator)
    positive = torch.randint(COLUMNS, (ROWS,), generator=generator)
    shape = tuple(loss(scores, positive).shape)
    require(shape == (), f"the loss has shape {shape}, not that of a scalar")
    value, gradient = _value_and_gradient(loss, scores, positive)
    require(
        value.isfinite() and gradient.isfinite().all(), "the loss or its gradient is not finite"
    )
    of_positives = gradient[torch.arange(ROWS), positive]
    require((of_positives < 0).all(), "the loss does not fall when a positive's score rises")
    rows = [loss(scores[n : n + 1], positive[n : n + 1]) for n in range(ROWS)]
    mean = torch.stack(rows).mean()
    require_close(value, mean.detach(), "the loss is not the mean over the rows", rtol=1e-5)
    _check_missing_candidates(loss, scores, positive)


def _check_missing_candidates(loss: Loss, scores: torch.Tensor, positive: torch.Tensor) -> None:
    """A column of -inf changes neither the loss nor the gradients of the others."""
    # Sampled negatives that equal the target get -inf, so that every loss meets such columns.
    wider = torch.cat([scores, torch.full((ROWS, 2), -torch.inf)], dim=1)
    value, gradient = _value_and_gradient(loss, wider, positive)
    expected, of_candidates = _value_and_gradient(loss, scores, positive)
    require_close(value, expected, "a score of -inf changes the loss", rtol=1e-5)
    require(not gradient[:, COLUMNS:].any(), "a score of -inf has a gradient")
    message = "a score of -inf changes the gradient of other columns"
    require_close(gradient[:, :COLUMNS], of_candidates, message, rtol=1e-5)


def _value_and_gradient(
    loss: Loss, scores: torch.Tensor, positive: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = scores.clone().requires_grad_()
    value = loss(leaf, positive)
    torch.autograd.backward(value)
    assert leaf.grad is not None
    return value.detach(), leaf.grad
