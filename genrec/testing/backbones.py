"""The contract of a backbone."""

from collections.abc import Callable

import torch
from torch import nn

from genrec.testing.conditions import require, require_close

ROWS, LENGTH, WIDTH = 3, 9, 8
CHANGE = torch.linspace(-2, 3, WIDTH) ** 2  # not constant: layer norms would remove a constant


def check_backbone(make: Callable[..., nn.Module], *, causal: bool = True) -> None:
    """Check that a backbone keeps its contract.

    It maps vectors (B, T, D) and a mask (B, T), which is False at padding, to finite states of the
    same shape, for any number of rows and positions. A state depends on its own vector; in a causal
    backbone it does not depend on later ones. The vectors at padding, and how much there is, change
    no state elsewhere. There is dropout in training only, and gradients reach the weights.

    Args:
        make: makes an untrained backbone from ``hidden_size``, ``max_length`` and ``dropout``,
            which are given by keyword.
        causal: whether later vectors must not change a state; False for the masked objective.

    Raises:
        ContractError: naming the part of the contract.

    >>> from functools import partial
    >>> from genrec.models import Transformer
    >>> check_backbone(partial(Transformer, blocks=1, heads=2, causal=True))
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = make(hidden_size=WIDTH, max_length=LENGTH, dropout=0.0).eval()
        dropped = make(hidden_size=WIDTH, max_length=LENGTH, dropout=0.5)
        _check_dropout(dropped)
    with torch.no_grad():
        _check_shapes(backbone)
        _check_positions(backbone, causal=causal)
        _check_padding(backbone)
    _check_gradients(backbone)


def _vectors(rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))


def _unpadded(rows: int = ROWS, length: int = LENGTH) -> torch.Tensor:
    return torch.ones(rows, length, dtype=torch.bool)


def _check_shapes(backbone: nn.Module) -> None:
    for rows, length in ((ROWS, LENGTH), (ROWS, 1), (ROWS, 2), (1, LENGTH), (0, LENGTH)):
        states = backbone(_vectors(rows)[:, :length], _unpadded(rows, length))
        expected = (rows, length, WIDTH)
        subject = f"states of vectors {expected}"
        require(tuple(states.shape) == expected, f"{subject} have shape {tuple(states.shape)}")
        require(states.isfinite().all(), f"{subject} are not finite")


def _check_positions(backbone: nn.Module, *, causal: bool) -> None:
    before = _vectors()
    for j in (1, LENGTH // 2, LENGTH - 1):
        after = before.clone()
        after[:, j] += CHANGE
        difference = (
            (backbone(after, _unpadded()) - backbone(before, _unpadded())).abs().amax(dim=(0, 2))
        )
        require(difference[j] > 1e-4, f"the state of position {j} ignores its own vector")
        leaks = causal and bool(difference[:j].max() > 1e-6)
        require(not leaks, f"the backbone is not causal: position {j} changes an earlier state")


def _check_padding(backbone: nn.Module) -> None:
    vectors = _vectors()
    mask = torch.arange(LENGTH) < torch.tensor([[4], [1], [LENGTH]])
    changed = backbone(vectors + CHANGE * ~mask[..., None], mask)[mask]
    states = backbone(vectors, mask)
    require_close(changed, states[mask], "states depend on the vectors at padding")
    narrow = backbone(vectors[:1, :4], _unpadded(1, 4))
    message = "states depend on how much padding there is"
    require_close(states[:1, :4], narrow, message, rtol=1e-5)


def _check_dropout(backbone: nn.Module) -> None:
    vectors, mask = _vectors(), _unpadded()
    backbone.train()
    differs = not torch.equal(backbone(vectors, mask), backbone(vectors, mask))
    require(differs, "there is no dropout in training")
    backbone.eval()
    same = torch.equal(backbone(vectors, mask), backbone(vectors, mask))
    require(same, "two calls in evaluation mode differ")


def _check_gradients(backbone: nn.Module) -> None:
    weights = [weight for weight in backbone.parameters() if weight.requires_grad]
    vectors = _vectors().requires_grad_()  # so that there is a gradient where no weight has one
    direction = torch.randn(ROWS, LENGTH, WIDTH, generator=torch.Generator().manual_seed(2))
    torch.autograd.backward((backbone(vectors, _unpadded()) * direction).sum())
    reached = [weight for weight in weights if weight.grad is not None and weight.grad.any()]
    require(not weights or reached, "no gradient reaches a weight")
