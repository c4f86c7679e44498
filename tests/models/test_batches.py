"""Batches of similar lengths, and windows of long sequences."""

import numpy as np
import pytest

from genrec.data.sequences import Sequences, length_buckets
from genrec.models.trainer import windows


@pytest.mark.parametrize("tokens", [64, 1000, 10**6])
def test_buckets_hold_every_row_once_within_the_budget(tokens: int):
    lengths = np.random.default_rng(0).integers(1, 90, 700)
    batches = length_buckets(
        lengths, max_length=50, tokens=tokens, generator=np.random.default_rng(1)
    )
    assert sorted(np.concatenate(batches).tolist()) == list(range(700))
    padded = [len(rows) * min(50, int(lengths[rows].max())) for rows in batches]
    assert max(padded) <= tokens
    if tokens == 1000:  # hardly any padding, and full batches
        assert np.minimum(lengths, 50).sum() / sum(padded) > 0.8
        assert np.median(padded) > 800


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    batches = length_buckets(
        np.array([30, 40, 30]), max_length=50, tokens=10, generator=np.random.default_rng(0)
    )
    assert sorted(rows.tolist() for rows in batches) == [[0], [1], [2]]


def test_buckets_change_from_epoch_to_epoch_by_the_generator_alone():
    lengths = np.random.default_rng(0).integers(1, 90, 300)
    first, same, other = (
        length_buckets(lengths, max_length=50, tokens=500, generator=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in same]
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in other]


def test_windows_end_at_every_event_and_keep_their_length():
    sequences = Sequences.from_lists([list(range(1, 9)), [1, 2, 3]])
    numbers = np.random.default_rng(0)
    ends = []
    for _ in range(200):
        cut = windows(sequences, length=5, share=1.0, numbers=numbers)
        assert cut.take(np.array([1])).items.tolist() == [1, 2, 3]
        whole = cut.take(np.array([0])).items.tolist()
        assert whole == list(range(1, len(whole) + 1))
        ends.append(len(whole))
    assert set(ends) == {5, 6, 7, 8}
    assert all(30 < ends.count(end) < 75 for end in (5, 6, 7, 8))  # 50 each, 5 standard deviations


def test_windows_leave_their_share_alone():
    sequences = Sequences.from_lists([list(range(1, 1002))] * 400)
    cut = windows(sequences, length=2, share=0.25, numbers=np.random.default_rng(1))
    assert 0.15 < (cut.lengths < 1001).mean() < 0.35
    assert (windows(sequences, 2, 0.0, np.random.default_rng(1)).lengths == 1001).all()
