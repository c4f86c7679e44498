from dataclasses import replace

import numpy as np
import pytest

from genrec.baselines import ItemKNN
from genrec.baselines.item_knn import item_similarities, tuned
from genrec.data import Cases, Sequences

# users of the items: 1 has a b c d, 2 has a b, 3 has c, 4 has a b c d without b = a c d, 5 nobody
LOG = Sequences.from_lists([[1, 2, 4], [2, 1, 1], [1, 3, 4], [4, 1]])
COUNTS = np.array([0, 5, 2, 1, 3, 0])


def knn(neighbours: int = 9, shrinkage: float = 0.0, decay: float = 1.0) -> ItemKNN:
    return ItemKNN(item_similarities(LOG, 5, neighbours, shrinkage), COUNTS, decay)


def test_similarities_by_hand():
    # n = 4, 2, 1, 3; n_12 = 2, n_13 = 1, n_14 = 3, n_24 = 1, n_34 = 1
    expected = np.zeros((6, 6))
    expected[1, 2] = expected[2, 1] = 0.707107  # 2/sqrt(8)
    expected[1, 3] = expected[3, 1] = 0.5  # 1/sqrt(4)
    expected[1, 4] = expected[4, 1] = 0.866025  # 3/sqrt(12)
    expected[2, 4] = expected[4, 2] = 0.408248  # 1/sqrt(6)
    expected[3, 4] = expected[4, 3] = 0.577350  # 1/sqrt(3)
    np.testing.assert_allclose(knn().similarities.toarray(), expected, atol=1e-6)


def test_shrinkage_by_hand():
    # 2/(sqrt(8) + 2), 1/(2 + 2)
    found = knn(shrinkage=2.0).similarities.toarray()
    assert found[1, 2] == pytest.approx(0.414214, abs=1e-6)
    assert found[1, 3] == pytest.approx(0.25)


def test_each_item_keeps_its_own_nearest():
    kept = knn(neighbours=1).similarities.toarray()
    assert [int(row.argmax()) for row in kept] == [0, 4, 1, 4, 1, 0]
    assert (kept > 0).sum(axis=1).tolist() == [0, 1, 1, 1, 1, 0]


def test_scores_by_hand():
    # after [2, 3] with decay 1/2: item 1 earns 0.5 + 0.707107/2, item 4 0.577350 + 0.408248/2; and
    # a thousandth of n/11
    score = knn(decay=0.5).score(Sequences.from_lists([[2, 3], []]))
    thousandth = np.array([5, 2, 1, 3, 0]) / 11_000
    earned = np.array([0.853553, 0, 0, 0.781474, 0])
    np.testing.assert_allclose(score[:, 1:], [earned + thousandth, thousandth], atol=2e-6)
    assert (score[:, 0] == -np.inf).all()


def test_a_repeated_item_counts_once_where_it_is_newest():
    score = knn(decay=0.5).score(Sequences.from_lists([[2, 3, 2], [3, 2]]))
    np.testing.assert_allclose(score[0], score[1])


def test_similarities_do_not_depend_on_order_or_repetition():
    shuffled = Sequences.from_lists([[4, 2, 1], [1, 2], [3, 4, 1, 3], [1, 4]])
    assert (item_similarities(shuffled, 5, 9, 0.0) != knn().similarities).nnz == 0


def test_tuning_finds_the_decay_that_ranks_the_target_first(groups):
    # [2, 3]: item 4 is nearer to 3, item 1 to 2 and altogether
    for target, best in ((1, 1.0), (4, 0.05)):
        cases = Cases(
            Sequences.from_lists([[2, 3]]), np.array([target], np.int32), np.zeros(1, np.int64)
        )
        assert tuned(knn(), replace(groups, valid=cases), decays=(1.0, 0.05)).decay == best


def test_impossible_parameters():
    with pytest.raises(ValueError, match="0 neighbours"):
        knn(neighbours=0)
    with pytest.raises(ValueError, match="shrinkage is -1"):
        knn(shrinkage=-1)
    with pytest.raises(ValueError, match="decay is 0"):
        knn(decay=0)


@pytest.mark.slow
def test_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(ItemKNN.fit) == pytest.approx(0.0916, abs=0.001)
