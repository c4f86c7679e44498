import numpy as np
import pytest
import torch

from genrec.data import Sequences
from genrec.models.objectives import Batch, Last, Masked, RecencySampled, Shifted

MASK = 99
LISTS = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def targets_by_position(batch: Batch) -> dict[tuple[int, int], int]:
    """From (row, column) to the target that is predicted there."""
    width = batch.inputs.shape[1]
    return {
        (r // width, r % width): t
        for r, t in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True)
    }


def test_shifted_batch_by_hand():
    batch = Shifted().batch(
        Sequences.from_lists(LISTS), max_length=3, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[1, 2, 3], [5, 0, 0], [7, 8, 0]]
    assert batch.positions.tolist() == [0, 1, 2, 3, 6, 7]
    assert batch.targets.tolist() == [2, 3, 4, 6, 8, 9]


def test_shifted_batch_takes_the_newest_window():
    batch = Shifted().batch(
        Sequences.from_lists(LISTS), max_length=2, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[2, 3], [5, 0], [7, 8]]
    assert targets_by_position(batch) == {(0, 0): 3, (0, 1): 4, (1, 0): 6, (2, 0): 8, (2, 1): 9}


def test_shifted_inputs_exclude_the_target_and_padding_is_no_target():
    rows = [list(range(1, n + 1)) for n in (2, 5, 3, 9, 2)]
    batch = Shifted().batch(
        Sequences.from_lists(rows), max_length=6, mask_id=MASK, generator=draw()
    )
    assert (batch.targets > 0).all()
    for (row, column), target in targets_by_position(batch).items():
        assert batch.inputs[row, column] == target - 1  # these sequences count upwards
        assert (batch.inputs[row, : column + 1] < target).all()


def test_shifted_query_by_hand():
    inputs, rows = Shifted().query(Sequences.from_lists([[1, 2, 3, 4], [], [5]]), 3, MASK)
    assert inputs.tolist() == [[2, 3, 4], [0, 0, 0], [5, 0, 0]]
    assert rows.tolist() == [2, 3, 6]


def test_masked_batch_with_everything_masked():
    batch = Masked(share=1.0, last_share=0.0).batch(
        Sequences.from_lists(LISTS), max_length=3, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[MASK] * 3, [MASK, MASK, 0], [MASK] * 3]
    assert targets_by_position(batch) == {
        **{(0, 0): 2, (0, 1): 3, (0, 2): 4},
        **{(1, 0): 5, (1, 1): 6},
        **{(2, 0): 7, (2, 1): 8, (2, 2): 9},
    }


@pytest.mark.parametrize(
    "objective", [Masked(share=0.0, last_share=0.0), Masked(share=0.9, last_share=1.0)]
)
def test_masked_batch_with_the_last_item_only(objective):
    batch = objective.batch(
        Sequences.from_lists(LISTS), max_length=3, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[2, 3, MASK], [5, MASK, 0], [7, 8, MASK]]
    assert targets_by_position(batch) == {(0, 2): 4, (1, 1): 6, (2, 2): 9}


def test_only_masked_positions_predict_and_the_rest_is_visible():
    sequences = Sequences.from_lists([draw(n).permutation(50)[:n] + 1 for n in (2, 7, 12, 3)])
    whole = sequences.last(10).padded()
    for seed in range(5):
        batch = Masked(share=0.4).batch(
            sequences, max_length=10, mask_id=MASK, generator=draw(seed)
        )
        hidden = batch.inputs == MASK
        assert hidden.any(dim=1).all()
        assert batch.positions.tolist() == hidden.flatten().nonzero().squeeze(1).tolist()
        restored = batch.inputs.clone()
        restored.view(-1)[batch.positions] = batch.targets
        np.testing.assert_array_equal(restored, whole)


def test_share_of_masked_items_and_of_last_only_sequences():
    sequences = Sequences.from_lists([np.arange(1, 41)] * 500)
    batch = Masked(share=0.2, last_share=0.1).batch(
        sequences, max_length=40, mask_id=MASK, generator=draw()
    )
    counts = (batch.inputs == MASK).sum(dim=1)
    only_last = (counts == 1) & (batch.inputs[:, -1] == MASK)
    assert 0.06 < float(only_last.float().mean()) < 0.14  # 0.1 +- three standard deviations
    assert 0.19 < float((counts[~only_last] / 40).mean()) < 0.21


def test_masked_query_appends_the_mask():
    inputs, rows = Masked().query(Sequences.from_lists([[1, 2, 3, 4], [], [5]]), 3, MASK)
    assert inputs.tolist() == [[3, 4, MASK], [MASK, 0, 0], [5, MASK, 0]]
    assert rows.tolist() == [2, 3, 7]
    assert inputs.flatten()[rows].tolist() == [MASK] * 3


def test_last_batch_by_hand():
    batch = Last().batch(
        Sequences.from_lists([[1, 2, 3, 4], [9], [5, 6], [7, 8, 9]]),
        max_length=2,
        mask_id=MASK,
        generator=draw(),
    )
    assert batch.inputs.tolist() == [[2, 3], [5, 0], [7, 8]]
    assert batch.positions.tolist() == [1, 2, 5]
    assert batch.targets.tolist() == [4, 6, 9]


def test_recency_sampled_with_no_past_draws_the_last_item_only():
    batch = RecencySampled(share=0.6, decay=0.0).batch(
        Sequences.from_lists([*LISTS, [1]]), max_length=2, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[2, 3], [5, 0], [7, 8]]
    assert batch.positions.tolist() == [1, 2, 5]
    assert batch.targets.tolist() == [[4], [6], [9]]


@pytest.mark.parametrize(
    "objective", [RecencySampled(0.5), RecencySampled(0.9, 1.0), RecencySampled(0.5, power=2.0)]
)
def test_only_drawn_items_leave_the_input(objective):
    rng = draw(7)
    rows = [rng.permutation(60)[:n] + 1 for n in (2, 3, 9, 30, 6)]
    batch = objective.batch(
        Sequences.from_lists(rows), max_length=30, mask_id=MASK, generator=draw(1)
    )
    for row, inputs, targets in zip(
        rows, batch.inputs.tolist(), batch.targets.tolist(), strict=True
    ):
        found = [t for t in targets if t]
        assert 1 <= len(found) <= max(1, int(objective.share * len(row)))
        assert targets == sorted(found) + [0] * (len(targets) - len(found))
        assert [i for i in inputs if i] == [i for i in row if i not in found]
    width = batch.inputs.shape[1]
    lengths = (batch.inputs > 0).sum(dim=1)
    assert batch.positions.tolist() == [
        n * width + int(length) - 1 for n, length in enumerate(lengths)
    ]


def test_a_repeated_item_is_one_target_and_one_item_stays():
    batch = RecencySampled(share=1.0, decay=1.0).batch(
        Sequences.from_lists([[4, 4, 4, 4], [4, 5]]), max_length=3, mask_id=MASK, generator=draw()
    )
    assert batch.targets.tolist()[0] == [4]
    assert (batch.inputs > 0).any(dim=1).all()
    assert (batch.targets > 0).sum(dim=1).tolist() == [1, 1]


def test_the_newest_items_that_stay_are_the_input():
    batch = RecencySampled(decay=0.0).batch(
        Sequences.from_lists([range(1, 10)]), max_length=3, mask_id=MASK, generator=draw()
    )
    assert batch.inputs.tolist() == [[6, 7, 8]]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (RecencySampled(decay=0.5), [1 / 15, 2 / 15, 4 / 15, 8 / 15]),
        (RecencySampled(decay=1.0), [0.25, 0.25, 0.25, 0.25]),
        (RecencySampled(power=1.0), [0.1, 0.2, 0.3, 0.4]),
        (RecencySampled(power=2.0), [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        (RecencySampled(power=900.0), [0, 0, 0, 1]),  # 4^900 is no float
    ],
)
def test_positions_are_drawn_by_importance(objective, expected):
    drawn = objective.draw(np.full(20_000, 4), draw()).reshape(-1, 4)
    assert (drawn.sum(axis=1) == 1).all()
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.014)  # four standard deviations


def test_draws_are_with_replacement():
    # only the last position can be drawn, and is twice; two draws of four positions agree in a
    # quarter of the rows
    drawn = RecencySampled(share=0.2, decay=0.0).draw(np.full(50, 10), draw()).reshape(-1, 10)
    assert drawn.sum(axis=1).tolist() == [1] * 50
    twice = (
        RecencySampled(share=0.5, decay=1.0)
        .draw(np.full(20_000, 4), draw())
        .reshape(-1, 4)
        .sum(axis=1)
    )
    assert abs((twice == 1).mean() - 0.25) < 0.013


def test_a_decay_above_1_is_refused():
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\], not 1.2"):
        RecencySampled(decay=1.2)


@pytest.mark.parametrize("objective", [Last(), RecencySampled()])
def test_the_last_position_scores_the_next_item(objective):
    histories = Sequences.from_lists([[1, 2, 3, 4], [], [5]])
    for ours, theirs in zip(
        objective.query(histories, 3, MASK), Shifted().query(histories, 3, MASK), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("objective", [Shifted(), Masked(), Last(), RecencySampled()])
def test_a_query_of_empty_histories(objective):
    inputs, rows = objective.query(Sequences.from_lists([[], []]), 5, MASK)
    assert len(inputs) == len(rows) == 2
    assert (rows < inputs.numel()).all()


def test_batch_moves_to_a_device():
    batch = Batch(*(torch.ones(2, dtype=torch.long) for _ in range(3))).to(torch.device("meta"))
    assert {batch.inputs.device.type, batch.positions.device.type, batch.targets.device.type} == {
        "meta"
    }
