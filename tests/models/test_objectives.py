import numpy as np
import pytest
import torch

from genrec.data import Sequences
from genrec.models.objectives import Batch, Masked, Shifted

MASK = 99
LISTS = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answers(batch: Batch) -> dict[tuple[int, int], int]:
    """(row, column) -> target."""
    width = batch.inputs.shape[1]
    return {(r // width, r % width): t for r, t in zip(batch.rows.tolist(), batch.targets.tolist(), strict=True)}


def test_shifted_batch_by_hand():
    batch = Shifted().batch(Sequences.from_lists(LISTS), 3, MASK, draw())
    assert batch.inputs.tolist() == [[1, 2, 3], [5, 0, 0], [7, 8, 0]]
    assert batch.rows.tolist() == [0, 1, 2, 3, 6, 7]
    assert batch.targets.tolist() == [2, 3, 4, 6, 8, 9]


def test_shifted_batch_takes_the_newest_window():
    batch = Shifted().batch(Sequences.from_lists(LISTS), 2, MASK, draw())
    assert batch.inputs.tolist() == [[2, 3], [5, 0], [7, 8]]
    assert answers(batch) == {(0, 0): 3, (0, 1): 4, (1, 0): 6, (2, 0): 8, (2, 1): 9}


def test_shifted_never_shows_a_position_its_own_target_or_asks_for_padding():
    rows = [list(range(1, n + 1)) for n in (2, 5, 3, 9, 2)]
    batch = Shifted().batch(Sequences.from_lists(rows), 6, MASK, draw())
    assert (batch.targets > 0).all()
    for (row, column), target in answers(batch).items():
        assert batch.inputs[row, column] == target - 1  # these sequences count upwards
        assert (batch.inputs[row, : column + 1] < target).all()


def test_shifted_query_by_hand():
    inputs, rows = Shifted().query(Sequences.from_lists([[1, 2, 3, 4], [], [5]]), 3, MASK)
    assert inputs.tolist() == [[2, 3, 4], [0, 0, 0], [5, 0, 0]]
    assert rows.tolist() == [2, 3, 6]


def test_masked_batch_with_everything_masked():
    batch = Masked(share=1.0, last_share=0.0).batch(Sequences.from_lists(LISTS), 3, MASK, draw())
    assert batch.inputs.tolist() == [[MASK] * 3, [MASK, MASK, 0], [MASK] * 3]
    assert answers(batch) == {
        **{(0, 0): 2, (0, 1): 3, (0, 2): 4},
        **{(1, 0): 5, (1, 1): 6},
        **{(2, 0): 7, (2, 1): 8, (2, 2): 9},
    }


@pytest.mark.parametrize("objective", [Masked(share=0.0, last_share=0.0), Masked(share=0.9, last_share=1.0)])
def test_masked_batch_with_the_last_item_only(objective):
    batch = objective.batch(Sequences.from_lists(LISTS), 3, MASK, draw())
    assert batch.inputs.tolist() == [[2, 3, MASK], [5, MASK, 0], [7, 8, MASK]]
    assert answers(batch) == {(0, 2): 4, (1, 1): 6, (2, 2): 9}


def test_only_masked_positions_answer_and_the_rest_is_visible():
    sequences = Sequences.from_lists([draw(n).permutation(50)[:n] + 1 for n in (2, 7, 12, 3)])
    whole = sequences.last(10).padded()
    for seed in range(5):
        batch = Masked(share=0.4).batch(sequences, 10, MASK, draw(seed))
        hidden = batch.inputs == MASK
        assert hidden.any(dim=1).all()
        assert batch.rows.tolist() == hidden.flatten().nonzero().squeeze(1).tolist()
        restored = batch.inputs.clone()
        restored.view(-1)[batch.rows] = batch.targets
        np.testing.assert_array_equal(restored, whole)


def test_share_of_masked_items_and_of_last_only_sequences():
    sequences = Sequences.from_lists([np.arange(1, 41)] * 500)
    batch = Masked(share=0.2, last_share=0.1).batch(sequences, 40, MASK, draw())
    counts = (batch.inputs == MASK).sum(dim=1)
    only_last = (counts == 1) & (batch.inputs[:, -1] == MASK)
    assert 0.06 < float(only_last.float().mean()) < 0.14  # 0.1 +- three standard deviations
    assert 0.19 < float((counts[~only_last] / 40).mean()) < 0.21


def test_masked_query_appends_the_mask():
    inputs, rows = Masked().query(Sequences.from_lists([[1, 2, 3, 4], [], [5]]), 3, MASK)
    assert inputs.tolist() == [[3, 4, MASK], [MASK, 0, 0], [5, MASK, 0]]
    assert rows.tolist() == [2, 3, 7]
    assert inputs.flatten()[rows].tolist() == [MASK] * 3


@pytest.mark.parametrize("objective", [Shifted(), Masked()])
def test_nothing_but_empty_histories_can_be_asked(objective):
    inputs, rows = objective.query(Sequences.from_lists([[], []]), 5, MASK)
    assert len(inputs) == len(rows) == 2
    assert (rows < inputs.numel()).all()


def test_batch_moves_to_a_device():
    batch = Batch(*(torch.ones(2, dtype=torch.long) for _ in range(3))).to(torch.device("meta"))
    assert {batch.inputs.device.type, batch.rows.device.type, batch.targets.device.type} == {"meta"}
