import numpy as np
import pytest
import torch

from genrec.baselines import ALS, BPR
from genrec.baselines.als import item_sets, solved, user_sets
from genrec.baselines.bpr import mean_and_one, regressed
from genrec.data import Sequences, Split

ALPHA, WEIGHT = 3.0, 0.7


def squared_error(x: torch.Tensor, y: torch.Tensor, train: Sequences) -> torch.Tensor:
    """The objective over the dense matrix, one entry at a time; rows of y are items, y[0] is
    PAD."""
    used = torch.zeros(len(x), len(y))
    used[train.rows(), train.items.astype(np.int64)] = 1
    loss = (torch.where(used > 0, 1 + ALPHA, 1.0) * (used - x @ y.T) ** 2)[:, 1:].sum()
    return loss + WEIGHT * ((x**2).sum() + (y[1:] ** 2).sum())


def factors(rows: int, width: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    found[0] = 0
    return found


def test_sets_of_both_sides():
    train = Sequences.from_lists([[2, 1, 2], [3, 1]])
    assert [row.tolist() for row in item_sets(train, 4)] == [[1, 2], [1, 3]]
    assert [row.tolist() for row in user_sets(train, 4)] == [[], [1, 2], [1], [2], []]


def test_a_solution_has_no_gradient():
    rng = np.random.default_rng(4)
    train = Sequences.from_lists(
        [rng.permutation(12)[: rng.integers(0, 12)] + 1 for _ in range(30)]
    )
    y = factors(13, 4, seed=1)
    x = torch.from_numpy(solved(item_sets(train, 12), y, ALPHA, WEIGHT)).requires_grad_()
    y_grad = torch.from_numpy(y)
    squared_error(x, y_grad, train).backward()
    assert float(x.grad.abs().max()) < 1e-3
    x_fixed = x.detach()
    items = solved(
        user_sets(train, 12), np.concatenate([np.zeros((1, 4), np.float32), x_fixed]), ALPHA, WEIGHT
    )
    found = torch.from_numpy(items).requires_grad_()
    squared_error(x_fixed, found, train).backward()
    assert float(found.grad[1:].abs().max()) < 1e-3


def test_every_sweep_lowers_the_error(groups: Split):
    losses = []
    for sweeps in range(5):
        als = ALS.fit(groups, factors=4, alpha=ALPHA, regularisation=WEIGHT, iterations=sweeps)
        x = solved(item_sets(groups.train, 40), als.item_vectors, ALPHA, WEIGHT)
        losses.append(
            float(
                squared_error(torch.from_numpy(x), torch.from_numpy(als.item_vectors), groups.train)
            )
        )
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_als_scores_by_hand():
    # D = 1, y = 2, 1; history {1}: x = (1 + 1)·2 / (4 + 1 + 1·4 + 1) = 0.4
    als = ALS(
        np.array([[0], [2], [1]], np.float32), np.array([0, 3, 1]), alpha=1.0, regularisation=1.0
    )
    score = als.score(Sequences.from_lists([[1], [1, 1], []]))
    expected = [[-np.inf, 0.80075, 0.40025]] * 2 + [[-np.inf, 0.00075, 0.00025]]
    np.testing.assert_allclose(score, expected, atol=1e-6)


def test_items_without_events_get_no_score_of_als(groups: Split):
    als = ALS.fit(groups, factors=4)
    missing = groups.catalogue.counts == 0
    assert missing.sum() == 1
    assert not als.item_vectors[missing].any()


def test_bpr_scores_by_hand():
    # y = (1, 0), (0, 2), (3, 1); history [1, 2, 1]: mean of the set (0.5, 1); W adds (0, 1) and
    # swaps the columns
    y = np.array([[9, 9], [1, 0], [0, 2], [3, 1]], np.float32)
    swap = np.array([[0, 1], [1, 0], [0, 1]], np.float32)
    bpr = BPR(y, np.array([-np.inf, 0.25, 0, 0], np.float32), swap)
    score = bpr.score(Sequences.from_lists([[1, 2, 1], []]))
    # x = (1, 0.5 + 1), and (0, 1)
    assert score.tolist() == [[-np.inf, 1.25, 3.0, 4.5], [-np.inf, 0.25, 2.0, 1.0]]


def test_the_fold_in_finds_a_linear_map():
    rng = np.random.default_rng(7)
    train = Sequences.from_lists([rng.permutation(20)[:5] + 1 for _ in range(400)])
    y = factors(21, 3, seed=2)
    true = factors(4, 3, seed=3)
    users = mean_and_one(train, y) @ true
    np.testing.assert_allclose(regressed(train, y, users), true, atol=0.02)


def test_impossible_parameters():
    with pytest.raises(ValueError, match="alpha is 0"):
        ALS(factors(2, 1, 0), np.zeros(2, np.int64), alpha=0)


@pytest.mark.slow
def test_als_on_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(ALS.fit) > 0.047


@pytest.mark.slow
def test_bpr_on_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(BPR.fit) > 0.036
