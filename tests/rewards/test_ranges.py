"""Ranges of weights: reading specs, refused values, random draws."""

import numpy as np
import pytest

from genrec.rewards import (
    draw_weights,
    parse_rewards,
    require_inside,
    weight_grid,
    weighted,
    weights_along,
)


@pytest.mark.parametrize(
    ("spec", "weight", "ranges"),
    [
        ("diversity=0:2", 0.5, {"diversity": (0, 2)}),
        ("diversity=-1:1", -0.5, {"diversity": (-1, 1)}),
        ("genrec.rewards:Novelty=1e-1:3e-1", 0.15, {"novelty": (0.1, 0.3)}),
        ("genrec.rewards:Novelty", 1.0, {}),
        ("genrec.rewards:Novelty=2", 2.0, {}),
    ],
)
def test_a_range_counts_with_its_middle(spec, weight, ranges):
    objective = parse_rewards(spec)
    assert objective.terms[0].weight == pytest.approx(weight)
    assert objective.ranges == ranges


def test_a_range_of_a_reward_in_a_file(tmp_path):
    (tmp_path / "a=1").mkdir()
    file = tmp_path / "a=1" / "mine.py"
    file.write_text("def fresh(slates, context):\n    return slates * 0.5\n")
    assert parse_rewards([f"{file}:fresh=0:2", "ndcg"]).ranges == {"fresh": (0, 2)}
    assert weighted([f"{file}:fresh=0:2"]).name == "0.5*fresh"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:0", "'2:0' of reward 'diversity' is a range that does not rise; write LOW:HIGH"),
        ("1:1", "does not rise"),
        (":1", "is not a number; write for instance diversity=0.5, or a range diversity=0:2"),
        ("0:", "is not a number"),
        ("0:1:2", "is not a number"),
        ("0:inf", "is not a number"),
        ("low:high", "weight 'low:high' of reward 'diversity' is not a number"),
    ],
)
def test_what_is_no_range_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_rewards(f"diversity={text}")


def test_draws_are_denser_at_the_low_end_with_a_share_at_the_ends():
    drawn = draw_weights({"a": (0, 2), "b": (-1, 1)}, 20_000, np.random.default_rng(0))
    assert drawn.shape == (20_000, 2)
    for column, (low, high) in zip(drawn.T, ((0, 2), (-1, 1)), strict=True):
        assert (column.min(), column.max()) == (low, high)
        assert np.mean(column == low) == pytest.approx(0.1, abs=0.01)
        assert np.mean(column == high) == pytest.approx(0.1, abs=0.01)
        inner = column[(column > low) & (column < high)]
        for part, below in (
            (1 / 16, 1 / 4),
            (1 / 4, 1 / 2),
            (9 / 16, 3 / 4),
        ):  # u² < 1/4 as often as u < 1/2
            assert np.mean(inner < low + part * (high - low)) == pytest.approx(below, abs=0.02)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
    np.testing.assert_array_equal(
        drawn, draw_weights({"a": (0, 2), "b": (-1, 1)}, 20_000, np.random.default_rng(0))
    )


def test_grids():
    assert weight_grid({"a": (1, 3)}, 3).tolist() == [[1], [1.5], [3]]
    assert weight_grid({"a": (1, 3)}, 1).tolist() == [[1], [3]]
    assert len(weight_grid({"a": (0, 1), "b": (0, 1)}, 33)) == 25
    assert weight_grid({"a": (0, 1), "b": (0, 1), "c": (0, 1)}, 27)[13].tolist() == [
        0.25,
        0.25,
        0.25,
    ]
    assert weights_along({"a": (1, 3), "b": (-1, 1)}, 0.5) == {"a": 1.5, "b": -0.5}


def test_weights_outside_are_refused():
    require_inside({"a": 0, "b": 2}, {"a": (0, 1), "b": (0, 2)})
    with pytest.raises(ValueError, match="weight 3 of a is outside the trained range, 0 to 1"):
        require_inside({"a": 3}, {"a": (0, 1)})
    with pytest.raises(
        ValueError, match="the weight of 'c' cannot be chosen: the ranges are a=0:1"
    ):
        require_inside({"c": 3}, {"a": (0, 1)})
    with pytest.raises(ValueError, match="all weights of this run are fixed"):
        require_inside({"c": 3}, {})
