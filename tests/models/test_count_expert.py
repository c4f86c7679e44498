"""The count-based expert: what it adds, and that no sequence helps to predict itself."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional

from genrec.baselines.markov import count_transitions
from genrec.baselines.sequential_rules import pooled
from genrec.config.errors import ConfigError, GenrecError
from genrec.data import Sequences
from genrec.models import count_expert
from genrec.models.build import build
from genrec.models.count_expert import CountExpert, DenseTable, SparseTable, recent_items
from genrec.models.objectives import Batch
from genrec.recipes import recipe

LOG = [[1, 2, 3, 4], [2, 3, 1], [1, 2, 4]]
V, ORDER, S = 4, 2, 0.5
SCORES = (torch.arange(V + 1) / 10).expand(3, -1)


def rules_of(log: list[list[int]]) -> sparse.csr_matrix:
    return pooled(count_transitions(Sequences.from_lists(log), V, 3), 0.4)


@pytest.fixture
def expert() -> CountExpert:
    made = CountExpert(V, 3, order=ORDER, smoothing=S)
    with torch.no_grad():
        made.gate.weight.normal_(generator=torch.Generator().manual_seed(0))
    made.assign(rules_of(LOG))
    made.hold_out([rules_of([each]) for each in LOG])
    return made


def by_hand(
    expert: CountExpert, state: torch.Tensor, recent: list[int], counts: np.ndarray, s: float
) -> torch.Tensor:
    """w_0 s_i + Σ_d w_d log(1 + N/s), item by item, for scores of i/10."""
    weights = functional.softplus(expert.gate(state))
    combined = weights[0] * torch.arange(V + 1) / 10
    for place, item in enumerate(recent, start=1):
        for candidate in range(V + 1):
            combined[candidate] += weights[place] * np.log1p(counts[item, candidate] / s)
    combined[0] = -torch.inf
    return combined


def test_combined_scores_by_hand(expert):
    states = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    found = expert(SCORES[:2], states, torch.tensor([[3, 2], [1, 0]]))
    # After 3 came 4 and 1. After 2 came 3 twice, 4 once and once two events later, so did 1.
    dense = rules_of(LOG).toarray()
    np.testing.assert_allclose(dense[3], [0, 1, 0, 0, 1])
    np.testing.assert_allclose(dense[2], [0, 0.4, 0, 2, 1.4], rtol=1e-6)
    for row, recent in enumerate([[3, 2], [1]]):
        torch.testing.assert_close(found[row], by_hand(expert, states[row], recent, dense, S))


def test_counts_of_the_own_fold_are_left_out(expert):
    states = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    recent = torch.tensor([[3, 2], [3, 2], [3, 2]])
    found = expert(SCORES, states, recent, torch.tensor([0, 1, 2]))
    for fold in range(3):
        others = rules_of([each for place, each in enumerate(LOG) if place != fold]).toarray()
        expected = by_hand(expert, states[fold], [3, 2], others, S * 2 / 3)
        torch.testing.assert_close(found[fold], expected, atol=0.02, rtol=0.01)  # bfloat16


def test_a_batch_reads_the_folds_of_its_sequences(expert):
    # Flattened positions of sequences 4 and 2 of the training, which are in folds 1 and 2 of 3.
    inputs, positions = torch.tensor([[1, 2, 3], [2, 3, 0]]), torch.tensor([0, 2, 3, 4])
    recent, folds = expert.training_inputs(inputs, positions, torch.tensor([4, 2]))
    assert recent.tolist() == [[1, 0], [3, 2], [2, 0], [3, 2]]
    assert folds.tolist() == [1, 1, 2, 2]
    with pytest.raises(GenrecError, match="held out"):
        expert.training_inputs(inputs, positions, None)
    with pytest.raises(GenrecError, match="held out"):
        CountExpert(V, 3, order=1, smoothing=S).training_inputs(inputs, positions, torch.ones(2))


def test_a_sequence_that_nobody_shares_gets_no_evidence_of_its_own_targets(expert):
    expert.hold_out([rules_of([[1, 2, 3, 4]]), rules_of([[2, 1]])])
    inputs, positions = torch.tensor([[1, 2, 3]]), torch.arange(3)
    recent, folds = expert.training_inputs(inputs, positions, torch.tensor([0]))
    combined = expert(torch.zeros(3, V + 1), torch.zeros(3, 3), recent, folds)
    # What the others know of 2 -> 1 is the only thing that is added, after 2 and after 2, 3.
    assert (combined > 0).nonzero().tolist() == [[1, 1], [2, 1]]


def test_the_network_is_trained_as_if_alone_and_the_gate_by_the_combined_scores():
    config = {"hidden_size": 8, "dropout": 0.0}
    model = build(recipe("sasrec_counts", **config), num_items=V, seed=0)
    alone = build(recipe("sasrec_softmax", **config), num_items=V, seed=0)
    expert = model.scorer.expert
    expert.hold_out([rules_of(LOG[:1]), rules_of(LOG[1:])])
    batch = Batch(
        inputs=torch.tensor([[1, 2, 3]]),
        positions=torch.arange(3),
        targets=torch.tensor([2, 3, 4]),
        sequences=torch.tensor([0]),
    )
    loss = model.training_step(batch, torch.Generator(), chunk=2)
    of_network = alone.training_step(batch, torch.Generator(), chunk=2)
    scorer = model.scorer
    with torch.no_grad():
        states = scorer.states(batch.inputs, batch.positions)
        inputs = expert.training_inputs(batch.inputs, batch.positions, batch.sequences)
        combined = expert(scorer.embedding.score(states), states, *inputs)
        of_combined = functional.cross_entropy(combined, batch.targets)
    assert loss == pytest.approx(of_network + float(of_combined), rel=1e-5)
    for own, other in zip(
        (*scorer.embedding.parameters(), *scorer.backbone.parameters()),
        (*alone.scorer.embedding.parameters(), *alone.scorer.backbone.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(own.grad, other.grad)
    gradient = expert.gate.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_counts_survive_storage(expert):
    again = CountExpert(V, 3, order=ORDER, smoothing=S)
    again.load_counts(expert.stored_counts())
    assert torch.equal(again.evidence.values, expert.evidence.values)
    assert list(expert.state_dict()) == ["gate.weight", "gate.bias"]


def test_counts_that_do_not_fit_are_refused(expert):
    stored = expert.stored_counts()
    with pytest.raises(LookupError):
        expert.load_counts({})
    moved = stored | {"expert.rules.indices": stored["expert.rules.indices"] + 10_000}
    with pytest.raises(ValueError, match="indices must be"):
        expert.load_counts(moved)
    with pytest.raises(ValueError, match="size"):
        expert.load_counts(stored | {"expert.rules.data": stored["expert.rules.data"][:-1]})
    with pytest.raises(GenrecError, match="have the shape"):
        expert.assign(count_transitions(Sequences.from_lists(LOG), V, 3))
    with pytest.raises(GenrecError, match="at least 2"):
        expert.hold_out([rules_of(LOG)])
    with pytest.raises(GenrecError, match="no counts"):
        CountExpert(V, 3, order=1, smoothing=S).stored_counts()


def test_sparse_and_dense_tables_agree():
    rng = np.random.default_rng(0)
    dense = (rng.integers(0, 5, (12, 7)) * rng.integers(0, 2, (12, 7))).astype(np.float32)
    dense[3] = 0
    table = sparse.csr_matrix(dense)
    rows = torch.from_numpy(rng.integers(0, 12, (5, 3)))
    rows[0] = 3
    outcomes = []
    for made in (DenseTable(table, torch.float32), SparseTable(table)):
        weights = torch.arange(15.0).view(5, 3).requires_grad_()
        total = made(rows, weights)
        (total * torch.arange(7)).sum().backward()
        outcomes.append((total, weights.grad))
    expected = np.einsum("nk,nkc->nc", np.arange(15).reshape(5, 3), dense[rows])
    np.testing.assert_allclose(outcomes[0][0].detach(), expected, rtol=1e-6)
    for of_dense, of_sparse in zip(*outcomes, strict=True):
        torch.testing.assert_close(of_dense, of_sparse)


def test_large_tables_are_sparse(monkeypatch):
    monkeypatch.setattr(count_expert, "MOST_ENTRIES", 2 * (V + 1) ** 2)
    made = CountExpert(V, 3, order=ORDER, smoothing=S)
    made.assign(rules_of(LOG))
    made.hold_out([rules_of([each]) for each in LOG])
    assert isinstance(made.evidence, DenseTable)
    assert isinstance(made.held_out, SparseTable)
    assert made.folds == 3


@pytest.mark.parametrize(
    "changes", [{"objective": "last"}, {"negatives": {"name": "uniform", "count": 4}}]
)
def test_what_cannot_be_combined_is_refused(changes):
    with pytest.raises(ConfigError, match=r"teacher\.expert=none"):
        recipe("sasrec_counts", **changes)


def test_recent_items_of_a_position():
    found = recent_items(torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([1, 2, 3]), 3)
    assert found.tolist() == [[5, 4, 0], [6, 5, 4], [7, 0, 0]]


def test_lists_are_those_of_the_scores():
    model = build(recipe("sasrec_counts", hidden_size=8, expert={"order": 2}), num_items=V, seed=0)
    model.scorer.expert.assign(rules_of(LOG))
    histories = Sequences.from_lists([[1], [3, 2], []])
    scores = model.scorer.score(histories)
    network = model.scorer.embedding.score(model.scorer.final_states(histories))
    assert (scores[0, 2:] > 0.7 * network[0, 2:] + 0.1).any()
    torch.testing.assert_close(scores[2, 1:], 0.7 * network[2, 1:])  # nothing to look up
    best, items = model.scorer.best(histories, 2)
    for row, seen in enumerate([[1], [3, 2], []]):
        scores[row, seen] = -torch.inf
    torch.testing.assert_close(best, scores.topk(2).values)
    assert torch.equal(items, scores.topk(2).indices)
    with pytest.raises(GenrecError, match="a list of 3 items"):
        model.scorer.best(histories, 3)
