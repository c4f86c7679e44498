"""Hashes of lists, and the grid of greedy selection."""

import numpy as np

from genrec.evaluation.methods import hash_lists
from genrec.evaluation.reranking import greedy_weights


def test_equal_lists_have_equal_hashes():
    hashes = hash_lists(np.array([[1, 2, 3], [3, 2, 1], [1, 2, 3], [1, 2, 4]]))
    assert hashes[0] == hashes[2]
    assert len(set(hashes.tolist())) == 3
    every = np.array(np.meshgrid(*[np.arange(1, 30)] * 3)).reshape(3, -1).T
    assert len(np.unique(hash_lists(every))) == len(every)


def test_the_greedy_grid_holds_both_ends_and_the_reward_of_the_run():
    assert greedy_weights(1, 4.0) == greedy_weights(3, 4.0) == [0, 0.5, 1]
    grid = greedy_weights(21, 16.0)
    assert (len(grid), grid[0], grid[-1], max(grid[:-1])) == (21, 0, 1, 0.941176)
    assert 0.5 in grid
