import numpy as np
import pytest

from genrec.data import Sequences
from genrec.models.codes import factor_codes, feature_codes, svd_codes


def groups(num_groups: int, size: int, users: int, seed: int = 0) -> Sequences:
    """Users who have items of one group only; group g is items g * size + 1 to (g + 1) * size."""
    rng = np.random.default_rng(seed)
    return Sequences.from_lists(
        [
            rng.choice(size, size // 2, replace=False) + 1 + size * (user % num_groups)
            for user in range(users)
        ]
    )


def test_shape_type_and_padding():
    codes = svd_codes(groups(4, 100, 200), num_items=400, splits=3, seed=0)
    assert codes.shape == (401, 3)
    assert codes.dtype == np.uint8
    assert codes[0].tolist() == [0, 0, 0]


def test_bins_are_of_the_same_size():
    codes = svd_codes(groups(4, 192, 200), num_items=768, splits=3, seed=0)
    for column in codes[1:].T:
        assert (np.bincount(column, minlength=256) == 3).all()


def test_items_of_the_same_users_get_similar_codes():
    sizes = np.array([40, 30, 20, 10])  # users per group, so that each group has a factor
    rng = np.random.default_rng(0)
    lists = [
        rng.choice(150, 75, replace=False) + 1 + 150 * g
        for g, n in enumerate(sizes)
        for _ in range(n)
    ]
    codes = (
        svd_codes(Sequences.from_lists(lists), num_items=600, splits=4, seed=0)[1:]
        .reshape(4, 150, 4)
        .astype(int)
    )
    for split in range(4):
        ranges = [(codes[g, :, split].min(), codes[g, :, split].max()) for g in range(4)]
        apart = [
            all(low > r[1] or high < r[0] for j, r in enumerate(ranges) if j != g)
            for g, (low, high) in enumerate(ranges)
        ]
        assert apart[split], "the group with the split's factor has codes that no other group has"


def test_few_items_have_a_sub_item_each():
    codes = svd_codes(groups(2, 5, 30), num_items=10, splits=4, seed=0)
    for column in codes[1:].T:
        assert sorted(column.tolist()) == [0, 25, 51, 76, 102, 128, 153, 179, 204, 230]


def test_items_without_users_get_codes():
    codes = svd_codes(groups(2, 50, 60), num_items=1000, splits=2, seed=0)
    unseen = codes[101:]
    assert len(np.unique(unseen, axis=0)) > 500  # they differ by the noise
    assert (np.ptp(unseen.astype(int), axis=0) < 255).any()


@pytest.mark.parametrize("users", [1, 2, 3])
def test_fewer_users_than_splits(users):
    codes = svd_codes(
        Sequences.from_lists([[1, 2, 2], [2, 3], [4]][:users]), num_items=300, splits=8, seed=0
    )
    assert codes.shape == (301, 8)
    assert all(len(np.unique(column)) == 256 for column in codes[1:].T)


def test_a_repeated_item_counts_once():
    lists = [list(row) for row in np.random.default_rng(0).integers(1, 301, (50, 20))]
    once = svd_codes(Sequences.from_lists(lists), 300, splits=2, seed=0)
    again = svd_codes(Sequences.from_lists([row + row[:5] for row in lists]), 300, splits=2, seed=0)
    assert np.array_equal(once, again)


def test_the_seed_decides():
    train = groups(4, 100, 200)
    assert np.array_equal(
        svd_codes(train, 400, splits=3, seed=5), svd_codes(train, 400, splits=3, seed=5)
    )
    assert not np.array_equal(
        svd_codes(train, 400, splits=3, seed=5), svd_codes(train, 400, splits=3, seed=6)
    )


def test_codes_of_factors_by_hand():
    factors = np.stack([np.arange(512.0), 7 - 100 * np.arange(512.0)], axis=1)
    codes = factor_codes(factors, np.random.default_rng(0))
    assert codes.shape == (513, 2)
    assert codes[:5].tolist() == [[0, 0], [0, 255], [0, 255], [1, 254], [1, 254]]
    assert codes[-1].tolist() == [255, 0]


def test_equal_factors_are_ordered_at_random():
    first, second = (
        factor_codes(np.ones((256, 1)), np.random.default_rng(seed))[1:, 0] for seed in (0, 1)
    )
    assert sorted(first.tolist()) == list(range(256))
    assert first.tolist() != list(range(256))
    assert first.tolist() != second.tolist()


def test_items_of_the_same_features_get_similar_codes():
    sizes, genres = np.array([300, 250, 150, 100, 200]), np.zeros((1001, 5), bool)
    # One genre per item: each factor is that of one genre.
    genres[1:] = np.repeat(np.eye(5, dtype=bool), sizes, axis=0)
    codes = feature_codes(genres, splits=4, seed=0)
    assert codes[0].tolist() == [0, 0, 0, 0]
    ends = np.cumsum(sizes)
    for split, genre in enumerate([0, 1, 4, 2]):  # the four largest genres in order of their size
        inside = np.zeros(1000, bool)
        inside[ends[genre] - sizes[genre] : ends[genre]] = True
        own, other = codes[1:, split][inside].astype(int), codes[1:, split][~inside].astype(int)
        assert own.min() >= other.max() or own.max() <= other.min()


def test_codes_of_features_need_features():
    for features in (np.zeros((11, 0), bool), np.zeros((11, 3), bool)):
        with pytest.raises(
            ValueError,
            match=r"this log has none: name a file .*read\.items.*teacher\.embedding\.codes svd",
        ):
            feature_codes(features, splits=2, seed=0)


def test_one_feature_leaves_all_codes_to_the_noise():
    codes = feature_codes(np.ones((301, 1), bool), splits=2, seed=0)
    assert all(len(np.unique(column)) == 256 for column in codes[1:].T)
