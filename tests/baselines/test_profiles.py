import numpy as np
import pytest
from scipy import sparse

from genrec.baselines import profiles as module
from genrec.baselines.profiles import largest, pair_table, profiles
from genrec.data import Sequences


def test_profiles_agree_with_a_loop():
    rng = np.random.default_rng(1)
    lists = [rng.integers(1, 9, size=rng.integers(0, 12)).tolist() for _ in range(50)]
    expected = np.zeros((50, 9))
    for n, items in enumerate(lists):
        for gap, item in enumerate(reversed(items)):
            expected[n, item] = max(expected[n, item], 0.5**gap)
    np.testing.assert_allclose(profiles(Sequences.from_lists(lists), 8, 0.5).toarray(), expected)


def test_no_histories():
    assert profiles(Sequences.from_lists([]), 3).shape == (0, 4)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_pairs_agree_with_a_loop(block: int):
    rng = np.random.default_rng(2)
    sets = [set(rng.integers(1, 9, size=rng.integers(0, 6)).tolist()) for _ in range(40)]
    expected = np.zeros((9, 9))
    for items in sets:
        for one in items:
            for other in items - {one}:
                expected[one, other] += 1
    train = Sequences.from_lists([list(items) for items in sets])
    table = pair_table(train, 8, lambda both, first, second: both, keep=9, block=block)
    assert np.array_equal(table.toarray(), expected)


@pytest.mark.parametrize("entries", [1, 64, 2**22])
def test_largest_agrees_with_sorting_each_row(entries: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "DENSE_ENTRIES", entries)
    dense = np.random.default_rng(3).integers(0, 4, size=(30, 12)).astype(np.float32)  # many ties
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        for column in sorted(range(12), key=lambda column: (-values[column], column))[:5]:
            expected[row, column] = values[column]
    assert np.array_equal(largest(sparse.csr_matrix(dense), 5).toarray(), expected)
    assert np.array_equal(largest(sparse.csr_matrix(dense), 12).toarray(), dense)
