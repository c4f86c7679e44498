import numpy as np
import pytest
import torch

from genrec.config.errors import GenrecError
from genrec.data import Sequences
from genrec.metrics.calibration import Calibrated
from genrec.recommender import (
    Ranker,
    TopK,
    batches,
    errors_of,
    mask_seen,
    require_choice,
    require_unseen,
    top_k,
)


class Fixed:
    """Scores every history with the same row and records the sizes of its batches."""

    def __init__(self, row: list[float]) -> None:
        self.row = torch.tensor([-torch.inf, *row])
        self.sizes: list[int] = []

    @property
    def num_items(self) -> int:
        return len(self.row) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        self.sizes.append(len(histories))
        return self.row.repeat(len(histories), 1)


class Ranking(Fixed):
    """Ranks the smallest unseen items first and cannot score all items."""

    def __init__(self, num_items: int) -> None:
        super().__init__([0.0] * num_items)

    def score(self, histories: Sequences) -> torch.Tensor:
        raise AssertionError("a score of every item is not needed")

    def best(self, histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.sizes.append(len(histories))
        unseen = [
            [i for i in range(1, self.num_items + 1) if i not in histories[n]]
            for n in range(len(histories))
        ]
        items = torch.tensor([row[:k] for row in unseen])
        return 10.0 - items, items


def test_a_ranker_ranks_by_itself():
    ranker = Ranking(6)
    assert isinstance(ranker, Ranker)
    assert not isinstance(Fixed([1.0]), Ranker)
    slates, scores = TopK(ranker, batch_size=2).candidates(
        Sequences.from_lists([[], [1, 1, 3], [2]]), 2
    )
    assert ranker.sizes == [2, 1]
    assert slates.tolist() == [[1, 2], [2, 4], [1, 3]]
    assert scores.tolist() == [[9, 8], [8, 6], [9, 7]]
    with pytest.raises(
        ValueError, match=r"list of 4 items was requested, but only 3 of 6 items are new.*row 1"
    ):
        TopK(ranker).recommend(Sequences.from_lists([[], [1, 2, 3, 3]]), 4)


def test_scores_of_a_large_catalogue_are_computed_in_smaller_batches(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("genrec.recommender.MAX_SCORES", 14)  # two rows of six items and PAD
    scorer = Fixed([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert TopK(scorer).recommend(Sequences.from_lists([[6], [], [6, 5]]), 1).tolist() == [
        [5],
        [6],
        [4],
    ]
    assert scorer.sizes == [2, 1]
    monkeypatch.setattr("genrec.recommender.MAX_SCORES", 3)  # at least one row
    assert TopK(scorer).recommend(Sequences.from_lists([[6], []]), 1).tolist() == [[5], [6]]


def test_require_unseen_accepts_exactly_enough():
    require_unseen(Sequences.from_lists([[1, 1, 2], []]), 4, 2)
    require_unseen(Sequences.from_lists([]), 4, 9)
    with pytest.raises(ValueError, match="only 1 of 3"):
        require_unseen(Sequences.from_lists([[1, 1, 2], []]), 3, 2)


def test_best_first():
    slates = TopK(Fixed([0.1, 0.9, 0.5, 0.7])).recommend(Sequences.from_lists([[], [4], [2, 3]]), 2)
    assert slates.tolist() == [[2, 4], [2, 3], [4, 1]]
    assert slates.dtype == np.int64


def test_candidates_come_with_their_scores():
    slates, scores = TopK(Fixed([0.25, 0.75, 0.5, -2.0])).candidates(
        Sequences.from_lists([[2], []]), 3
    )
    assert slates.tolist() == [[3, 1, 4], [2, 3, 1]]
    assert scores.tolist() == [[0.5, 0.25, -2.0], [0.75, 0.5, 0.25]]
    assert scores.dtype == np.float32


def test_the_whole_history_is_filtered():
    best = [1] + [2] * 5000
    slates = TopK(Fixed([9.0, 8.0, 1.0, 2.0])).recommend(Sequences.from_lists([best]), 2)
    assert slates.tolist() == [[4, 3]]


def test_mask_seen_touches_seen_items_and_pad_only():
    scores = torch.arange(10.0).reshape(2, 5)
    masked = mask_seen(scores, Sequences.from_lists([[3, 3, 1], []]))
    low = -torch.inf
    assert masked.tolist() == [[low, low, 2.0, low, 4.0], [low, 6.0, 7.0, 8.0, 9.0]]
    assert masked is scores


def test_ties_go_to_the_smaller_item():
    slates = TopK(Fixed([0.5, 0.9, 0.5, 0.9, 0.9, 0.5])).recommend(
        Sequences.from_lists([[], [2]]), 4
    )
    assert slates.tolist() == [[2, 4, 5, 1], [4, 5, 1, 3]]


def test_a_tie_across_the_end_of_the_list():
    assert top_k(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 2)[1].tolist() == [[1, 0]]


def test_ties_of_many_items():
    values, columns = top_k(torch.zeros(3, 4000), 10)
    assert columns.tolist() == [list(range(10))] * 3
    assert values.tolist() == [[0.0] * 10] * 3


def test_top_k_of_tied_and_untied_rows_together():
    scores = torch.tensor([[3.0, 1.0, 2.0, 0.0], [1.0, 2.0, 2.0, 2.0]])
    values, columns = top_k(scores, 3)
    assert columns.tolist() == [[0, 2, 1], [1, 2, 3]]
    assert values.tolist() == [[3.0, 2.0, 1.0], [2.0, 2.0, 2.0]]


def test_top_k_of_everything():
    assert top_k(torch.tensor([[0.1, 0.3, 0.2]]), 3)[1].tolist() == [[1, 2, 0]]


def test_too_few_unseen_items_are_an_error():
    recommender = TopK(Fixed([0.1, 0.2, 0.3]))
    histories = Sequences.from_lists([[1], [1, 2, 2]])
    assert recommender.recommend(histories, 1).tolist() == [[3], [3]]
    with pytest.raises(
        ValueError, match=r"list of 2 items was requested, but only 1 of 3 items are new.*row 1"
    ):
        recommender.recommend(histories, 2)


def test_require_choice_accepts_exactly_enough():
    low = -torch.inf
    require_choice(torch.tensor([[low, 0.0, 1.0], [low, 2.0, 3.0]]), 2)
    require_choice(torch.empty(0, 3), 2)
    with pytest.raises(ValueError, match="only 1 of 2"):
        require_choice(torch.tensor([[low, 0.0, 1.0], [low, low, 3.0]]), 2)


def test_batches_cover_all_histories_in_order():
    histories = Sequences.from_lists([[1], [], [2, 3], [4], [5, 6]])
    found = [
        [row.tolist() for row in (part[n] for n in range(len(part)))]
        for part in batches(histories, 2)
    ]
    assert found == [[[1], []], [[2, 3], [4]], [[5, 6]]]
    assert [len(part) for part in batches(histories, 9)] == [5]
    assert list(batches(Sequences.from_lists([]), 2)) == []


def test_lists_do_not_depend_on_the_batch_size():
    histories = Sequences.from_lists([[n % 6 + 1, n % 4 + 1] for n in range(7)])
    row = [0.3, 0.1, 0.3, 0.2, 0.9, 0.1]
    scorer = Fixed(row)
    small = TopK(scorer, batch_size=3).recommend(histories, 3)
    assert scorer.sizes == [3, 3, 1]
    assert small.tolist() == TopK(Fixed(row)).recommend(histories, 3).tolist()


class Scripted:
    """A scorer of four items that returns whatever it is told to."""

    num_items = 4

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def score(self, histories: Sequences) -> object:
        return self.answer(histories) if callable(self.answer) else self.answer


HISTORIES = Sequences.from_lists([[1], [2, 3]])
TABLE = torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0], [9.0, 4.0, 3.0, 2.0, 1.0]])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            TABLE.numpy(),
            r"Scripted\.score returned a ndarray: return a float torch\.Tensor of shape",
        ),
        (TABLE[:, 1:], r"returned torch\.float32 of shape \(2, 4\): .* \(B, V\+1\), here \(2, 5\)"),
        (
            torch.cat([TABLE, TABLE[:, :1]], dim=1),
            r"of shape \(2, 6\): .* column 0 \(PAD\) is ignored",
        ),
        (TABLE[:1], r"of shape \(1, 5\)"),
        (TABLE.long(), r"returned torch\.int64 of shape"),
        (TABLE.index_fill(1, torch.tensor([4]), torch.nan), "nan for item 4 of history 0"),
        (TABLE.index_fill(1, torch.tensor([4]), torch.inf), "inf for item 4 of history 0"),
        (None, "returned a NoneType"),
    ],
)
def test_a_scorer_that_returns_something_else_is_told_what_to_return(answer, message: str):
    with pytest.raises(GenrecError, match=message):
        TopK(Scripted(answer)).recommend(HISTORIES, 2)


def test_a_table_that_a_scorer_keeps_is_never_written_into():
    kept = TABLE.clone()
    scorer = Scripted(kept)
    for _ in range(2):
        assert TopK(scorer).recommend(HISTORIES, 2).tolist() == [[4, 3], [1, 4]]
    assert torch.equal(kept, TABLE)


def test_an_item_may_be_left_out_by_minus_infinity_and_gradients_are_dropped():
    table = TABLE.index_fill(1, torch.tensor([4]), -torch.inf).requires_grad_()
    assert TopK(Scripted(table)).recommend(HISTORIES, 1).tolist() == [[3], [1]]


def test_a_scorer_that_changes_the_histories_is_named():
    def change(histories: Sequences) -> torch.Tensor:
        histories.items[:] = 4
        return TABLE

    before = HISTORIES.items.copy()
    with pytest.raises(GenrecError, match=r"Scripted\.score changes the histories"):
        TopK(Scripted(change)).recommend(HISTORIES, 2)
    assert HISTORIES.items.tolist() == before.tolist()


@pytest.mark.parametrize(
    ("best", "message"),
    [
        ((TABLE[:, :1], torch.ones(2, 1).long()), r"torch\.float32 scores of shape \(2, 1\)"),
        ((TABLE[:, :2], torch.ones(2, 2)), r"torch\.float32 items of shape \(2, 2\)"),
        ((TABLE[:, :2].long(), torch.ones(2, 2).long()), r"torch\.int64 scores of shape \(2, 2\)"),
        ((TABLE[:, :2], torch.tensor([[2, 3], [0, 4]])), "history 1 item 0, which is not one of 1"),
        ((TABLE[:, :2], torch.tensor([[2, 3], [5, 4]])), "history 1 item 5, which is not one of 1"),
        ((TABLE[:, :2], torch.tensor([[2, 3], [4, 4]])), "history 1 item 4, twice: return diff"),
        ((TABLE[:, :2], torch.tensor([[2, 1], [1, 4]])), "history 0 item 1, which is in the hist"),
        ((TABLE[:, :2] * torch.nan, torch.tensor([[2, 3], [1, 4]])), "a score that is NaN"),
        (TABLE[:, :2], r"returned a Tensor, not two tensors of shape \(B, k\), here \(2, 2\)"),
        ((TABLE[:, :2].numpy(), torch.ones(2, 2)), "returned a tuple, not two tensors"),
    ],
)
def test_a_ranker_that_returns_something_else_is_told_what_to_return(best, message: str):
    ranker = Scripted(TABLE)
    ranker.best = lambda histories, k: best  # type: ignore[attr-defined]
    with pytest.raises(GenrecError, match=message):
        TopK(ranker).recommend(HISTORIES, 2)


def test_a_ranker_that_changes_the_histories_is_named():
    def best(histories: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        histories.times[:] = 0  # type: ignore[index]
        return TABLE[:, 3:], torch.tensor([[2, 3], [1, 4]])

    ranker = Scripted(TABLE)
    ranker.best = best  # type: ignore[attr-defined]
    timed = Sequences.from_lists([[1], [2, 3]], times=[[5], [6, 7]])
    with pytest.raises(GenrecError, match=r"Scripted\.best changes the histories"):
        TopK(ranker).recommend(timed, 2)
    assert timed.times is not None
    assert timed.times.tolist() == [5, 6, 7]


def _leave(histories: Sequences) -> torch.Tensor:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_leave, r"Scripted\.score raised SystemExit: 0 \(test_recommender\.py, line \d+\)"),
        (lambda histories: TABLE[[7]], r"raised IndexError: .* \(test_recommender\.py, line \d+\)"),
    ],
)
def test_a_scorer_that_raises_or_exits_is_named(answer, message: str):
    with pytest.raises(GenrecError, match=message):
        TopK(Scripted(answer)).recommend(HISTORIES, 2)
    with pytest.raises(GenrecError, match=message):
        Calibrated(Scripted(answer), 1.0).score(HISTORIES)  # type: ignore[arg-type]


def test_a_defect_of_this_package_keeps_its_exception(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Scripted, "__module__", "genrec.models.scripted")
    with pytest.raises(IndexError):
        TopK(Scripted(lambda histories: TABLE[[7]])).recommend(HISTORIES, 2)


def test_an_error_of_this_package_passes_through_code_of_ones_own():
    with pytest.raises(GenrecError, match=r"^give another file$"), errors_of("teacher 'mine'"):
        raise GenrecError("give another file")
    with pytest.raises(KeyboardInterrupt), errors_of("teacher 'mine'"):
        raise KeyboardInterrupt


def test_what_a_scorer_prints_is_no_output(capsys: pytest.CaptureFixture[str]):
    def loud(histories: Sequences) -> torch.Tensor:
        print("loud")
        return TABLE

    TopK(Scripted(loud)).recommend(HISTORIES, 2)
    assert capsys.readouterr() == ("", "loud\n")


def test_a_history_with_an_item_that_is_not_there_is_refused():
    with pytest.raises(GenrecError, match="a history has item 9: items are 1 to 4"):
        TopK(Scripted(TABLE)).recommend(Sequences.from_lists([[1], [9]]), 2)
