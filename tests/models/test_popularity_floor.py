import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from genrec.baselines import Popularity
from genrec.data import Cases, Sequences, Split, leave_one_out, make_catalogue, synthetic
from genrec.metrics.ranking import evaluate
from genrec.models.popularity_floor import is_above, popularity_ndcg
from genrec.recommender import TopK


def test_the_level_is_that_of_the_popularity_baseline():
    split = leave_one_out(
        synthetic.chain(num_users=80, num_items=30, length=10, randomness=0.1, seed=0)
    )
    expected = evaluate(TopK(Popularity.fit(split)), split.valid, split.catalogue, k=7).per_user[
        "ndcg@7"
    ]
    np.testing.assert_array_equal(popularity_ndcg(split, 7), expected)
    assert expected.std() > 0


def test_the_level_needs_no_score_of_every_item():
    counts = np.array([0, 5, 5, 9, 0, 7, 0, 0])  # 3, 5, 1, 2, 4, 6, 7
    histories = Sequences.from_lists([[], [3, 3, 5], [1, 2, 3, 5], [7]])
    cases = Cases(histories, np.array([5, 2, 6, 1], np.int32), np.arange(4))
    catalogue = replace(make_catalogue(list("abcdefg")), counts=counts)
    split = Split(
        name="leave-one-out",
        fingerprint="",
        train=histories,
        valid=cases,
        test=cases,
        catalogue=catalogue,
        notes=(),
    )
    # lists 3 5 1, 1 2 4, 4 6 7 and 3 5 1: the target is second, second, second, third
    assert popularity_ndcg(split, 3).round(3).tolist() == [0.631, 0.631, 0.631, 0.5]
    with pytest.raises(ValueError, match="only 3 of 7 items are new to the user in row 2"):
        popularity_ndcg(split, 4)
    many = Cases(Sequences.from_lists([[1]] * 400), np.ones(400, np.int32), np.arange(400))
    large = replace(catalogue, item_ids=np.zeros(500_001, "U1"), counts=np.ones(500_001, np.int64))
    tracemalloc.start()
    popularity_ndcg(replace(split, valid=many, catalogue=large), 10)
    assert tracemalloc.get_traced_memory()[1] < 400 * 500_000 / 4
    tracemalloc.stop()


# Differences 1, 1, 1, 0: mean 3/4, standard deviation sqrt(3)/4, two standard errors sqrt(3)/4 =
# 0.433. Differences 1, 0, 0, 0: mean 1/4, two standard errors the same.
@pytest.mark.parametrize(
    ("values", "above"),
    [([1, 1, 1, 0], True), ([1, 0, 0, 0], False), ([0, 0, 0, 0], False), ([-1, -1, -1, 0], False)],
)
def test_above_is_two_standard_errors(values, above):
    assert is_above(np.array(values) + 0.25, np.full(4, 0.25)) is above


def test_the_difference_is_paired():
    popular = np.array([0.0, 1.0] * 50)
    # small against the standard deviation over users, but the same for each of them
    assert is_above(popular + 0.01, popular)
    assert not is_above(popular[::-1] + 0.01, popular)
