"""What ``collect`` reports against the reward called on whole lists."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.agents.rollout import Rollout, collect
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.metrics.context import Context
from genrec.rewards import Diversity, Ndcg, Novelty, Popularity, Relevance, WeightedSum

V, K, LISTS, GROUP = 12, 4, 12, 3
HISTORIES = Sequences.from_lists([[1], [2, 3], [4, 5, 6], [7], [8, 9, 8], [10, 1, 2, 3], [11]])
TARGETS = np.array([2, 4, 7, 0, 10, 5, 12])
TERMS = (
    (Ndcg(), 1.0),
    (Relevance(), 2.0),
    (Diversity(), 0.5),
    (Novelty(), 0.3),
    (Popularity(), 0.4),
)


def item_probabilities(histories: Sequences) -> np.ndarray:
    """P(item i) is proportional to i, and twice as large for the newest history item plus one."""
    weights = np.tile(np.arange(V + 1.0), (len(histories), 1))
    weights[np.arange(len(histories)), [row[-1] % V + 1 for row in histories]] *= 2
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture
def task() -> ListTask:
    genres = {str(i): [("odd", "even")[i % 2], ("low", "high")[i > 5]] for i in range(V)}
    catalogue = replace(make_catalogue(list(genres), features=genres), counts=np.arange(V + 1))
    return ListTask(
        HISTORIES,
        TARGETS,
        catalogue,
        reward=WeightedSum(TERMS),
        k=K,
        max_length=3,
        probabilities=item_probabilities,
    )


@pytest.fixture(scope="module")
def policy() -> GPTRec:
    torch.manual_seed(0)
    return GPTRec(V, hidden_size=8, blocks=1, heads=2, max_length=3, max_slate=K, dropout=0.5)


def rollout(policy: GPTRec, task: ListTask, seed: int = 3, of_choices: int = 5) -> Rollout:
    env = ListGenerationVectorEnv(task, LISTS, GROUP)
    return collect(policy, env, K, generator=torch.Generator().manual_seed(of_choices), seed=seed)


def flat_context(task: ListTask, found: Rollout) -> Context:
    """One row per list, histories repeated; the targets are looked up by history."""
    known = {tuple(history): target for history, target in zip(HISTORIES, TARGETS, strict=True)}
    lists = [history for history in found.histories for _ in range(GROUP)]
    histories = Sequences.from_lists(lists)
    targets = np.array([known[tuple(history)] for history in lists])
    return Context(
        histories, targets, task.catalogue, k=K, of_probabilities=item_probabilities(histories)
    )


def test_rewards_sum_to_the_metric_of_the_list(policy, task):
    found = rollout(policy, task)
    slates = found.slates.flatten(0, 1).numpy()
    expected = task.weighted_sum(slates, flat_context(task, found))
    assert expected.std(axis=0).min() > 0.01
    torch.testing.assert_close(found.r_t.flatten(0, 1), torch.from_numpy(expected).float())


def test_terms_are_mean_unweighted_sums(policy, task):
    found = rollout(policy, task)
    context, slates = flat_context(task, found), found.slates.flatten(0, 1).numpy()
    assert list(found.terms) == ["ndcg", "relevance", "diversity", "novelty", "popularity"]
    for term, _ in TERMS:
        assert found.terms[term.name] == pytest.approx(term(slates, context).sum(axis=1).mean())
    total = sum(weight * found.terms[term.name] for term, weight in TERMS)
    assert total == pytest.approx(float(found.r_t.sum(dim=2).mean()), abs=1e-6)


def test_lists_of_one_history_lie_side_by_side(policy, task):
    found = rollout(policy, task)
    assert found.slates.shape == found.r_t.shape == (LISTS // GROUP, GROUP, K)
    assert len(found.histories) == LISTS // GROUP
    for history, group in zip(found.histories, found.slates.tolist(), strict=True):
        assert len({tuple(slate) for slate in group}) > 1
        for slate in group:
            assert len(set(slate)) == K
            assert not set(slate) & {0, V + 1, *history.tolist()}


def test_seeds_decide_everything(policy, task):
    first, again = rollout(policy, task), rollout(policy, task)
    assert torch.equal(first.slates, again.slates)
    assert torch.equal(first.r_t, again.r_t)
    assert [row.tolist() for row in first.histories] == [row.tolist() for row in again.histories]
    others = rollout(policy, task, of_choices=6)
    assert [row.tolist() for row in first.histories] == [row.tolist() for row in others.histories]
    assert not torch.equal(first.slates, others.slates)
    elsewhere = rollout(policy, task, seed=4)
    assert [row.tolist() for row in first.histories] != [
        row.tolist() for row in elsewhere.histories
    ]


def test_without_a_seed_the_environment_continues_its_generator(policy, task):
    env, generator = ListGenerationVectorEnv(task, LISTS, GROUP), torch.Generator().manual_seed(0)
    drawn = [
        collect(policy, env, K, generator=generator, seed=seed).histories
        for seed in (0, None, None)
    ]
    assert len({tuple(map(tuple, histories)) for histories in drawn}) == 3


def test_dropout_is_off(policy, task):
    """Two rollouts with the same seeds are equal, although the policy was in training mode."""
    policy.train()
    first = rollout(policy, task)
    policy.train()
    assert torch.equal(first.slates, rollout(policy, task).slates)
    assert not policy.training
