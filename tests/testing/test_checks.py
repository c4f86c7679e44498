"""The contract tests accept what keeps a contract and find each way to break it."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from genrec.baselines import Markov, Popularity
from genrec.config.errors import GenrecError
from genrec.data import Sequences
from genrec.recommender import TopK, unseen_scores
from genrec.rerankers import dpp, mmr, popularity_penalised, sog
from genrec.rewards import Diversity, FunctionReward, Reward
from genrec.testing import (
    REWARD_CHECKS,
    SCORER_CHECKS,
    ContractError,
    chain_split,
    check_learns_chain,
    check_ranker,
    check_recommender,
    check_reranker,
    check_reward,
    check_saved_scorer,
    check_scorer,
    check_stays_at_chance,
    example_histories,
    example_lists,
    example_pool,
)

V = 36
RANDOM = np.random.default_rng(0)


def test_importing_the_package_loads_no_torch():
    code = "import sys, genrec.testing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestRewards:
    class WrongMarginal(Reward):
        def __call__(self, slates, context):
            return slates * 1.0

        def marginal(self, slates, candidates, context):
            return candidates * 2.0

    @staticmethod
    def modifies(slates, context):
        slates[:] = 1
        return slates * 1.0

    BROKEN: ClassVar = {
        "one_number_per_position": lambda slates, context: slates.sum(axis=1),
        "causality": lambda slates, context: slates / slates.max(axis=1, keepdims=True),
        "independence": lambda slates, context: slates - slates.mean(axis=0),
        "unchanged_inputs": modifies,
        "audit": lambda slates, context: (slates == context.targets[:, None]) * 1.0,
    }

    def test_a_right_one(self):
        check_reward(Diversity())
        slates, context = example_lists()
        check_reward(Diversity(), slates[:4], context.take(np.arange(4)))

    @pytest.mark.parametrize("check", BROKEN)
    def test_a_broken_one(self, check):
        reward = FunctionReward(self.BROKEN[check], "broken")
        slates, context = example_lists()
        with pytest.raises(ContractError, match="reward 'broken'"):
            REWARD_CHECKS[check](reward, slates, context)
        with pytest.raises(ContractError, match="reward 'broken'"):
            check_reward(reward)

    def test_a_wrong_marginal(self):
        slates, context = example_lists()
        with pytest.raises(ContractError, match=r"marginal\(\) at position 1 is not the gain of"):
            REWARD_CHECKS["marginal_gains"](self.WrongMarginal(), slates, context)

    def test_chance(self):
        reward = FunctionReward(lambda slates, context: RANDOM.random(slates.shape), "dice")
        slates, context = example_lists()
        with pytest.raises(ContractError, match="'dice' is not deterministic: at"):
            REWARD_CHECKS["independence"](reward, slates, context)

    def test_a_future_item(self):
        """A reward that only compares with the last item is causal for the lists as they are."""
        reward = FunctionReward(lambda slates, context: slates - slates[:, -1:] * 1.0, "last")
        slates, context = example_lists()
        with pytest.raises(ContractError, match="change without the others"):
            REWARD_CHECKS["causality"](reward, slates, context)


def top_k(pool, k, weight):
    if (pool.allowed.sum(axis=1) < k).any():
        raise GenrecError("too few candidates")
    return pool.items[:, :k]


def rising_index(pool, k, weight):
    """The candidates with the smallest item indices, whatever the weight."""
    top_k(pool, k, weight)
    return np.sort(np.where(pool.allowed, pool.items, 10**6), axis=1)[:, :k]


def of_the_others(pool, k, weight):
    return top_k(pool, k, weight)[:, :: 1 if len(pool.items) > 5 else -1]


def by_mean(pool, k, weight):
    """Reversed where the mean relevance of all candidates, allowed or not, is high."""
    lists = top_k(pool, k, weight)
    return lists[:, ::-1] if pool.items.shape[1] > 10 and weight == 0.7 else lists


class TestRerankers:
    @pytest.mark.parametrize("rerank", [mmr, sog, dpp, popularity_penalised, top_k])
    def test_right_ones(self, rerank):
        check_reranker(rerank)
        check_reranker(rerank, example_pool(), k=3)

    @pytest.mark.parametrize(
        ("rerank", "message"),
        [
            (lambda pool, k, weight: pool.items[:, : k - 1], r"shape \(12, 4\), not item indices"),
            (lambda pool, k, weight: pool.items[:, [0] * k], "not 5 different candidates"),
            (lambda pool, k, weight: pool.items[:, -k:], "that may be chosen"),
            (lambda pool, k, weight: pool.items[:, :k], "raises no GenrecError for lists of 16"),
            (rising_index, "is Top-K for neither weight 0 nor weight 1"),
            (of_the_others, "a list depends on the other lists"),
            (by_mean, "candidates that may not be chosen change the lists"),
            (
                lambda pool, k, weight: RANDOM.permuted(top_k(pool, k, weight), axis=1),
                "is not deterministic",
            ),
        ],
    )
    def test_broken_ones(self, rerank, message):
        with pytest.raises(ContractError, match=message):
            check_reranker(rerank)

    def test_a_modified_pool(self):
        def spends(pool, k, weight):
            lists = top_k(pool, k, weight).copy()
            pool.relevance[:, :] = 0
            return lists

        with pytest.raises(ContractError, match="modifies the pool"):
            check_reranker(spends)


class Scores:
    """A right scorer, and one for each way to be wrong."""

    num_items = V

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor] = lambda scores: scores):
        self.change = change
        self.table = torch.rand((V + 1, V + 1), generator=torch.Generator().manual_seed(0))
        self.table[:, 0] = -torch.inf

    def score(self, histories: Sequences) -> torch.Tensor:
        last = torch.from_numpy(histories.padded(1)[:, -1].astype(np.int64))
        return self.change(self.table[last])


class TestScorers:
    def test_right_ones(self):
        check_scorer(Scores())
        check_scorer(Markov.fit(chain_split()), example_histories())

    @pytest.mark.parametrize(
        ("check", "change", "message"),
        [
            ("one_score_per_item", lambda s: s[:, 1:], r"have shape \(5, 36\), not \(5, 37\)"),
            ("one_score_per_item", lambda s: s.double(), "are torch.float64, not float32"),
            ("one_score_per_item", lambda s: s.requires_grad_(), "scores require gradients"),
            ("one_score_per_item", lambda s: s.fill_(0), r"column 0 \(PAD\) is not -inf"),
            ("one_score_per_item", lambda s: s.masked_fill(s < 0.5, -torch.inf), "no finite score"),
            (
                "repeatable_scores",
                lambda s: s + RANDOM.random(),
                "scoring again gives other scores",
            ),
            ("batch_independence", lambda s: s * len(s), "scores of history 0 depend on its batch"),
            ("batch_independence", lambda s: s if len(s) else s[:, 1:], "no empty table"),
        ],
    )
    def test_broken_ones(self, check, change, message):
        with pytest.raises(ContractError, match=message):
            SCORER_CHECKS[check](Scores(change), example_histories())
        with pytest.raises(ContractError):
            check_scorer(Scores(change))

    def test_scores_that_the_scorer_keeps(self):
        """Nobody writes into them, so that they stay the same."""
        scorer = Scores()
        scorer.score = lambda histories: scorer.table[1:6]  # type: ignore[method-assign]
        before = scorer.table.clone()
        SCORER_CHECKS["repeatable_scores"](scorer, example_histories())
        unseen_scores(scorer, example_histories())
        assert torch.equal(scorer.table, before)

    @pytest.mark.parametrize(
        ("order", "scale", "message"),
        [
            (slice(None, None, -1), 1, "not those of the largest scores"),
            (slice(None), 2, "the scores of the best items are not theirs"),
        ],
    )
    def test_rankers(self, order, scale, message):
        class Best(Scores):
            def best(self, histories, k):
                slates, scores = TopK(Scores()).candidates(histories, k)
                items = torch.from_numpy(slates[:, order].copy())
                return torch.from_numpy(scores) * scale, items

        with pytest.raises(ContractError, match=message):
            check_ranker(Best())
        with pytest.raises(ContractError, match=message):
            check_scorer(Best())

    def test_saved_ones(self, tmp_path: Path):
        fitted = Popularity.fit(chain_split())
        fitted.save(tmp_path)
        check_saved_scorer(fitted, tmp_path, Popularity.load)
        with pytest.raises(ContractError, match="loading gives a Scores, not a Popularity"):
            check_saved_scorer(fitted, tmp_path, lambda directory: Scores())
        other = Popularity.fit(chain_split(1.0))
        with pytest.raises(ContractError, match="the loaded scorer has other scores"):
            check_saved_scorer(other, tmp_path, Popularity.load)
        torch.save({"weights": torch.zeros(2)}, tmp_path / "weights.pt")
        with pytest.raises(ContractError, match=r"weights\.pt holds a pickle"):
            check_saved_scorer(fitted, tmp_path, Popularity.load)
        (tmp_path / "weights.pt").write_bytes(pickle.dumps([1, 2]))
        with pytest.raises(ContractError, match=r"weights\.pt holds a pickle"):
            check_saved_scorer(fitted, tmp_path, Popularity.load)
        np.savez(tmp_path / "weights.npz", plain=np.zeros(2))
        (tmp_path / "other.safetensors").write_bytes(
            (640).to_bytes(8, "little") + b"{" + 639 * b" "
        )
        (tmp_path / "weights.pt").unlink()
        check_saved_scorer(fitted, tmp_path, Popularity.load)


class Lists(TopK):
    """A recommender whose lists are changed."""

    def __init__(self, change: Callable[..., np.ndarray]):
        super().__init__(Scores())
        object.__setattr__(self, "change", change)

    def recommend(self, histories, k):
        return self.change(super().recommend(histories, k), histories)  # type: ignore[attr-defined]


class TestRecommenders:
    def test_a_right_one(self):
        check_recommender(TopK(Scores()), V)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda lists, histories: lists[:, 1:], r"have shape \(5, 4\), not \(5, 5\)"),
            (lambda lists, histories: lists * 1.0, "lists hold float64 values"),
            (lambda lists, histories: lists[:, [0, 0, 1, 2, 3]], "holds an item twice"),
            (lambda lists, histories: lists + V, "holds indices outside 1..36"),
            (
                lambda lists, histories: np.tile(np.arange(5), (len(lists), 1)),
                "holds indices outside 1..36",
            ),
            (
                lambda lists, histories: np.tile(np.arange(1, 6), (len(lists), 1)),
                "holds a seen item",
            ),
            (
                lambda lists, histories: lists if len(lists) > 1 else lists[:, ::-1],
                "depends on its batch",
            ),
            (
                lambda lists, histories: lists if len(lists) else lists[:, 1:],
                "no histories give no empty table",
            ),
        ],
    )
    def test_broken_ones(self, change, message):
        with pytest.raises(ContractError, match=message):
            check_recommender(Lists(change), V)

    def test_too_few_items(self):
        class Generous(TopK):
            def recommend(self, histories, k):
                full = histories.distinct().max(initial=0) > V - k
                return np.ones((1, k)) if full else super().recommend(histories, k)

        with pytest.raises(ContractError, match="no GenrecError for a list of 5 where only 4"):
            check_recommender(Generous(Scores()), V)


class TestLearning:
    def test_a_chain_is_learnt_by_what_reads_the_last_item(self):
        check_learns_chain(Markov.fit)
        with pytest.raises(ContractError, match=r"NDCG@10 is .*; random lists have 0.1"):
            check_learns_chain(Popularity.fit)

    def test_noise_is_not_learnt(self):
        check_stays_at_chance(Markov.fit)

    def test_a_scorer_that_knows_the_answers_is_found(self):
        cases = chain_split(1.0).test
        pairs = zip(cases.histories, cases.targets.tolist(), strict=True)
        answers = {tuple(history): target for history, target in pairs}

        class Oracle(Scores):
            def score(self, histories):
                scores = super().score(histories)
                for row, history in enumerate(histories):
                    scores[row, answers[tuple(history)]] = 2.0
                return scores

        with pytest.raises(ContractError, match="on noise, where random lists have"):
            check_stays_at_chance(lambda split: Oracle())


def test_the_examples_have_what_a_component_may_read():
    slates, context = example_lists()
    assert slates.shape == (8, 6)
    assert context.of_probabilities is not None
    np.testing.assert_allclose(context.of_probabilities.sum(axis=1), 1)
    assert len(context.of_times) == 14
    assert example_histories().times is not None
    pool = example_pool()
    assert 0 < np.mean(pool.allowed) < 1
    assert (np.diff(np.where(pool.allowed, pool.relevance, 0)) <= 0).all()
    assert json.dumps(pool.context.catalogue.feature_names)
