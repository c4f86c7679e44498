import numpy as np
import pytest

from genrec.baselines import AssociationRules
from genrec.baselines.association_rules import mine
from genrec.data import Sequences

# users of items 1..4: 4, 2, 1, 3 of 5; together 12: 2, 13: 1, 14: 3, 24: 1, 34: 1
LOG = Sequences.from_lists([[1, 2, 4], [2, 1, 1], [1, 3, 4], [4, 1], [5]])
COUNTS = np.array([0, 5, 2, 1, 3, 1])


@pytest.mark.parametrize(
    ("measure", "rows"),
    [
        ("support", {1: [0, 0.4, 0.2, 0.6, 0], 2: [0.4, 0, 0, 0.2, 0], 3: [0.2, 0, 0, 0.2, 0]}),
        ("confidence", {1: [0, 0.5, 0.25, 0.75, 0], 2: [1, 0, 0, 0.5, 0], 3: [1, 0, 0, 1, 0]}),
        # 2*5/(4*2), 1*5/(4*1), 3*5/(4*3); 1*5/(2*3); 1*5/(1*3)
        (
            "lift",
            {
                1: [0, 1.25, 1.25, 1.25, 0],
                2: [1.25, 0, 0, 0.833333, 0],
                3: [1.25, 0, 0, 1.666667, 0],
            },
        ),
    ],
)
def test_measures_by_hand(measure, rows):
    table = mine(LOG, 5, measure=measure, min_users=1, rules=9).toarray()
    for item, expected in rows.items():
        np.testing.assert_allclose(table[item, 1:], expected, atol=1e-6)
    assert not table[5].any()
    assert not table[:, [0, 5]].any()


def test_rules_need_users():
    table = mine(LOG, 5, measure="support", min_users=2, rules=9).toarray()
    assert table[1].tolist() == pytest.approx([0, 0, 0.4, 0, 0.6, 0])
    assert not table[3].any()


def test_the_strongest_rules_are_kept():
    assert (mine(LOG, 5, measure="confidence", min_users=1, rules=1) > 0).toarray().argmax(
        axis=1
    ).tolist() == [
        0,
        4,
        1,
        1,
        1,
        0,
    ]


def test_scores_by_hand():
    rules = AssociationRules(
        mine(LOG, 5, measure="confidence", min_users=1, rules=9), COUNTS, "confidence"
    )
    score = rules.score(Sequences.from_lists([[2, 3], [3, 2, 3], []]))
    thousandth = np.array([5, 2, 1, 3, 1]) / 12_000
    earned = np.array([2, 0, 0, 1.5, 0])
    np.testing.assert_allclose(
        score[:, 1:], [earned + thousandth, earned + thousandth, thousandth], atol=1e-6
    )
    assert (score[:, 0] == -np.inf).all()


def test_fit_keeps_the_measure(groups):
    assert AssociationRules.fit(groups, measure="lift").measure == "lift"


def test_impossible_parameters():
    with pytest.raises(
        ValueError, match="'leverage' of a rule; choose one of support, confidence, lift"
    ):
        mine(LOG, 5, measure="leverage", min_users=1, rules=1)
    with pytest.raises(ValueError, match="min_users is 0"):
        mine(LOG, 5, measure="lift", min_users=0, rules=1)


@pytest.mark.slow
def test_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(AssociationRules.fit) == pytest.approx(0.0231, abs=0.001)
