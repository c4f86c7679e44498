import math

import pytest
import torch

from genrec.models.lambdarank_loss import lambdarank


def gradient_of(
    table: torch.Tensor, positive: torch.Tensor, **options: float | str
) -> torch.Tensor:
    leaf = table.clone().requires_grad_()
    lambdarank(leaf, positive, **options).backward()
    return leaf.grad


def as_lightgbm(
    scores: list[float], relevant: set[int], cutoff: int, sigma: float, *, truncated: bool
) -> list[float]:
    """Gradient of one row after LightGBM's ``LambdarankNDCG``: pairs of ranks, high and low by
    label, in float64; optionally without the discounts below the cutoff."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    order = [i for i in order if scores[i] > -math.inf]
    inverse_max_dcg = 1 / sum(1 / math.log2(i + 2) for i in range(min(cutoff, len(relevant))))
    lambdas, total = [0.0] * len(scores), 0.0
    for i in range(min(cutoff, len(order))):
        for j in range(i + 1, len(order)):
            if (order[i] in relevant) == (order[j] in relevant):
                continue
            high, low = (i, j) if order[i] in relevant else (j, i)
            delta = scores[order[high]] - scores[order[low]]
            discount = 1 / math.log2(i + 2) - (
                0.0 if truncated and j >= cutoff else 1 / math.log2(j + 2)
            )
            weight = discount * inverse_max_dcg / (0.01 + abs(delta))
            p = sigma * weight / (1 + math.exp(sigma * delta))
            lambdas[order[high]] -= p
            lambdas[order[low]] += p
            total += 2 * p
    return [x * math.log2(1 + total) / total for x in lambdas]


def test_two_items_by_hand():
    # positive second: 1 - 1/log2(3) = 0.36907 swaps; sigmoid(1) = 0.73106; 0.73106 * 0.36907 / 1.01
    # = 0.26714; total 0.53428, log2(1.53428) / 0.53428 = 1.15587; 0.26714 * 1.15587 = 0.30878
    table = torch.tensor([[0.0, 1.0]])
    assert float(lambdarank(table, torch.tensor([0]))) == pytest.approx(0.36907, abs=1e-5)
    torch.testing.assert_close(
        gradient_of(table, torch.tensor([0])),
        torch.tensor([[-0.30878, 0.30878]]),
        atol=2e-5,
        rtol=0,
    )


@pytest.mark.parametrize("cutoff", [1, 3, 50])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("discounts", ["all", "truncated"])
def test_gradient_is_that_of_pairs_of_ranks(cutoff, sigma, discounts):
    table = 2 * torch.randn(3, 9, generator=torch.Generator().manual_seed(1))
    table[:, 0] = -torch.inf
    positive = torch.tensor([[3, 5, 8], [2, 0, 0], [1, 7, 0]])
    expected = [
        as_lightgbm(row, set(members) - {0}, cutoff, sigma, truncated=discounts == "truncated")
        for row, members in zip(table.double().tolist(), positive.tolist(), strict=True)
    ]
    gradient = gradient_of(table, positive, cutoff=cutoff, sigma=sigma, discounts=discounts)
    torch.testing.assert_close(
        3 * gradient.double(), torch.tensor(expected).double(), atol=1e-6, rtol=1e-5
    )


def test_single_positives_are_sets_of_one():
    table = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    positive = torch.tensor([1, 4, 6, 2])
    assert lambdarank(table, positive) == lambdarank(table, positive[:, None])
    assert torch.equal(gradient_of(table, positive), gradient_of(table, positive[:, None]))


def test_value_is_one_minus_ndcg():
    table = torch.tensor([[-torch.inf, 4.0, 3.0, 2.0, 1.0]] * 3)
    # ranks {1, 2}: 0; {1, 3}: 1 - (1 + 0.5) / 1.63093; {4}: beyond a cutoff of 3
    values = [
        float(lambdarank(table[:1], torch.tensor([p]), cutoff=3)) for p in ([1, 2], [1, 3], [4, 0])
    ]
    assert values == pytest.approx([0, 0.08028, 1], abs=1e-5)
    together = lambdarank(table, torch.tensor([[1, 2], [1, 3], [4, 0]]), cutoff=3)
    assert float(together) == pytest.approx(1.08028 / 3, abs=1e-5)


def test_only_the_best_negatives_take_part_and_positives_always_do():
    table = torch.tensor([[-torch.inf, 5.0, 4.0, 3.0, 2.0, 1.0]])
    moved = gradient_of(table, torch.tensor([[5]]), truncate=2) != 0
    assert moved.tolist() == [[False, True, True, False, False, True]]


def test_rows_that_cannot_gain_have_no_gradient():
    table = torch.tensor([[-torch.inf, 2.0, 1.0]])
    everything = gradient_of(table, torch.tensor([[1, 2]]))
    nothing = gradient_of(table, torch.tensor([[0, 0]]))
    assert everything.tolist() == nothing.tolist() == [[0, 0, 0]]


def test_gradients_of_a_row_sum_to_zero_and_stay_in_its_precision():
    table = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    positive = torch.tensor([[1, 2, 3], [4, 0, 0], [9, 8, 0], [5, 6, 7], [29, 1, 0]])
    assert gradient_of(table, positive).sum(dim=1).abs().max() < 1e-6
    half = gradient_of(table.bfloat16(), positive)
    assert half.dtype == torch.bfloat16
    assert lambdarank(table.bfloat16(), positive).dtype == torch.float32
