from dataclasses import replace

import numpy as np
import pytest

from genrec.baselines import UserKNN
from genrec.baselines.profiles import profiles
from genrec.baselines.user_knn import tuned
from genrec.data import Cases, Sequences

LOG = Sequences.from_lists([[1, 2, 3, 4], [1, 5], [3], [4, 4]])
COUNTS = np.array([0, 2, 1, 2, 3, 1])
THOUSANDTH = np.array([2, 1, 2, 3, 1]) / 9_000


def knn(neighbours: int) -> UserKNN:
    return UserKNN(profiles(LOG, 5), COUNTS, neighbours)


@pytest.mark.parametrize(
    ("neighbours", "votes"),
    [
        # [1, 2] meets the first user with 2/sqrt(2*4) = 0.707107, the second with 1/sqrt(2*2) = 0.5
        (1, [0.707107, 0.707107, 0.707107, 0.707107, 0]),
        (2, [1.207107, 0.707107, 0.707107, 0.707107, 0.5]),
        (9, [1.207107, 0.707107, 0.707107, 0.707107, 0.5]),
    ],
)
def test_scores_by_hand(neighbours: int, votes: list[float]):
    score = knn(neighbours).score(Sequences.from_lists([[1, 2], [], [2, 1, 1]]))
    np.testing.assert_allclose(
        score[:, 1:], np.array([votes, [0] * 5, votes]) + THOUSANDTH, atol=1e-6
    )
    assert (score[:, 0] == -np.inf).all()


def test_of_equal_neighbours_the_first_votes():
    # [3, 4] meets all but the second user with 1/sqrt(2), the first with 2/sqrt(8): the same
    score = knn(2).score(Sequences.from_lists([[3, 4]]))
    np.testing.assert_allclose(
        score[0, 1:], np.array([0.707107, 0.707107, 1.414214, 0.707107, 0]) + THOUSANDTH, atol=1e-6
    )


def test_tuning_finds_the_number_of_neighbours(groups):
    # [1] is nearest to the first user. Item 2 needs the second, or everybody's favourite, item 4,
    # is before it.
    users = profiles(Sequences.from_lists([[1, 5], [1, 2, 3]]), 5)
    scorer = UserKNN(users, np.array([0, 2, 1, 1, 9, 1]))
    for target, best in ((5, 1), (2, 2)):
        cases = Cases(
            Sequences.from_lists([[1]]), np.array([target], np.int32), np.zeros(1, np.int64)
        )
        assert tuned(scorer, replace(groups, valid=cases), neighbours=(1, 2)).neighbours == best


def test_impossible_parameters():
    with pytest.raises(ValueError, match="0 neighbours"):
        knn(0)


@pytest.mark.slow
def test_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(UserKNN.fit) == pytest.approx(0.042, abs=0.002)
