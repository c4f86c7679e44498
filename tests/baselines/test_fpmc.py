import numpy as np
import pytest
import torch

from genrec.baselines import FPMC
from genrec.baselines.fpmc import next_item_loss
from genrec.data import Sequences, leave_one_out
from genrec.data.synthetic import chain
from genrec.metrics.ranking import evaluate
from genrec.recommender import TopK


def made(num_items: int, width: int, seed: int) -> FPMC:
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(num_items + 1, width)).astype(np.float32) for _ in range(4)]
    return FPMC(*tables, np.append(-np.inf, rng.normal(size=num_items)).astype(np.float32))


def test_scores_by_hand():
    column = [
        np.array([[9], *([n] for n in row)], np.float32) for row in ([1, 3], [2, 1], [5, 1], [1, 0])
    ]
    fpmc = FPMC(*column, np.array([-np.inf, 0, 0.5], np.float32))
    score = fpmc.score(Sequences.from_lists([[1, 2], [2, 1], [2, 2, 1, 1], []]))
    # the mean of p is 2; the newest item is 2 with a = 1, then 1 with a = 5
    assert score.tolist() == [
        [-np.inf, 2 * 2 + 1 * 1, 2 * 1 + 0 + 0.5],
        [-np.inf, 2 * 2 + 5 * 1, 2.5],
        [-np.inf, 2 * 2 + 5 * 1, 2.5],
        [-np.inf, 0, 0.5],
    ]


def test_the_loss_with_all_negatives_is_the_likelihood_of_the_scores():
    fpmc, items = made(6, 3, seed=0), [[1, 2, 3, 1], [5, 6], [4, 4, 2]]
    prefixes = [(row[:n], row[n]) for row in items for n in range(1, len(row))]
    scores = fpmc.score(Sequences.from_lists([prefix for prefix, _ in prefixes]))
    likelihood = torch.log_softmax(scores, dim=1)[range(6), [target for _, target in prefixes]]
    tables = tuple(
        torch.from_numpy(part) for part in (fpmc.profile, fpmc.taste, fpmc.last, fpmc.following)
    )
    padded = torch.from_numpy(Sequences.from_lists(items).padded())
    loss = next_item_loss(tables, torch.from_numpy(fpmc.biases), padded, torch.arange(1, 7))
    assert float(loss) == pytest.approx(-float(likelihood.mean()), abs=1e-5)


def test_one_negative_is_bpr():
    # s+ - s- = 1 throughout: log(1 + exp(-1))
    zero = torch.zeros(3, 1)
    loss = next_item_loss(
        (zero, zero, zero, zero),
        torch.tensor([0.0, 1, 0]),
        torch.tensor([[2, 1]]),
        torch.tensor([2]),
    )
    assert float(loss) == pytest.approx(0.313262, abs=1e-6)


def test_a_chain_is_learnt_and_noise_is_not():
    split = leave_one_out(chain(num_users=400, num_items=40, length=12, randomness=0.0, seed=5))
    assert evaluate(TopK(FPMC.fit(split)), split.test, split.catalogue).means["recall@1"] > 0.9
    split = leave_one_out(chain(num_users=1000, num_items=40, length=12, randomness=1.0, seed=5))
    # 29 items are unseen; four standard errors of 1,000 draws
    means = evaluate(TopK(FPMC.fit(split, epochs=2)), split.test, split.catalogue).means
    assert means["recall@10"] == pytest.approx(10 / 29, abs=0.06)


@pytest.mark.slow
def test_movielens_1m(ndcg_of_movielens):
    assert ndcg_of_movielens(FPMC.fit) > 0.12
