import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec.baselines.markov import Markov, count_transitions, tuned
from genrec.baselines.tuning import ndcg
from genrec.data import Cases, Dataset, Sequences, leave_one_out, make_catalogue
from genrec.data.synthetic import chain
from genrec.metrics.ranking import evaluate
from genrec.recommender import TopK

LOG = Sequences.from_lists([[1, 2, 3], [1, 2, 4], [2, 3, 1]])
COUNTS = np.array([0, 3, 3, 2, 1])


def small(decay: float = 0.5, smoothing: float = 1.0) -> Markov:
    return Markov(count_transitions(LOG, 4, order=2), COUNTS, decay, smoothing)


def test_transitions_by_hand():
    assert count_transitions(LOG, 4, order=2).toarray().tolist() == [
        *(
            [0, 0, 0, 0, 0],
            [0, 0, 2, 0, 0],
            [0, 0, 0, 2, 1],
            [0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ),  # gap 1
        *(
            [0, 0, 0, 0, 0],
            [0, 0, 0, 1, 1],
            [0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ),  # gap 2
    ]


def test_gaps_longer_than_every_sequence_are_empty():
    assert count_transitions(LOG, 4, order=40).sum() == 9
    assert count_transitions(Sequences.from_lists([]), 4, order=2).shape == (10, 5)


def test_transitions_agree_with_a_loop_over_all_pairs():
    rng = np.random.default_rng(3)
    lists = [rng.integers(1, 8, size=rng.integers(0, 9)).tolist() for _ in range(40)]
    expected = np.zeros((5, 8, 8))
    for items in lists:
        for later, target in enumerate(items):
            for earlier in range(max(0, later - 5), later):
                expected[later - earlier - 1, items[earlier], target] += 1
    found = count_transitions(Sequences.from_lists(lists), 7, order=5).toarray()
    assert np.array_equal(found, expected.reshape(40, 8))


def test_scores_by_hand():
    # item 3: 1/2 log((2+1)/3) + 1/4 log((1+1)/3) = -0.101366, and a thousandth of log(3/13); the
    # others likewise
    score = small().score(Sequences.from_lists([[1, 2]]))
    assert score.dtype == torch.float32
    np.testing.assert_allclose(
        score[0, 1:], [-0.825138, -0.825138, -0.102832, -0.305971], atol=2e-6
    )
    assert score[0, 0] == -torch.inf


def test_scores_of_other_parameters_by_hand():
    # item 1 after [3], beta 0.6, s 0.1: 0.6 log(1.1/2) = -0.358702; items 2 to 4: 0.6 log(0.1/2) =
    # -1.797439 and a thousandth of log(3.1/9.4), log(3.1/9.4), log(2.1/9.4), log(1.1/9.4)
    score = small(decay=0.6, smoothing=0.1).score(Sequences.from_lists([[3]]))
    np.testing.assert_allclose(
        score[0, 1:], [-0.359812, -1.798549, -1.798938, -1.799585], atol=2e-6
    )


def test_only_the_newest_items_count():
    score = small().score(Sequences.from_lists([[4, 3, 4, 3, 1, 2], [1, 2]]))
    assert torch.equal(score[0], score[1])


def test_an_empty_history_scores_log_popularity():
    # (3 + 1) / (9 + 4), (3 + 1) / 13, (2 + 1) / 13, (1 + 1) / 13
    score = small().score(Sequences.from_lists([[], [1]]))
    np.testing.assert_allclose(
        score[0, 1:], [-1.178655, -1.178655, -1.466337, -1.871802], atol=2e-6
    )


def test_an_item_without_training_events_says_nothing():
    unseen = Markov(count_transitions(LOG, 5, order=2), np.append(COUNTS, 0), 0.5, 1.0)
    score = unseen.score(Sequences.from_lists([[5], []]))
    assert torch.equal(score[0], score[1])
    assert bool(torch.isfinite(score[:, 1:]).all())


def test_popularity_orders_what_the_chain_cannot_tell_apart():
    # after item 4 nothing ever came: popularity decides, and the order of the items between 1 and 2
    assert TopK(small()).recommend(Sequences.from_lists([[4]]), 3).tolist() == [[1, 2, 3]]


def test_seen_items_keep_their_score():
    score = small().score(Sequences.from_lists([[3, 1]]))
    assert score[0].argmax() == 2
    assert bool(torch.isfinite(score[0, [1, 3]]).all())


def test_rows_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    histories = Sequences.from_lists([rng.integers(1, 5, size=n) for n in (0, 1, 2, 5, 3)])
    together = small().score(histories)
    assert torch.equal(together, torch.cat([small().score(histories.take([n])) for n in range(5)]))


@pytest.mark.parametrize(
    ("decay", "smoothing"), [(0.0, 1.0), (1.1, 1.0), (0.5, 0.0), (0.5, float("nan"))]
)
def test_impossible_parameters(decay, smoothing):
    with pytest.raises(ValueError, match="Markov"):
        small(decay, smoothing)


def test_order_is_at_least_one():
    with pytest.raises(ValueError, match="order 0"):
        count_transitions(LOG, 4, order=0)


def test_unknown_items_are_refused():
    with pytest.raises(ValueError, match=r"item 9.*1\.\.4"):
        small().score(Sequences.from_lists([[1], [9]]))


def test_ndcg_by_hand():
    # [1, 2]: unseen 3, 4 in that order; target 3 earns 1, target 4 earns 1/log2(3) = 0.630930
    histories = Sequences.from_lists([[1, 2], [1, 2], [1, 2]])
    cases = Cases(histories, np.array([3, 4, 2], np.int32), np.arange(3))
    assert ndcg(small(), cases) == pytest.approx((1 + 0.630930 + 0) / 3, abs=1e-6)
    assert ndcg(small(), cases, k=1) == pytest.approx(1 / 3)


def test_ndcg_agrees_with_the_evaluation():
    split = leave_one_out(
        chain(num_users=600, num_items=60, length=15, randomness=0.6, seed=1), num_validation=0
    )
    fitted = Markov.fit(split, order=5, decay=0.6, smoothing=0.1)
    evaluated = evaluate(TopK(fitted), split.test, split.catalogue).means["ndcg@10"]
    assert ndcg(fitted, split.test) == pytest.approx(evaluated, abs=1e-12)


def test_tuning_finds_the_decay_that_ranks_the_targets_first():
    # The newest item, 1, was followed once by 3. The one before, 2, had 4 two events later nine
    # times.
    train = Sequences.from_lists([[1, 3], *[[2, 5, 4]] * 9])
    counts = np.bincount(train.items, minlength=6)
    fitted = Markov(count_transitions(train, 5, order=2), counts, 0.6, 0.1)
    history = Sequences.from_lists([[2, 1]])
    for target, best in ((3, 0.05), (4, 1.0)):
        cases = Cases(history, np.array([target], np.int32), np.zeros(1, np.int64))
        assert tuned(fitted, cases, decays=(0.05, 1.0), smoothings=(1.0,)).decay == best


def test_tuning_keeps_the_counts_and_takes_the_first_of_equals():
    cases = Cases(Sequences.from_lists([[1, 2]]), np.array([3], np.int32), np.zeros(1, np.int64))
    fitted = small()
    best = tuned(fitted, cases, decays=(0.9, 0.4), smoothings=(0.3, 0.1))
    assert (best.decay, best.smoothing) == (0.9, 0.3)
    assert best.transitions is fitted.transitions


def test_tuning_needs_cases():
    none = Cases(Sequences.from_lists([]), np.empty(0, np.int32), np.empty(0, np.int64))
    with pytest.raises(ValueError, match="set the value"):
        tuned(small(), none)


def test_fit_never_looks_at_held_out_events():
    users = np.array([str(n) for n in range(3)])
    log = Dataset(
        name="log",
        users=users,
        sequences=Sequences.from_lists([[1, 2, 3, 4]] * 3),
        timestamps=None,
        catalogue=make_catalogue(["w", "x", "y", "z"]),
    )
    fitted = Markov.fit(leave_one_out(log, num_validation=0), order=3, decay=0.6, smoothing=0.1)
    assert fitted.transitions[:, [4]].sum() == 0
    assert fitted.transitions[5 * 0 + 2, 3] == 3
    assert fitted.order == 3


def test_a_chain_is_learnt():
    split = leave_one_out(chain(num_users=400, num_items=40, length=12, randomness=0.0, seed=5))
    means = evaluate(TopK(Markov.fit(split, order=5)), split.test, split.catalogue).means
    assert means["recall@1"] > 0.95


def test_noise_stays_at_chance():
    split = leave_one_out(chain(num_users=1500, num_items=40, length=12, randomness=1.0, seed=5))
    means = evaluate(TopK(Markov.fit(split, order=5)), split.test, split.catalogue).means
    # 29 items are unseen; four standard errors of 1,500 draws
    assert means["recall@10"] == pytest.approx(10 / 29, abs=0.05)
    assert means["recall@1"] == pytest.approx(1 / 29, abs=0.02)


def test_save_and_load(tmp_path):
    original = replace(small(), decay=0.7)
    original.save(tmp_path / "new" / "folder")
    loaded = Markov.load(tmp_path / "new" / "folder")
    histories = Sequences.from_lists([[1, 2], [], [3]])
    assert torch.equal(loaded.score(histories), original.score(histories))
    assert (loaded.order, loaded.num_items, loaded.decay, loaded.smoothing) == (2, 4, 0.7, 1.0)
    assert sorted(path.suffix for path in (tmp_path / "new" / "folder").iterdir()) == [
        ".json",
        ".safetensors",
    ]


def test_load_refuses_another_scorer(tmp_path):
    (tmp_path / "scorer.json").write_text(json.dumps({"kind": "popularity"}))
    with pytest.raises(ValueError, match="kind 'popularity', not 'markov'"):
        Markov.load(tmp_path)


@pytest.mark.slow
def test_movielens_1m(movielens_1m):
    split = leave_one_out(movielens_1m)
    means = evaluate(TopK(Markov.fit(split)), split.test, split.catalogue).means
    assert means["ndcg@10"] > 0.158
    assert means["recall@1"] > 0.075
    untuned = evaluate(
        TopK(Markov.fit(split, decay=0.6, smoothing=0.1)), split.test, split.catalogue
    ).means
    assert untuned["ndcg@10"] == pytest.approx(
        0.1638, abs=0.001
    )  # the same chain counted elsewhere
