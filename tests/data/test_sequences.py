import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data import Sequences


@pytest.fixture
def three() -> Sequences:
    return Sequences.from_lists([[1, 2, 3], [], [4, 5]])


def lists(sequences: Sequences) -> list[list[int]]:
    return [sequences[n].tolist() for n in range(len(sequences))]


def test_layout(three):
    assert three.offsets.tolist() == [0, 3, 3, 5]
    assert three.items.tolist() == [1, 2, 3, 4, 5]
    assert three.offsets.dtype == np.int64
    assert three.items.dtype == np.int32
    assert three.lengths.tolist() == [3, 0, 2]
    assert three.rows().tolist() == [0, 0, 0, 2, 2]


def test_getitem_with_negative_and_invalid_indices(three):
    assert three[-1].tolist() == [4, 5]
    assert three[1].tolist() == []
    with pytest.raises(IndexError, match="sequence 3 of 3"):
        three[3]


def test_iteration_ends(three):
    assert [row.tolist() for row in three] == [[1, 2, 3], [], [4, 5]]


def test_take_by_index_and_by_mask(three):
    assert lists(three.take([2, 0, 2])) == [[4, 5], [1, 2, 3], [4, 5]]
    assert lists(three.take(np.array([True, False, False]))) == [[1, 2, 3]]
    assert len(three.take(np.array([], dtype=np.int64))) == 0


def test_last_and_drop_last(three):
    assert lists(three.last(2)) == [[2, 3], [], [4, 5]]
    assert lists(three.drop_last(1)) == [[1, 2], [], [4]]
    assert lists(three.drop_last(9)) == [[], [], []]
    assert lists(three.drop_last(np.array([3, 1, 0]))) == [[], [], [4, 5]]


def test_last_of_taken_rows_does_not_reach_into_other_rows(three):
    assert lists(three.take([2]).last(9)) == [[4, 5]]


def test_padding_left_and_right(three):
    assert three.padded().tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 0]]
    assert three.padded(side="left").tolist() == [[1, 2, 3], [0, 0, 0], [0, 4, 5]]
    assert three.padded(2, side="left").tolist() == [[2, 3], [0, 0], [4, 5]]
    assert three.padded(4).tolist() == [[1, 2, 3, 0], [0, 0, 0, 0], [4, 5, 0, 0]]


def test_padding_of_empty_sequences():
    assert Sequences.from_lists([[], []]).padded().tolist() == [[0], [0]]


def test_offsets_beyond_the_items_are_refused():
    with pytest.raises(ValueError, match="offsets end at"):
        Sequences(np.array([0, 3]), np.array([1, 2], dtype=np.int32))


RAGGED = st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6)


@given(RAGGED, st.integers(1, 7))
def test_padding_keeps_the_newest_items_in_order(rows, length):
    sequences = Sequences.from_lists(rows)
    for side in ("left", "right"):
        padded = sequences.padded(length, side=side)
        assert padded.shape == (len(rows), length)
        assert [[i for i in row if i] for row in padded.tolist()] == [row[-length:] for row in rows]


@pytest.fixture
def timed() -> Sequences:
    return Sequences.from_lists([[1, 2, 3], [], [4, 5]], times=[[10, 20, 30], [], [5, 7]])


def test_times_belong_to_items(timed, three):
    assert timed.times.tolist() == timed.known_times().tolist() == [10, 20, 30, 5, 7]
    assert timed.times.dtype == np.int64
    assert three.times is None
    assert three.take([2]).times is None
    assert timed.take([2, 0, 2]).times.tolist() == [5, 7, 10, 20, 30, 5, 7]
    assert timed.take(np.array([True, True, False])).times.tolist() == [10, 20, 30]
    assert timed.last(1).times.tolist() == [30, 7]
    assert timed.drop_last(np.array([2, 0, 1])).times.tolist() == [10, 5]
    assert timed.slices(np.array([1, 4]), np.array([3, 5])).times.tolist() == [20, 30, 7]
    assert Sequences.from_lists([[], []], times=[[], []]).times.tolist() == []


def test_padded_times(timed, three):
    assert timed.padded_times().tolist() == [[10, 20, 30], [0, 0, 0], [5, 7, 0]]
    assert timed.padded_times(2, side="left").tolist() == [[20, 30], [0, 0], [5, 7]]
    assert timed.padded_times(4, side="left").tolist() == [
        [0, 10, 20, 30],
        [0, 0, 0, 0],
        [0, 0, 5, 7],
    ]
    for needy in (three.padded_times, three.known_times):
        with pytest.raises(ValueError, match="the times of these histories' events are unknown"):
            needy()


def test_there_must_be_one_time_per_item():
    with pytest.raises(ValueError, match=r"times have shape \(1,\), items \(2,\)"):
        Sequences(np.array([0, 2]), np.array([1, 2], dtype=np.int32), np.array([5]))
    with pytest.raises(ValueError, match="not as long as the lists of items"):
        Sequences.from_lists([[1, 2], [3]], times=[[5], [6, 7]])


@given(RAGGED, st.data())
def test_operations_keep_times_with_their_items(rows, data):
    stamps = iter(range(100, 1000))  # each event has its own
    sequences = Sequences.from_lists(rows, times=[[next(stamps) for _ in row] for row in rows])
    item_at = dict(zip(sequences.times.tolist(), sequences.items.tolist(), strict=True))
    for _ in range(3):
        number = data.draw(st.integers(0, 6))
        rows_at = (
            data.draw(st.lists(st.integers(0, len(sequences) - 1), max_size=6))
            if len(sequences)
            else []
        )
        flat = np.sort(
            data.draw(st.lists(st.integers(0, len(sequences.items)), min_size=4, max_size=4))
        )
        sequences = data.draw(
            st.sampled_from(
                [
                    lambda s, n=number: s.last(n),
                    lambda s, n=number: s.drop_last(n),
                    lambda s, n=number: s.drop_last(np.arange(len(s)) % (n + 1)),
                    lambda s, chosen=rows_at: s.take(np.array(chosen, int)),
                    lambda s, n=number: s.take(np.arange(len(s)) % 2 == n % 2),
                    lambda s, flat=flat: s.slices(flat[:2], flat[2:]),
                ]
            )
        )(sequences)
        assert [item_at[time] for time in sequences.times.tolist()] == sequences.items.tolist()
        for side in ("left", "right"):
            items, times = sequences.padded(side=side), sequences.padded_times(side=side)
            assert [
                [item_at[t] if t else 0 for t in row] for row in times.tolist()
            ] == items.tolist()
