"""The count-based expert: what it adds, and that no target helps to predict itself."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional

from genrec.baselines.markov import count_transitions
from genrec.config.errors import ConfigError, GenrecError
from genrec.data import Sequences
from genrec.models.build import build
from genrec.models.transitions import Transitions, recent_items
from genrec.recipes import recipe

LOG = [[1, 2, 3, 4], [2, 3, 1], [1, 2, 4]]
V, ORDER, S = 4, 2, 0.5


def counts_of(log: list[list[int]]) -> sparse.csr_matrix:
    return count_transitions(Sequences.from_lists(log), V, ORDER)


@pytest.fixture
def expert() -> Transitions:
    made = Transitions(V, 3, order=ORDER, smoothing=S)
    with torch.no_grad():
        made.gate.weight.normal_(generator=torch.Generator().manual_seed(0))
    made.assign(counts_of(LOG))
    return made


def by_hand(
    expert: Transitions, state: torch.Tensor, recent: list[int], dense: np.ndarray
) -> torch.Tensor:
    """Σ_d w_d log(1 + C_d/s), item by item."""
    weights = functional.softplus(expert.gate(state))
    added = torch.zeros(V + 1)
    for gap, item in enumerate(recent):
        for candidate in range(V + 1):
            count = dense[gap * (V + 1) + item, candidate] if item else 0
            added[candidate] += weights[gap] * np.log1p(count / S)
    return added


def test_evidence_by_hand(expert):
    states = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    found = expert(states, torch.tensor([[3, 2], [1, 0]]))
    dense = counts_of(LOG).toarray()
    for row, recent in enumerate([[3, 2], [1, 0]]):
        torch.testing.assert_close(found[row], by_hand(expert, states[row], recent, dense))
    # After 3 came 4 and 1, two after 2 came 4 and 1 as well; after 1 came 2, twice.
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[1, 4], [2]]


def test_a_target_is_left_out_of_its_own_counts(expert):
    """The evidence of every target is that of all counts but those of its own occurrence."""
    for sequence in LOG:
        for place in range(1, len(sequence)):
            target, recent = sequence[place], sequence[:place][::-1][:ORDER]
            dense = counts_of(LOG).toarray()
            for gap, item in enumerate(recent):
                dense[gap * (V + 1) + item, target] -= 1
            state = torch.randn(1, 3, generator=torch.Generator().manual_seed(place))
            padded = torch.tensor([(recent + [0] * ORDER)[:ORDER]])
            found = expert(state, padded, torch.tensor([target]))[0]
            torch.testing.assert_close(found, by_hand(expert, state[0], recent, dense))


def test_unique_transitions_tell_nothing_about_their_own_targets(expert):
    expert.assign(counts_of([[1, 2, 3, 4]]))
    recent = recent_items(torch.tensor([[1, 2, 3]]), torch.arange(3), ORDER)
    targets = torch.tensor([2, 3, 4])
    found = expert(torch.zeros(3, 3), recent, targets)
    assert found.gather(1, targets[:, None]).abs().max() < 1e-6


def test_the_gate_is_trained(expert):
    states = torch.randn(2, 3, requires_grad=True)
    expert(states, torch.tensor([[3, 2], [1, 0]]), torch.tensor([4, 2])).sum().backward()
    assert expert.gate.weight.grad.abs().sum() > 0
    assert states.grad.abs().sum() > 0


def test_counts_survive_storage(expert):
    again = Transitions(V, 3, order=ORDER, smoothing=S)
    again.load_counts(expert.stored_counts())
    torch.testing.assert_close(again.evidence, expert.evidence)
    assert "evidence" not in expert.state_dict()


def test_counts_that_do_not_fit_are_refused(expert):
    stored = expert.stored_counts()
    with pytest.raises(LookupError):
        expert.load_counts({})
    moved = stored | {"transitions.places": stored["transitions.places"] + 10_000}
    with pytest.raises(IndexError, match="outside"):
        expert.load_counts(moved)
    with pytest.raises(ValueError, match="counts of transitions for"):
        expert.load_counts(stored | {"transitions.counts": stored["transitions.counts"][:-1]})
    with pytest.raises(GenrecError, match="have the shape"):
        expert.assign(count_transitions(Sequences.from_lists(LOG), V, 3))


def test_a_table_beyond_memory_is_refused():
    with pytest.raises(GenrecError, match=r"1\.2 GiB.*lower teacher\.expert\.order to 3"):
        Transitions(9_000, 8, order=4, smoothing=S)
    with pytest.raises(GenrecError, match="use an ensemble"):
        Transitions(54_542, 8, order=1, smoothing=S)


@pytest.mark.parametrize(
    "changes", [{"objective": "last"}, {"negatives": {"name": "uniform", "count": 4}}]
)
def test_what_cannot_leave_its_targets_out_is_refused(changes):
    with pytest.raises(ConfigError, match=r"teacher\.expert=none"):
        recipe("sasrec_markov", **changes)


def test_lists_are_those_of_the_scores():
    model = build(recipe("sasrec_markov", hidden_size=8, expert={"order": 2}), num_items=V, seed=0)
    model.scorer.expert.assign(counts_of(LOG))
    histories = Sequences.from_lists([[1], [3, 2], []])
    scores = model.scorer.score(histories)
    network = model.scorer.embedding.score(model.scorer.final_states(histories))
    assert not torch.allclose(scores[0, 1:], network[0, 1:])
    torch.testing.assert_close(scores[2, 1:], network[2, 1:])  # nothing to look up
    best, items = model.scorer.best(histories, 2)
    for row, seen in enumerate([[1], [3, 2], []]):
        scores[row, seen] = -torch.inf
    torch.testing.assert_close(best, scores.topk(2).values)
    assert torch.equal(items, scores.topk(2).indices)
    with pytest.raises(GenrecError, match="a list of 3 items"):
        model.scorer.best(histories, 3)
