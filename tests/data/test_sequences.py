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


def test_layout_is_back_to_back(three):
    assert three.offsets.tolist() == [0, 3, 3, 5]
    assert three.items.tolist() == [1, 2, 3, 4, 5]
    assert three.offsets.dtype == np.int64
    assert three.items.dtype == np.int32
    assert three.lengths.tolist() == [3, 0, 2]
    assert three.rows().tolist() == [0, 0, 0, 2, 2]


def test_getitem_counts_from_both_ends_and_stops_there(three):
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


def test_padding_of_nothing_but_empty_sequences():
    assert Sequences.from_lists([[], []]).padded().tolist() == [[0], [0]]


def test_offsets_beyond_the_items_are_refused():
    with pytest.raises(ValueError, match="offsets end at"):
        Sequences(np.array([0, 3]), np.array([1, 2], dtype=np.int32))


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6), st.integers(1, 7))
def test_padding_keeps_the_newest_items_in_order(rows, length):
    sequences = Sequences.from_lists(rows)
    for side in ("left", "right"):
        padded = sequences.padded(length, side=side)
        assert padded.shape == (len(rows), length)
        assert [[i for i in row if i] for row in padded.tolist()] == [row[-length:] for row in rows]
