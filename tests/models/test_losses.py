import math
from functools import partial

import pytest
import torch
from torch.nn import functional

from genrec.models.losses import bce, bpr, gbce, gbce_beta, softmax, uninformed_score


def scores(rows: int = 6, columns: int = 9, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def with_holes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with -inf at column 0 and elsewhere, never at the positive."""
    table, positive = scores(seed=seed), torch.tensor([1, 2, 8, 3, 4, 7])
    table[:, 0] = -torch.inf
    table[1, 5] = table[1, 6] = table[4, 1] = -torch.inf
    return table, positive


def transformed_bce(table: torch.Tensor, positive: torch.Tensor, beta: float) -> torch.Tensor:
    """gBCE as its paper computes it, in float64: plain BCE with logits after moving the positive's
    logit to gamma(s) = log(1 / (sigma(s)^-beta - 1)), mean over the candidates of a row.
    """
    logits = table.double()
    at_positive = logits.gather(1, positive[:, None])
    moved = torch.log(1 / (torch.sigmoid(at_positive) ** -beta - 1))
    logits = logits.scatter(1, positive[:, None], moved)
    labels = torch.zeros_like(logits).scatter(1, positive[:, None], 1.0)
    losses = []
    for row, label in zip(logits, labels, strict=True):
        there = row > -torch.inf
        losses.append(
            functional.binary_cross_entropy_with_logits(row[there], label[there], reduction="mean")
        )
    return torch.stack(losses).mean()


def value_and_gradient(
    loss, table: torch.Tensor, positive: torch.Tensor
) -> tuple[float, torch.Tensor]:
    leaf = table.clone().requires_grad_()
    value = loss(leaf, positive)
    value.backward()
    return float(value.detach()), leaf.grad


def test_softmax_by_hand():
    # odds 1 : 3 and 2 : 2, positive first: (log 4 + log 2) / 2
    table = torch.tensor([[0.0, math.log(3)], [math.log(2), math.log(2)]])
    assert float(softmax(table, torch.tensor([0, 0]))) == pytest.approx(
        (1.386294 + 0.693147) / 2, abs=1e-5
    )


def test_bce_by_hand():
    # sigma(log 3) = 3/4 at the positive, sigma(-log 3) = 1/4 at the negative: both terms are
    # log(4/3)
    table = torch.tensor([[math.log(3), -math.log(3)]])
    assert float(bce(table, torch.tensor([0]))) == pytest.approx(0.287682, abs=1e-5)
    assert float(bce(table, torch.tensor([1]))) == pytest.approx(1.386294, abs=1e-5)


def test_gbce_by_hand():
    # positive -beta log(3/4), negatives log 4 and log(4/3), over three columns
    table = torch.tensor([[math.log(3), math.log(3), -math.log(3)]])
    expected = (0.25 * 0.287682 + 1.386294 + 0.287682) / 3
    assert float(gbce(table, torch.tensor([0]), beta=0.25)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_softmax_agrees_with_cross_entropy_in_value_and_gradient(seed):
    table, positive = with_holes(seed)
    value, gradient = value_and_gradient(softmax, table, positive)
    expected, slope = value_and_gradient(functional.cross_entropy, table.double(), positive)
    assert value == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient.double(), slope.double(), atol=1e-6, rtol=1e-5)
    assert (gradient[table == -torch.inf] == 0).all()


def test_softmax_gradient_follows_a_weight_on_the_loss():
    table, positive = with_holes()
    _, once = value_and_gradient(softmax, table, positive)
    _, half = value_and_gradient(lambda s, p: softmax(s, p) * 0.5, table, positive)
    torch.testing.assert_close(half, once / 2)


@pytest.mark.parametrize("beta", [1.0, 0.75, 0.306, 0.075])
def test_gbce_agrees_with_the_transformed_logits_of_the_paper(beta):
    table, positive = with_holes()
    value, gradient = value_and_gradient(partial(gbce, beta=beta), table, positive)
    expected, slope = value_and_gradient(partial(transformed_bce, beta=beta), table, positive)
    assert value == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient.double(), slope.double(), atol=1e-6, rtol=1e-4)


def test_bce_is_binary_cross_entropy():
    table, positive = scores(), torch.tensor([0, 1, 2, 3, 8, 0])
    labels = functional.one_hot(positive, 9).double()
    expected = functional.binary_cross_entropy_with_logits(table.double(), labels)
    assert float(bce(table, positive)) == pytest.approx(float(expected), abs=1e-6)


def test_gbce_is_finite_for_saturated_scores():
    # sigma(-90)^-beta overflows float32 and sigma(90) is 1: the closed form needs neither
    table = torch.tensor([[-90.0, 90.0], [90.0, -90.0]])
    value, gradient = value_and_gradient(partial(gbce, beta=0.5), table, torch.tensor([0, 0]))
    assert value == pytest.approx((0.5 * 90 + 90) / 2 / 2, rel=1e-6)
    torch.testing.assert_close(gradient, torch.tensor([[-0.125, 0.25], [0.0, 0.0]]))


@pytest.mark.parametrize("loss", [softmax, bce, bpr, partial(gbce, beta=0.4)])
def test_a_candidate_at_minus_infinity_is_no_candidate(loss):
    table, positive = scores(), torch.tensor([0, 1, 2, 3, 8, 0])
    wider = torch.cat([table, torch.full((6, 2), -torch.inf)], dim=1)
    assert float(loss(wider, positive)) == pytest.approx(float(loss(table, positive)), abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "error"), [(softmax, 2**-9), (bce, 1e-6), (bpr, 1e-6), (partial(gbce, beta=0.4), 1e-6)]
)
def test_loss_is_float32_for_half_precision_scores(loss, error):
    table, positive = scores().bfloat16(), torch.tensor([0, 1, 2, 3, 8, 0])
    value, gradient = value_and_gradient(loss, table, positive)
    assert loss(table, positive).dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    assert value == pytest.approx(float(loss(table.float(), positive)), abs=error)


@pytest.mark.parametrize(
    ("t", "beta"), [(0.0, 1.0), (0.25, 0.769), (0.5, 0.537), (0.75, 0.306), (1.0, 0.0750)]
)
def test_beta_on_movielens_1m_with_256_negatives(t, beta):
    assert gbce_beta(3416, 256, t) == pytest.approx(beta, abs=5e-4)


def test_beta_with_as_many_negatives_as_items():
    assert gbce_beta(11, 10, 0.75) == 1.0  # plain BCE
    assert gbce_beta(11, 40, 0.5) == pytest.approx(2.5)  # 1 + (40/10 - 1)/2
    assert gbce_beta(11, 40, 1.0) == pytest.approx(4.0)


def test_probabilities_are_calibrated_at_t_1_with_more_negatives_than_items():
    """The scores that minimise the expected loss of 12 draws from 4 items."""
    shares = torch.tensor([0.5, 0.3, 0.2, 0.0])
    beta = gbce_beta(5, 12, 1.0)  # V - 1 = 4 items are drawn, each 3 times
    scores = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        positive = beta * (shares * functional.softplus(-scores)).sum()
        loss = positive + 3 * ((1 - shares) * functional.softplus(scores)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(torch.sigmoid(scores), shares, atol=1e-3, rtol=0)


@pytest.mark.parametrize("t", [-0.1, 1.5])
def test_t_outside_its_range_is_refused(t):
    with pytest.raises(ValueError, match=rf"t must lie in \[0, 1\], not {t}"):
        gbce_beta(100, 10, t)


def test_bpr_by_hand():
    # pairs (1, 0), (1, 2) and, in row two, (0, 0) alone: (log(1 + 1/e) + log(1 + e)) / 2 and log 2
    table = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, -torch.inf]])
    expected = ((0.313262 + 1.313262) / 2 + 0.693147) / 2
    assert float(bpr(table, torch.tensor([0, 1]))) == pytest.approx(expected, abs=1e-5)


SETS = torch.tensor([[1, 2, 5], [2, 0, 0], [8, 1, 0], [3, 0, 0], [4, 7, 0], [7, 6, 5]])


def over_members(loss_of_row, table: torch.Tensor) -> torch.Tensor:
    """Mean over rows of a float64 loss of the row's candidates and a boolean label for each."""
    losses = []
    for row, members in zip(table.double(), SETS.tolist(), strict=True):
        there = row > -torch.inf
        label = torch.zeros(9, dtype=torch.bool)
        label[[m for m in members if m]] = True
        losses.append(loss_of_row(row[there], label[there]))
    return torch.stack(losses).mean()


def all_pairs(row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return torch.stack(
        [-functional.logsigmoid(p - n) for p in row[label] for n in row[~label]]
    ).mean()


REFERENCES = {
    softmax: lambda row, label: -row.log_softmax(0)[label].mean(),
    bce: lambda row, label: functional.binary_cross_entropy_with_logits(row, label.double()),
    bpr: all_pairs,
}


@pytest.mark.parametrize("loss", REFERENCES, ids=lambda f: f.__name__)
def test_sets_of_positives_agree_with_their_definition(loss):
    table = scores()
    table[:, 0] = table[3, 7] = -torch.inf
    value, gradient = value_and_gradient(loss, table, SETS)
    expected, slope = value_and_gradient(
        lambda t, _: over_members(REFERENCES[loss], t), table.double(), SETS
    )
    assert value == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient.double(), slope, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("loss", [softmax, bce, bpr, partial(gbce, beta=0.4)])
def test_a_set_of_one_is_a_positive(loss):
    table, positive = with_holes()
    for a, b in zip(
        value_and_gradient(loss, table, positive),
        value_and_gradient(loss, table, positive[:, None]),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("negatives", "t"), [(1, 0.0), (4, 0.0), (4, 0.75), (4, 1.0), (None, 0.0)])
def test_the_uninformed_score_minimises_gbce(negatives, t):
    """If targets and negatives are uniform, the gradient of every score is 0."""
    size = 6
    k = negatives or size - 1
    beta = gbce_beta(size, k, t)
    scores = torch.full(
        (size,), uninformed_score(size, negatives, beta), requires_grad=True, dtype=torch.float64
    )
    probability = 1 / (size - 1)  # a negative is one of the other items
    expected = sum(
        beta * functional.softplus(-scores[i]) / size
        + sum(
            k * probability * functional.softplus(scores[j]) / size for j in range(size) if j != i
        )
        for i in range(size)
    )
    expected.backward()
    assert scores.grad.tolist() == pytest.approx([0] * size, abs=1e-9)
