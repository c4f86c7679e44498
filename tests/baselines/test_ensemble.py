"""An ensemble adds up scores; its factors are those under which targets are most likely."""

import numpy as np
import pytest
import torch

from genrec.baselines import Ensemble, fit_factors
from genrec.config.errors import GenrecError
from genrec.data import Cases, Sequences


class Table:
    """A scorer with one row of scores per history; a history's only item is its number."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = torch.from_numpy(scores.astype(np.float32))

    @property
    def num_items(self) -> int:
        return self.scores.shape[1] - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        return self.scores[torch.from_numpy(histories.items.astype(np.int64))]


def cases_of(targets: np.ndarray, items: np.ndarray) -> Cases:
    histories = Sequences(np.arange(len(targets) + 1), items.astype(np.int32))
    return Cases(histories, targets.astype(np.int32), np.arange(len(targets)))


def test_scores_are_added_up():
    one = Table(np.array([[9, 9, 9], [9, 1, 2], [9, 0, 4]]))
    other = Table(np.array([[7, 7, 7], [7, 10, 30], [7, 5, 0]]))
    found = Ensemble((one, other), (0.5, 0.1)).score(Sequences.from_lists([[2], [1]]))
    np.testing.assert_allclose(found, [[-np.inf, 0.5, 2.0], [-np.inf, 1.5, 4.0]])


def test_a_member_without_weight_is_not_asked():
    class Never(Table):
        def score(self, histories: Sequences) -> torch.Tensor:
            raise AssertionError("asked")

    table = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    found = Ensemble((Table(table), Never(table)), (1.0, 0.0)).score(Sequences.from_lists([[1]]))
    assert found[0, 1:].tolist() == [1, 2]


def test_factors_that_made_the_targets_are_found_again():
    """Items are drawn from softmax(.8 a + .3 b + 0 c), for scores of any scale."""
    generator = np.random.default_rng(0)
    count, size = 4000, 30
    scales = (1.0, 5.0, 2.0)
    tables = [generator.normal(size=(count, size + 1)) * scale for scale in scales]
    wanted = (0.8, 0.3, 0.0)
    logits = sum(factor * table for factor, table in zip(wanted, tables, strict=True))
    assert isinstance(logits, np.ndarray)
    logits[:, 0] = -np.inf
    gumbel = generator.gumbel(size=logits.shape)
    targets = (logits + gumbel).argmax(axis=1)
    rows = np.arange(count)

    class Rows(Table):
        """Row n is that of case n, which is scored in the order of the cases."""

        def __init__(self, scores: np.ndarray) -> None:
            super().__init__(scores)
            self.done = 0

        def score(self, histories: Sequences) -> torch.Tensor:
            start, self.done = self.done, self.done + len(histories)
            return self.scores[start : self.done]

    cases = Cases(Sequences.from_lists([[]] * count), targets.astype(np.int32), rows)
    found = fit_factors([Rows(table) for table in tables], cases)
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert (found >= 0).all()


def test_targets_that_were_seen_are_left_out():
    table = np.array([[0.0, 1.0, 2.0, 0.5], [0.0, 1.0, 2.0, 0.5]])
    seen = cases_of(np.array([1]), np.array([1]))
    with pytest.raises(GenrecError, match="no validation case has a target that is new"):
        fit_factors([Table(table), Table(table)], seen)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((1.0,), "an ensemble of 2 members has the weights"),
        ((0.0, 0.0), "not only zeros"),
        ((1.0, -0.5), "are at least 0"),
    ],
)
def test_weights_that_are_none(factors: tuple[float, ...], message: str):
    table = Table(np.zeros((1, 3)))
    with pytest.raises(GenrecError, match=message):
        Ensemble((table, table), factors)


def test_members_of_different_catalogues():
    with pytest.raises(GenrecError, match="different numbers of items"):
        Ensemble((Table(np.zeros((1, 3))), Table(np.zeros((1, 4)))), (1.0, 1.0))
