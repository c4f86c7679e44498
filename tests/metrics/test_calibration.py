"""A temperature is found, applied and checked."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genrec.data import Cases, Sequences
from genrec.metrics.calibration import (
    Calibrated,
    calibration_curve,
    fit_temperature,
    probabilities,
    sigmoids,
)


@dataclass(frozen=True)
class Table:
    """Scores of a history are the row of its first item; an empty history has row 0."""

    rows: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        return self.rows.shape[1] - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        first = histories.padded(1)[:, 0]
        scores = torch.from_numpy(self.rows[first].astype(np.float32))
        scores[:, 0] = -torch.inf
        return scores


def same(scores: list[float], num_items: int) -> Table:
    return Table(np.tile(np.array([0, *scores], np.float32), (num_items + 1, 1)))


def cases(histories: list[list[int]], targets: list[int]) -> Cases:
    return Cases(
        Sequences.from_lists(histories), np.array(targets, np.int32), np.arange(len(targets))
    )


def test_probabilities_are_a_softmax_over_unseen_items() -> None:
    # scores log 1, log 2, log 3, log 4; item 2 is seen: 1 : 3 : 4
    found = probabilities(
        same([0, 0.69314718, 1.0986123, 1.3862944], 4), Sequences.from_lists([[2], []]), 1.0
    )
    np.testing.assert_allclose(
        found, [[0, 0.125, 0, 0.375, 0.5], [0, 0.1, 0.2, 0.3, 0.4]], rtol=1e-5
    )
    assert found.dtype == np.float32


def test_temperature_two_takes_the_square_root() -> None:
    # e^(s/2): 1, 2, 3 where s = log 1, log 4, log 9
    found = probabilities(same([0, 1.3862944, 2.1972246], 3), Sequences.from_lists([[]]), 2.0)
    np.testing.assert_allclose(found, [[0, 1 / 6, 2 / 6, 3 / 6]], rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="is not positive"):
        probabilities(same([1, 2], 2), Sequences.from_lists([[]]), temperature)


def test_somebody_who_has_seen_everything_has_no_probabilities() -> None:
    with pytest.raises(ValueError, match="only 0 of 2 items are new"):
        probabilities(same([1, 2], 2), Sequences.from_lists([[1, 2]]), 1.0)


def test_fit_finds_the_temperature_worked_by_hand() -> None:
    # Two items, scores 3 and 0; the first is the target in 9 of 12 cases: p = 3/4 at T = 3 / log 3
    # = 2.7307.
    found = fit_temperature(same([3, 0], 2), cases([[]] * 12, [1] * 9 + [2] * 3), batch_size=5)
    assert found.value == pytest.approx(2.7307, rel=1e-3)
    assert found.loss == pytest.approx(0.562335, abs=1e-5)  # entropy of (3/4, 1/4)
    assert found.loss_before == pytest.approx(0.798587, abs=1e-5)  # log(1 + e^-3) + 3/4
    assert found.num_cases == 12


@pytest.mark.parametrize("scale", [1e-3, 0.2, 1.0, 30.0, 1e4])
def test_fit_recovers_the_scale_of_the_scores(scale: float) -> None:
    generator = np.random.default_rng(3)
    logits = np.concatenate([np.zeros((41, 1)), generator.normal(size=(41, 40)) * 1.5], axis=1)
    rows = np.repeat(np.arange(1, 41), 100)
    unseen = logits[:, 1:].copy()
    unseen[np.arange(1, 41), np.arange(40)] = -np.inf  # the history of case n is item n
    probabilities = np.exp(unseen) / np.exp(unseen).sum(axis=1, keepdims=True)
    cumulative = probabilities[rows].cumsum(axis=1)
    targets = 1 + (generator.random((len(rows), 1)) * cumulative[:, -1:] > cumulative).sum(axis=1)
    data = cases([[row] for row in rows], targets.tolist())
    found = fit_temperature(Table((logits * scale).astype(np.float32)), data)
    assert found.value == pytest.approx(scale, rel=0.06)


def test_a_target_that_was_seen_does_not_count() -> None:
    found = fit_temperature(same([3, 0, 0], 3), cases([[3], [3], [3], [3], [1]], [1, 1, 1, 2, 1]))
    assert found.num_cases == 4
    assert found.value == pytest.approx(2.7307, rel=1e-3)
    with pytest.raises(ValueError, match="no validation case"):
        fit_temperature(same([3, 0], 2), cases([[1]], [1]))


def test_an_impossible_target_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"1 unseen target\(s\) have score -inf"):
        fit_temperature(same([3, 0, -np.inf], 3), cases([[], []], [1, 3]))


def test_scores_without_information_become_uniform() -> None:
    assert fit_temperature(same([2, 2, 2], 3), cases([[], []], [1, 3])).loss == pytest.approx(
        1.098612, abs=1e-6
    )


def test_calibrated_is_a_scorer_with_probabilities() -> None:
    scorer = same([0, 1.3862944, 2.1972246], 3)
    calibrated = Calibrated(scorer, 2.0, batch_size=1)
    histories = Sequences.from_lists([[], [3]])
    np.testing.assert_allclose(
        calibrated.probabilities(histories),
        [[0, 1 / 6, 1 / 3, 1 / 2], [0, 1 / 3, 2 / 3, 0]],
        rtol=1e-5,
    )
    assert calibrated.num_items == 3
    assert torch.equal(calibrated.score(histories), scorer.score(histories))
    assert calibrated.probabilities(Sequences.from_lists([])).shape == (0, 4)


def test_reliability_by_hand() -> None:
    # top 1 = item 3 (.5), top 2 adds item 2 (.3); of four targets, two are hit first and one second
    def probabilities(histories: Sequences) -> NDArray[np.float32]:
        return np.tile(np.array([[0, 0.2, 0.3, 0.5]], np.float32), (len(histories), 1))

    found = calibration_curve(probabilities, cases([[]] * 4, [3, 3, 2, 1]), max_k=2, batch_size=3)
    assert found.k.tolist() == [1, 2]
    assert found.precision.tolist() == [0.5, 0.375]
    np.testing.assert_allclose(found.probability, [0.5, 0.4], rtol=1e-6)


def test_reliability_stops_at_the_catalogue_and_wants_cases() -> None:
    calibrated = Calibrated(same([1, 2], 2), 1.0)
    found = calibration_curve(calibrated.probabilities, cases([[]], [1]))
    assert found.k.tolist() == [1, 2]
    assert found.precision.tolist() == [0, 0.5]
    with pytest.raises(ValueError, match="no cases"):
        calibration_curve(calibrated.probabilities, cases([], []))


def test_sigmoids_are_of_each_item_by_itself_and_none_of_what_was_seen() -> None:
    found = sigmoids(same([0.0, 1.0986123, 5.0], 3), Sequences.from_lists([[3], [1]]))
    np.testing.assert_allclose(found, [[0, 0.5, 0.75, 0], [0, 0, 0.75, 0.993307]], atol=1e-6)


def test_smaller_batches_for_a_large_catalogue_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scorer = Table(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
    data = cases([[1], [2, 3], [4], [5], [6]], [2, 1, 5, 7, 3])
    whole = [fit_temperature(scorer, data), Calibrated(scorer, 2.0).probabilities(data.histories)]
    whole += [sigmoids(scorer, data.histories)]
    sizes: list[int] = []
    score = Table.score

    def counted(self: Table, histories: Sequences) -> torch.Tensor:
        sizes.append(len(histories))
        return score(self, histories)

    monkeypatch.setattr(Table, "score", counted)
    monkeypatch.setattr("genrec.recommender.MAX_SCORES", 2 * 8)  # two rows
    assert fit_temperature(scorer, data) == whole[0]
    np.testing.assert_array_equal(Calibrated(scorer, 2.0).probabilities(data.histories), whole[1])
    np.testing.assert_array_equal(sigmoids(scorer, data.histories), whole[2])
    assert sizes == [2, 2, 1] * 3
