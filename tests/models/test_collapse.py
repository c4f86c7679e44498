import numpy as np
import pytest

from genrec.baselines import Popularity
from genrec.data import leave_one_out, synthetic
from genrec.metrics import evaluate
from genrec.models.collapse import is_above, popularity_ndcg
from genrec.recommender import TopK


def test_the_level_is_that_of_the_popularity_baseline():
    split = leave_one_out(synthetic.chain(80, 30, 10, 0.1, seed=0))
    expected = evaluate(TopK(Popularity.fit(split)), split.valid, split.catalogue, 7).per_user["ndcg@7"]
    np.testing.assert_array_equal(popularity_ndcg(split, 7), expected)
    assert expected.std() > 0


# Differences 1, 1, 1, 0: mean 3/4, standard deviation sqrt(3)/4, two standard errors sqrt(3)/4 = 0.433. Differences
# 1, 0, 0, 0: mean 1/4, two standard errors the same.
@pytest.mark.parametrize(
    ("values", "above"), [([1, 1, 1, 0], True), ([1, 0, 0, 0], False), ([0, 0, 0, 0], False), ([-1, -1, -1, 0], False)]
)
def test_above_is_two_standard_errors(values, above):
    assert is_above(np.array(values) + 0.25, np.full(4, 0.25)) is above


def test_the_difference_is_paired():
    popular = np.array([0.0, 1.0] * 50)
    assert is_above(popular + 0.01, popular)  # small against the spread of users, but the same for every one of them
    assert not is_above(popular[::-1] + 0.01, popular)
