"""Checks of backbones and losses: each accepts right ones and finds what breaks its contract."""

from functools import partial

import pytest
from torch import nn

from genrec.models import GRU, Transformer, bce, bpr, lambdarank, softmax
from genrec.testing import ContractError, check_backbone, check_loss


class TestBackbones:
    @pytest.mark.parametrize(
        "make",
        [
            partial(Transformer, blocks=1, heads=2, causal=True),
            lambda hidden_size, max_length, dropout: GRU(
                hidden_size=hidden_size, layers=2, dropout=dropout
            ),
        ],
    )
    def test_right_ones(self, make):
        check_backbone(make)

    def test_a_bidirectional_one(self):
        make = partial(Transformer, blocks=1, heads=2, causal=False)
        check_backbone(make, causal=False)
        with pytest.raises(ContractError, match="is not causal: position 1 changes an earlier"):
            check_backbone(make)

    @pytest.mark.parametrize(
        ("forward", "message"),
        [
            (lambda self, x, mask: self.drop(self.out(x))[:, -1], "have shape"),
            (lambda self, x, mask: self.drop(self.out(x)) / 0, "are not finite"),
            (lambda self, x, mask: self.drop(self.out(x * 0)), "ignores its own vector"),
            (lambda self, x, mask: self.out(x), "no dropout in training"),
            (
                lambda self, x, mask: nn.functional.dropout(self.out(x), 0.5),
                "two calls in evaluation mode differ",
            ),
            (
                lambda self, x, mask: self.drop(self.out(x + x.cumsum(dim=1) / x.shape[1])),
                "how much padding there is",
            ),
            (lambda self, x, mask: self.drop(self.out(x).detach() + x), "no gradient reaches"),
        ],
    )
    def test_broken_ones(self, forward, message):
        class Mine(nn.Module):
            def __init__(self, hidden_size, max_length, dropout):
                super().__init__()
                self.out = nn.Linear(hidden_size, hidden_size)
                self.drop = nn.Dropout(dropout)

        Mine.forward = forward  # type: ignore[assignment]
        with pytest.raises(ContractError, match=message):
            check_backbone(Mine)

    def test_vectors_at_padding(self):
        class Leaky(GRU):
            def forward(self, x, mask):
                return super().forward(x.mean(dim=1, keepdim=True) + x, mask)

        def make(hidden_size, max_length, dropout):
            return Leaky(hidden_size=hidden_size, layers=2, dropout=dropout)

        with pytest.raises(ContractError, match="depend on the vectors at padding"):
            check_backbone(make, causal=False)


class TestLosses:
    @pytest.mark.parametrize("loss", [softmax, bce, bpr, lambdarank])
    def test_right_ones(self, loss):
        check_loss(loss)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda value, scores: value.expand(2), "not that of a scalar"),
            (lambda value, scores: value / 0, "is not finite"),
            (lambda value, scores: -value, "does not fall when a positive's score rises"),
            (lambda value, scores: value * len(scores), "is not the mean over the rows"),
            (lambda value, scores: value * scores.shape[1], "a score of -inf changes the loss"),
        ],
    )
    def test_broken_ones(self, change, message):
        def loss(scores, positive):
            return change(softmax(scores, positive), scores)

        with pytest.raises(ContractError, match=message):
            check_loss(loss)
