import json
from math import log

import numpy as np
import pytest
import torch

from genrec.baselines import Markov, SequentialRules
from genrec.baselines.markov import count_transitions
from genrec.baselines.sequential_rules import pooled
from genrec.baselines.tuning import ndcg
from genrec.data import Sequences, leave_one_out
from genrec.data.synthetic import chain

LOG = Sequences.from_lists([[1, 2, 3], [1, 2, 4], [2, 3, 1]])
COUNTS = np.array([0, 3, 3, 2, 1])


def small(decay: float = 0.5, smoothing: float = 1.0) -> SequentialRules:
    rules = pooled(count_transitions(LOG, 4, order=2), 0.5)
    return SequentialRules(rules, COUNTS, order=2, decay=decay, smoothing=smoothing)


def test_rules_agree_with_a_loop_over_all_pairs():
    rng = np.random.default_rng(3)
    lists = [rng.integers(1, 8, size=rng.integers(0, 9)).tolist() for _ in range(40)]
    expected = np.zeros((8, 8))
    for items in lists:
        for later, target in enumerate(items):
            for earlier in range(max(0, later - 5), later):
                expected[items[earlier], target] += 0.7 ** (later - earlier - 1)
    found = pooled(count_transitions(Sequences.from_lists(lists), 7, order=5), 0.7)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-6)


def test_scores_by_hand():
    # rules: 1 -> 2 twice, 1 -> 3 and 1 -> 4 half; 2 -> 3 twice, 2 -> 4 once, 2 -> 1 half
    score = small().score(Sequences.from_lists([[1, 2]]))
    assert score.dtype == torch.float32
    assert score[0, 0] == -torch.inf
    popularity = np.log(np.array([4, 4, 3, 2]) / 13)
    expected = [
        log(1.5),
        0.5 * log(3),
        log(3) + 0.5 * log(1.5),
        log(2) + 0.5 * log(1.5),
    ]
    np.testing.assert_allclose(score[0, 1:], expected + popularity / 1000, atol=2e-6)


def test_only_the_newest_items_count_and_a_repeated_one_once():
    score = small().score(Sequences.from_lists([[4, 3, 1, 2], [1, 2], [2, 2], [4, 2]]))
    assert torch.equal(score[0], score[1])
    alone = small().score(Sequences.from_lists([[2]]))
    assert torch.equal(score[2], alone[0])
    assert torch.equal(score[3], alone[0])  # nothing ever came after 4


def test_without_a_known_item_popularity_decides():
    unseen = SequentialRules(
        pooled(count_transitions(LOG, 5, order=2), 0.5), np.append(COUNTS, 0), order=2
    )
    score = unseen.score(Sequences.from_lists([[5], []]))
    assert torch.equal(score[0], score[1])
    assert score[0, 1:].diff().le(0).all()


@pytest.mark.parametrize(
    "values",
    [{"order": 0}, {"decay": 0.0}, {"decay": 1.1}, {"smoothing": 0.0}, {"smoothing": np.nan}],
)
def test_impossible_parameters(values):
    with pytest.raises(ValueError, match=r"is (0|1|nan)"):
        SequentialRules(pooled(count_transitions(LOG, 4, order=2), 0.5), COUNTS, **values)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_impossible_distance_decay(value):
    with pytest.raises(ValueError, match="distance_decay"):
        pooled(count_transitions(LOG, 4, order=2), value)


def test_a_chain_is_learned_and_the_choice_is_the_best_of_the_grid():
    split = leave_one_out(
        chain(num_users=600, num_items=60, length=15, randomness=0.6, seed=1), num_validation=200
    )
    fitted = SequentialRules.fit(split, order=5)
    assert ndcg(fitted, split.test) > 0.3
    for distance_decay in (0.2, 0.8):
        other = SequentialRules.fit(
            split, order=5, distance_decay=distance_decay, decay=0.6, smoothing=0.1
        )
        assert ndcg(fitted, split.valid) >= ndcg(other, split.valid)


def test_counts_at_uncertain_distances_need_one_table():
    # i + 1 follows i, but one to three unrelated events later: a table per distance sees a third of
    # it in each.
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(300):
        item, items = int(rng.integers(1, 41)), []
        for _ in range(6):
            items += [item, *rng.integers(41, 61, size=rng.integers(1, 4)).tolist()]
            item = item % 40 + 1
        lists.append([*items, item])
    train = Sequences.from_lists([each[:-1] for each in lists[:200]])
    counts = np.bincount(train.items, minlength=61)
    transitions = count_transitions(train, 60, order=4)
    histories = Sequences.from_lists([each[:-1] for each in lists[200:]])
    targets = torch.tensor([each[-1] for each in lists[200:]])
    chained = Markov(transitions, counts, 0.9, 0.1).score(histories)
    ruled = SequentialRules(pooled(transitions, 0.9), counts, 4, 0.9, 0.1).score(histories)
    of = [torch.log_softmax(s, dim=1)[torch.arange(100), targets].mean() for s in (chained, ruled)]
    assert of[1] > of[0] + 0.2


def test_saved_and_loaded(tmp_path):
    small().save(tmp_path)
    loaded = SequentialRules.load(tmp_path)
    histories = Sequences.from_lists([[1, 2], [], [4]])
    assert torch.equal(loaded.score(histories), small().score(histories))
    assert json.loads((tmp_path / "scorer.json").read_text())["kind"] == "sequential_rules"


def test_unknown_items_are_refused():
    with pytest.raises(ValueError, match=r"item 9.*1\.\.4"):
        small().score(Sequences.from_lists([[1], [9]]))
