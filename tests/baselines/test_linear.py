"""EASE and SLIM against solutions that were found in other ways."""

import numpy as np
import pytest
from scipy.optimize import minimize

from genrec.baselines import EASE, SLIM
from genrec.baselines.linear import ease_weights, gram_matrix, slim_weights
from genrec.config.errors import GenrecError
from genrec.data import Sequences

USERS = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(float)
GRAM = USERS.T @ USERS


def test_ease_is_a_ridge_regression_on_the_other_items():
    weights = ease_weights(GRAM, 3.0)
    for item in range(6):
        others = np.delete(USERS, item, axis=1)
        expected = np.linalg.solve(others.T @ others + 3 * np.eye(5), others.T @ USERS[:, item])
        found = weights[1:, item + 1]
        np.testing.assert_allclose(np.delete(found, item), expected, atol=1e-6)
        assert found[item] == 0
    assert (weights[0] == 0).all()
    assert (weights[:, 0] == 0).all()


def test_slim_is_a_bounded_regression_on_the_other_items():
    l1, l2 = 1.5, 2.0
    weights = slim_weights(GRAM, l1, l2)
    assert weights.min() == 0
    for item in range(6):
        others = np.delete(USERS, item, axis=1)

        def loss(w, item=item, others=others):
            error = USERS[:, item] - others @ w
            return error @ error / 2 + l2 / 2 * w @ w + l1 * w.sum()

        expected = minimize(loss, np.zeros(5), bounds=[(0, None)] * 5, tol=1e-12)
        found = np.delete(weights[1:, item + 1], item).astype(float)
        assert loss(found) == pytest.approx(expected.fun, rel=1e-3)
        np.testing.assert_allclose(found, expected.x, atol=0.02)


def test_more_l1_makes_more_weights_zero():
    zeros = [int((slim_weights(GRAM, l1, 1.0) == 0).sum()) for l1 in (0.0, 2.0, 1000.0)]
    assert zeros[0] < zeros[1] < zeros[2] == 49


def test_scores_by_hand():
    weights = np.zeros((4, 4), np.float32)
    weights[1, 3], weights[2, 3], weights[2, 1] = 0.5, 0.25, -0.5
    score = EASE(weights, np.array([0, 2, 1, 1]), 0.5).score(Sequences.from_lists([[1, 2], []]))
    thousandth = np.array([2, 1, 1]) / 4000  # of the training share
    earned = np.array([[-0.5, 0, 0.25 + 0.25], [0, 0, 0]])  # item 1 is the older one
    np.testing.assert_allclose(score[:, 1:], earned + thousandth, atol=1e-6)
    assert (score[:, 0] == -np.inf).all()


def test_a_user_counts_once_for_a_pair(groups):
    gram = gram_matrix(groups)
    assert gram.max() <= len(groups.train)
    assert (gram == gram.T).all()


@pytest.mark.parametrize("kind", [EASE, SLIM])
def test_too_many_items_are_refused_before_memory_is_taken(kind, groups, monkeypatch):
    monkeypatch.setattr("genrec.baselines.linear.MOST_ITEMS", 39)
    with pytest.raises(GenrecError, match=r"40 items: at most 39 are possible; choose item_knn"):
        kind.fit(groups)


def test_impossible_values_are_refused():
    with pytest.raises(GenrecError, match="EASE regularisation is 0"):
        ease_weights(GRAM, 0.0)
    with pytest.raises(GenrecError, match="SLIM l1 is -1"):
        slim_weights(GRAM, -1.0, 1.0)
    with pytest.raises(GenrecError, match=r"ease decay is 1\.5; it must lie in"):
        EASE(np.zeros((3, 3), np.float32), np.zeros(3, np.int64), 1.5)
