import json

import numpy as np
import pytest
import torch

from genrec.baselines.popularity import Popularity
from genrec.data import Dataset, Sequences, leave_one_out, make_catalogue
from genrec.metrics.ranking import evaluate
from genrec.recommender import TopK

COUNTS = np.array([0, 1, 3, 0, 1])


def test_scores_are_smoothed_log_shares():
    score = Popularity(COUNTS).score(Sequences.from_lists([[2], []]))
    # five events and four items: shares 2/9, 4/9, 1/9, 2/9
    expected = [-np.inf, -1.504077, -0.810930, -2.197225, -1.504077]
    np.testing.assert_allclose(score.numpy(), [expected, expected], rtol=1e-6)
    assert score.dtype == torch.float32


def test_histories_do_not_share_memory():
    scorer = Popularity(COUNTS)
    first = scorer.score(Sequences.from_lists([[1], [1]]))
    first[0, 2] = -np.inf
    assert first[1, 2] > -1
    assert scorer.score(Sequences.from_lists([[1]]))[0, 2] > -1


def test_items_without_events_come_last_but_can_be_recommended():
    slates = TopK(Popularity(COUNTS)).recommend(Sequences.from_lists([[], [2]]), 3)
    assert slates.tolist() == [[2, 1, 4], [1, 4, 3]]


def test_fit_counts_training_events_only():
    log = Sequences.from_lists([[1, 2, 3], [1, 2, 4], [2, 3, 4]])
    users = np.array(["a", "b", "c"])
    split = leave_one_out(
        Dataset(
            name="log",
            users=users,
            sequences=log,
            timestamps=None,
            catalogue=make_catalogue(["w", "x", "y", "z"]),
        ),
        num_validation=0,
    )
    assert Popularity.fit(split).counts.tolist() == [0, 2, 3, 1, 0]


def test_save_and_load(tmp_path):
    Popularity(COUNTS).save(tmp_path / "new" / "folder")
    loaded = Popularity.load(tmp_path / "new" / "folder")
    assert loaded.counts.tolist() == [0, 1, 3, 0, 1]
    assert loaded.num_items == 4


def test_load_refuses_another_scorer(tmp_path):
    (tmp_path / "scorer.json").write_text(json.dumps({"kind": "markov"}))
    with pytest.raises(ValueError, match="kind 'markov', not 'popularity'"):
        Popularity.load(tmp_path)


def test_movielens_1m_to_the_digit(movielens_1m):
    split = leave_one_out(movielens_1m, num_validation=0)
    means = evaluate(TopK(Popularity.fit(split)), split.test, split.catalogue).means
    measured = {name: round(means[name], 6) for name in ("ndcg@10", "recall@1", "recall@10")}
    assert measured == {"ndcg@10": 0.017818, "recall@1": 0.005629, "recall@10": 0.036258}
