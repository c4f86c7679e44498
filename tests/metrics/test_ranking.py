"""Metrics against literals worked by hand, and the context of lists."""

from dataclasses import replace

import ir_measures as measures
import numpy as np
import pytest
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import Cases, Sequences, make_catalogue
from genrec.metrics.context import Context
from genrec.metrics.ranking import accuracy, coverage, discount, evaluate, hit_ranks, measure

CATALOGUE = replace(
    make_catalogue(list("abcd"), features={"a": ["x"], "b": ["y"], "c": ["x", "y"]}),
    counts=np.array([0, 5, 3, 2, 0]),
)


def context(**changes: object) -> Context:
    histories = Sequences.from_lists([[1], [2, 2, 1], [4], []])
    return replace(Context(histories, np.array([2, 3, 0, 4]), CATALOGUE, 2), **changes)  # type: ignore[arg-type]


def test_discount() -> None:
    np.testing.assert_allclose(discount(4), [1, 0.63092975, 0.5, 0.43067656])


def test_hit_ranks() -> None:
    assert hit_ranks(np.array([[4, 2], [4, 2], [4, 2]]), np.array([4, 2, 1])).tolist() == [1, 2, 0]


def test_accuracy_at_each_rank() -> None:
    slates = np.array([[5, 6, 7], [5, 6, 7], [5, 6, 7], [5, 6, 7]])
    values = accuracy(slates, np.array([5, 6, 7, 8]))
    np.testing.assert_allclose(values["ndcg@3"], [1, 0.63092975, 0.5, 0])
    np.testing.assert_allclose(values["mrr@3"], [1, 1 / 2, 1 / 3, 0])
    assert values["recall@1"].tolist() == [1, 0, 0, 0]
    assert values["recall@3"].tolist() == [1, 1, 1, 0]


def test_at_one_all_accuracy_metrics_are_the_hit() -> None:
    values = accuracy(np.array([[5], [6]]), np.array([5, 5]))
    assert list(values) == ["ndcg@1", "recall@1", "mrr@1"]
    assert all(value.tolist() == [1, 0] for value in values.values())


def test_coverage_counts_each_item_once() -> None:
    assert coverage(np.array([[1, 2, 3], [3, 2, 1]]), num_items=12) == 0.25


def test_context_rows_are_the_histories_unless_said_otherwise() -> None:
    assert context().rows.tolist() == [0, 1, 2, 3]
    group = context().take(np.array([1, 1, 3]))
    assert len(group) == 3
    assert group.targets.tolist() == [3, 3, 4]
    assert [list(history) for history in (group.histories[0], group.histories[2])] == [
        [2, 2, 1],
        [],
    ]
    assert group.take(np.array([2])).targets.tolist() == [4]


def test_probability_is_looked_up_by_history() -> None:
    p = np.arange(20).reshape(4, 5) / 100
    group = context(of_probabilities=p).take(np.array([3, 0]))
    np.testing.assert_allclose(
        group.probability(np.array([[1, 4], [1, 4]])), [[0.16, 0.19], [0.01, 0.04]]
    )


def test_probability_asks_for_a_teacher() -> None:
    with pytest.raises(ValueError, match="declare needs="):
        context().probability(np.array([[1]]))


def test_profiles_average_the_known_items() -> None:
    # vectors: a = (1, 0), b = (0, 1), d = unknown; the second history has b twice
    np.testing.assert_allclose(
        context().of_profiles, [[1, 0], [1 / 3, 2 / 3], [0, 0], [0, 0]], atol=1e-6
    )
    np.testing.assert_allclose(context().take(np.array([1])).profiles, [[1 / 3, 2 / 3]], atol=1e-6)


def test_measure() -> None:
    slates = np.array([[3, 2], [4, 3], [1, 2], [4, 1]])
    found = measure(slates, context(), {"twice": lambda slates, _: slates * 2.0})
    np.testing.assert_allclose(found.per_user["ndcg@2"], [0.63092975, 0.63092975, 0, 1])
    np.testing.assert_allclose(found.per_user["popularity@2"], [0.25, 0.1, 0.4, 0.25])
    assert found.per_user["twice@2"].tolist() == [10, 14, 6, 10]
    assert found.overall == {"coverage@2": 1.0}
    assert found.means["recall@1"] == 0.25
    assert found.means["coverage@2"] == 1.0


def test_evaluate_asks_the_recommender_once_and_measures_its_lists() -> None:
    class Fixed:
        def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
            return np.tile(np.arange(1, k + 1), (len(histories), 1))

    cases = Cases(Sequences.from_lists([[3], [4]]), np.array([1, 2], np.int32), np.array([0, 1]))
    found = evaluate(Fixed(), cases, CATALOGUE, k=2)
    assert found.slates.tolist() == [[1, 2], [1, 2]]
    np.testing.assert_allclose(found.per_user["ndcg@2"], [1, 0.63092975])
    assert found.overall == {"coverage@2": 0.5}


def test_accuracy_agrees_with_ir_measures() -> None:
    rng = np.random.default_rng(0)
    slates = np.stack([rng.permutation(30)[:10] + 1 for _ in range(200)])
    targets = rng.integers(1, 31, 200)
    judged = [measures.Qrel(str(user), str(item), 1) for user, item in enumerate(targets)]
    listed = [
        measures.ScoredDoc(str(user), str(item), -float(place))
        for user, slate in enumerate(slates)
        for place, item in enumerate(slate)
    ]
    names = {
        "ndcg@10": measures.nDCG @ 10,
        "recall@1": measures.R @ 1,
        "recall@10": measures.R @ 10,
    }
    names["mrr@10"] = measures.RR @ 10
    found = accuracy(slates, targets)
    for name, measure_of in names.items():
        theirs = {
            int(row.query_id): row.value for row in measures.iter_calc([measure_of], judged, listed)
        }
        np.testing.assert_allclose(
            found[name], [theirs[user] for user in range(200)], atol=1e-9, err_msg=name
        )


@pytest.mark.parametrize(
    ("slates", "message"),
    [
        ([[3, 2], [4, 3], [1, 2], [0, 1]], r"list 3, \[0, 1\]: 0 at position 1 is no item: items"),
        ([[3, 2], [4, 5], [1, 2], [4, 1]], r"list 1, \[4, 5\]: 5 at position 2 is no item"),
        ([[3, -1], [4, 3], [1, 2], [4, 1]], r"list 0, \[3, -1\]: -1 at position 2 is no item"),
        ([[3, 2], [4, 3], [2, 2], [4, 1]], r"list 2, \[2, 2\], has item 2 twice"),
        ([[3, 2], [3, 1], [1, 2], [4, 1]], r"list 1, \[3, 1\]: 1 at position 2 is in the history"),
        ([[3, 2], [4, 3]], r"lists of shape \(2, 2\) were given for 4 histories"),
        ([[3.0, 2.0]] * 4, "float64 lists of shape"),
        ([[3, 2, 1]] * 4, r"of shape \(4, 3\) were given for 4 histories and K = 2"),
        ([3, 2, 1, 4], r"int64 lists of shape \(4,\) were given: give an array of item indices"),
    ],
)
def test_lists_that_nobody_could_be_given_are_refused(slates: list[object], message: str) -> None:
    with pytest.raises(GenrecError, match=message):
        measure(np.array(slates), context())


def test_lists_of_some_histories_are_checked_against_their_own() -> None:
    group = context().take(np.array([3, 1]))
    measure(np.array([[2, 1], [4, 3]]), group)
    with pytest.raises(GenrecError, match=r"list 1, .* is in the history"):
        measure(np.array([[4, 3], [2, 1]]), group)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of_targets": np.array([1, 2])}, r"targets of shape \(2,\) for 4 histories: give one"),
        ({"of_probabilities": np.zeros((4, 4))}, r"has the shape \(4, 4\), not \(4, 5\)"),
        ({"k": 0}, "k is 0: a list has at least one item"),
        ({"of_targets": np.zeros((4, 1), int)}, r"targets of shape \(4, 1\) for 4 histories"),
        ({"rows": np.zeros((4, 1), int)}, r"rows have the shape \(4, 1\): give one per list"),
    ],
)
def test_a_context_whose_parts_do_not_fit_is_refused(changes, message: str) -> None:
    with pytest.raises(GenrecError, match=message):
        context(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of_targets": np.array([2, 3, 4, 5])}, "target of history 3 is 5: items are 1 to 4, and"),
        ({"of_targets": np.array([2, -1, 4, 0])}, "target of history 1 is -1"),
        ({"rows": np.array([0, 1, 4, 3])}, "list 2 belongs to history 4, but there are 4: rows"),
        ({"rows": np.array([0, -1, 2, 3])}, "list 1 belongs to history -1"),
        ({"of_histories": Sequences.from_lists([[], [1], [], [7]])}, "history 3 has item 7: items"),
        ({"of_histories": Sequences.from_lists([[], [1, 0], [], []])}, "history 1 has item 0"),
    ],
)
def test_facts_that_nothing_can_be_measured_against_are_refused(changes, message: str) -> None:
    with pytest.raises(GenrecError, match=message):
        measure(np.array([[3, 2], [4, 3], [2, 3], [4, 1]]), context(**changes))


def test_no_lists_stay_no_lists() -> None:
    none = context().take(np.empty(0, int))
    assert len(none) == 0
    assert measure(np.empty((0, 2), int), context().take(np.arange(0))).slates.shape == (0, 2)


class Returns:
    """A recommender that returns what it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def recommend(self, histories: Sequences, k: int) -> object:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[3, 2]] * 4, "list lists of shape"),
        (np.full((4, 1), 4), r"Returns\.recommend returned a ndarray of shape \(4, 1\): return an"),
        (None, r"Returns\.recommend returned a NoneType of shape \(\)"),
        (SystemExit(0), r"Returns\.recommend raised SystemExit: 0 \(test_ranking\.py, line \d+\)"),
    ],
)
def test_a_recommender_that_returns_something_else_is_named(answer, message: str) -> None:
    given = context()
    cases = Cases(given.of_histories, given.of_targets, np.arange(4))
    with pytest.raises(GenrecError, match=message):
        evaluate(Returns(answer), cases, given.catalogue, k=2)  # type: ignore[arg-type]


def test_lists_without_a_context_are_checked_too() -> None:
    with pytest.raises(GenrecError, match=r"list 1, \[2, 2\], has item 2 twice"):
        accuracy(np.array([[1, 2], [2, 2]]), np.array([1, 2]))
    with pytest.raises(GenrecError, match="0 at position 2 is no item: items are 1, 2, "):
        accuracy(np.array([[1, 0]]), np.array([0]))
    with pytest.raises(GenrecError, match=r"targets of shape \(1, 1\) were given for 1 lists"):
        accuracy(np.array([[1, 2]]), np.array([[1]]))
    with pytest.raises(GenrecError, match="3 at position 1 is no item: items are 1 to 2"):
        coverage(np.array([[3, 1]]), num_items=2)
