import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents.distillation import (
    Demonstrations,
    demonstration_loss,
    make_demonstrations,
    target_distributions,
)
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences

LOG = torch.tensor([[math.log(6), math.log(3), math.log(1)]])


@dataclass(frozen=True)
class Teacher:
    """Score of item i after a history: fixed weights, less its distance from the newest item."""

    num_items: int = 8

    def score(self, histories: Sequences) -> torch.Tensor:
        newest = torch.tensor([row[-1] if len(row) else 0 for row in histories])
        scores = -(torch.arange(self.num_items + 1.0) - newest[:, None] - 0.3).abs()
        scores[:, 0] = -torch.inf
        return scores


def tiny(num_items: int = 8, scale: float = 8.0) -> GPTRec:
    torch.manual_seed(0)
    policy = GPTRec(
        num_items, hidden_size=8, blocks=1, heads=2, max_length=4, max_slate=4, dropout=0.0
    )
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.dim() > 1:
                weight.mul_(scale)
    return policy


def test_hard_targets_are_the_teachers_list():
    assert target_distributions(LOG, 2, hard=1.0, temperature=1.0).tolist() == [
        [[1, 0, 0], [0, 1, 0]]
    ]


def test_soft_targets_choose_among_what_is_not_placed():
    # odds 6 : 3 : 1, then 3 : 1 without the first, then the last alone
    expected = torch.tensor([[[0.6, 0.3, 0.1], [0.0, 0.75, 0.25], [0.0, 0.0, 1.0]]])
    torch.testing.assert_close(target_distributions(LOG, 3, hard=0.0, temperature=1.0), expected)


def test_mixed_targets():
    # a quarter of [1, 0, 0] and three quarters of [.6, .3, .1]; likewise [0, 1, 0] and [0, .75,
    # .25]
    expected = torch.tensor([[[0.7, 0.225, 0.075], [0.0, 0.8125, 0.1875]]])
    torch.testing.assert_close(target_distributions(LOG, 2, hard=0.25, temperature=1.0), expected)


def test_temperature_raises_or_lowers_the_odds():
    # at 1/2 the odds are squared, 36 : 9 : 1
    expected = torch.tensor([36 / 46, 9 / 46, 1 / 46])
    torch.testing.assert_close(
        target_distributions(LOG, 1, hard=0.0, temperature=0.5)[0, 0], expected
    )
    flat = target_distributions(LOG, 1, hard=0.0, temperature=1e6)[0, 0]
    torch.testing.assert_close(flat, torch.full((3,), 1 / 3))


def test_targets_where_each_position_has_scores_of_its_own():
    # odds 4 : 1 and 1 : 1; a quarter goes to the first of each row
    scores = torch.tensor([[[0.0, -math.log(4)], [2.0, 2.0]]])
    expected = torch.tensor([[[0.25 + 0.75 * 0.8, 0.75 * 0.2], [0.25 + 0.75 * 0.5, 0.75 * 0.5]]])
    torch.testing.assert_close(
        target_distributions(scores, 2, hard=0.25, temperature=1.0), expected
    )


@pytest.mark.parametrize("hard", [0.0, 0.5, 1.0])
def test_targets_are_distributions_without_placed_items(hard):
    scores = (
        torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
        .mul(30)
        .sort(dim=1, descending=True)
        .values
    )
    made = target_distributions(scores, 5, hard=hard, temperature=1.0)
    assert made.shape == (7, 5, 9)
    torch.testing.assert_close(made.sum(dim=2), torch.ones(7, 5))
    for t in range(5):
        assert (made[:, t, :t] == 0).all()
        assert (made[:, t] >= 0).all()


def test_targets_do_not_depend_on_the_level_of_the_scores():
    torch.testing.assert_close(
        target_distributions(LOG + 50, 3, hard=0.3, temperature=0.7),
        target_distributions(LOG, 3, hard=0.3, temperature=0.7),
        atol=1e-5,
        rtol=0,
    )


HISTORIES = [[2, 3], [7], [], [1, 2, 3, 4, 5]]


def test_demonstrations_are_the_best_unseen_items_in_the_order_of_the_histories():
    demonstrations = make_demonstrations(
        Teacher(), Sequences.from_lists(HISTORIES), pool=3, batch_size=2
    )
    assert demonstrations.items.tolist() == [[4, 5, 1], [8, 6, 5], [1, 2, 3], [6, 7, 8]]
    expected = [[-0.7, -1.7, -2.3], [-0.7, -1.3, -2.3], [-0.7, -1.7, -2.7], [-0.7, -1.7, -2.7]]
    np.testing.assert_allclose(demonstrations.scores, expected, atol=1e-6)
    assert demonstrations.scores.dtype == np.float32
    assert [row.tolist() for row in demonstrations.histories] == HISTORIES


def test_a_pool_larger_than_what_is_left():
    with pytest.raises(
        ValueError, match="a list of 4 items was requested, but only 3 of 8 items are new"
    ):
        make_demonstrations(Teacher(), Sequences.from_lists(HISTORIES), pool=4)


def test_save_and_load(tmp_path: Path):
    demonstrations = make_demonstrations(Teacher(), Sequences.from_lists(HISTORIES), pool=3)
    demonstrations.save(tmp_path / "demonstrations.safetensors")
    loaded = Demonstrations.load(tmp_path / "demonstrations.safetensors")
    assert [row.tolist() for row in loaded.histories] == HISTORIES
    np.testing.assert_array_equal(loaded.items, demonstrations.items)
    np.testing.assert_array_equal(loaded.scores, demonstrations.scores)
    assert (loaded.items.dtype, loaded.scores.dtype, loaded.histories.items.dtype) == (
        np.int64,
        np.float32,
        np.int32,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["demonstrations.safetensors"]


def demonstrations_of(histories: list[list[int]], pool: int = 3) -> Demonstrations:
    return make_demonstrations(Teacher(), Sequences.from_lists(histories), pool)


@pytest.mark.parametrize("hard", [0.0, 0.4, 1.0])
def test_loss_of_a_policy_that_knows_nothing(hard):
    """All weights zero: uniform over 6 then 5 unseen items of the first history, over 7 then 6 of
    the second. The cross-entropy with a uniform distribution is log n if the targets lie within the
    choices.
    """
    policy = tiny(scale=0.0)
    demonstrations = demonstrations_of([[2, 3], [7]])
    target = target_distributions(
        torch.from_numpy(demonstrations.scores), 2, hard=hard, temperature=1.0
    )
    loss = demonstration_loss(policy, demonstrations, np.arange(2), k=2, target=target)
    assert float(loss.detach()) == pytest.approx(
        (math.log(6) + math.log(5) + math.log(7) + math.log(6)) / 4, abs=1e-5
    )


def test_hard_loss_is_the_mean_negative_log_likelihood_of_the_teachers_items():
    policy, demonstrations, rows = tiny(), demonstrations_of(HISTORIES), np.array([3, 0])
    target = target_distributions(
        torch.from_numpy(demonstrations.scores[rows]), 3, hard=1.0, temperature=1.0
    )
    logp = policy.logp(
        Sequences.from_lists([[1, 2, 3, 4, 5], [2, 3]]), torch.tensor([[[6, 7, 8]], [[4, 5, 1]]])
    )
    loss = demonstration_loss(policy, demonstrations, rows, k=3, target=target)
    torch.testing.assert_close(loss, -logp.mean())


def test_a_demonstration_with_choices_of_each_position():
    """The list is the first of each row; the loss weighs the log-probabilities of all choices after
    it."""
    policy, history = tiny(), Sequences.from_lists([[2, 3]])
    choices = np.array([[[4, 5], [6, 1]]])
    demonstrations = Demonstrations(history, choices, np.zeros((1, 2, 2), np.float32))
    assert demonstrations.lists(2).tolist() == [[4, 6]]
    target = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]])
    first, second = policy.log_distribution(history, torch.tensor([[[4, 6]]]))[0, 0]
    wanted = -(0.75 * first[4] + 0.25 * first[5] + 0.5 * second[6] + 0.5 * second[1]) / 2
    torch.testing.assert_close(
        demonstration_loss(policy, demonstrations, np.array([0]), k=2, target=target), wanted
    )


def test_soft_loss_step_by_step():
    """One forward for every list position, and the sum over the pool written out."""
    policy, demonstrations = tiny(), demonstrations_of(HISTORIES)
    target = target_distributions(
        torch.from_numpy(demonstrations.scores), 2, hard=0.3, temperature=0.8
    )
    losses = []
    for row, (history, items) in enumerate(
        zip(HISTORIES, demonstrations.items.tolist(), strict=True)
    ):
        for t in range(2):
            for c in range(t, 3):
                slate = torch.tensor([[[*items[:t], items[c]]]])
                logp = policy.logp(Sequences.from_lists([history]), slate)[0, 0, t]
                losses.append(-float(target[row, t, c]) * float(logp.detach()))
    loss = demonstration_loss(policy, demonstrations, np.arange(4), k=2, target=target)
    assert float(loss.detach()) == pytest.approx(sum(losses) / 8, abs=1e-5)


@pytest.mark.parametrize("hard", [0.0, 1.0])
def test_gradients_are_finite_although_placed_items_are_impossible(hard):
    policy, demonstrations = tiny(), demonstrations_of(HISTORIES)
    target = target_distributions(
        torch.from_numpy(demonstrations.scores), 3, hard=hard, temperature=1.0
    )
    demonstration_loss(policy, demonstrations, np.arange(4), k=3, target=target).backward()
    assert all(weight.grad.isfinite().all() for weight in policy.parameters())


def test_the_teachers_distribution_is_the_optimum():
    """Trained on one history, the policy's choice after it becomes the target of the first
    position."""
    policy, demonstrations = tiny(scale=1.0), demonstrations_of([[2, 3]])
    target = target_distributions(
        torch.from_numpy(demonstrations.scores), 2, hard=0.0, temperature=1.0
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        demonstration_loss(policy, demonstrations, np.arange(1), k=2, target=target).backward()
        optimizer.step()
    slate = torch.from_numpy(demonstrations.items[:, None, :2])
    learnt = policy.log_distribution(demonstrations.histories, slate).exp()[0, 0][
        :, demonstrations.items[0]
    ]
    torch.testing.assert_close(learnt.detach(), target[0], atol=0.03, rtol=0)
