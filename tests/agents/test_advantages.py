import pytest
import torch

from genrec.agents.advantages import gae, group_advantages, returns_to_go, scale_by_std


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_returns_to_go_by_hand():
    r_t = torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 0.0]])
    assert returns_to_go(r_t).tolist() == [[3, 2, 2], [4, 4, 0]]
    assert returns_to_go(r_t, 0.5).tolist() == [[1.5, 1, 2], [2, 4, 0]]
    assert returns_to_go(r_t, 0.0).tolist() == r_t.tolist()


def test_gae_by_hand():
    """r 1, 0, 2 and v 1, 2, 1, discount 1/2: errors 1 + 1 - 1, 0 + .5 - 2, 2 + 0 - 1.

    Their weights fall by 1/4 per step.
    """
    r_t, v_t = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([1.0, 2.0, 1.0])
    assert gae(r_t, v_t, discount=0.5, gae_lambda=0.5).tolist() == [
        1 - 0.25 * 1.25,
        -1.5 + 0.25,
        1.0,
    ]


def test_lambda_zero_is_the_one_step_error():
    r_t, v_t = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[1.0, 2.0, 1.0]])
    assert gae(r_t, v_t, discount=0.5, gae_lambda=0.0).tolist() == [[1, -1.5, 1]]


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.0])
def test_lambda_one_is_the_return_minus_the_value(discount):
    r_t, v_t = random(5, 4, 7), random(5, 4, 7, seed=1)
    torch.testing.assert_close(
        gae(r_t, v_t, discount=discount, gae_lambda=1.0), returns_to_go(r_t, discount) - v_t
    )


@pytest.mark.parametrize("gae_lambda", [0.0, 0.3, 0.95, 1.0])
def test_the_true_values_leave_nothing_to_learn(gae_lambda):
    """Reward 1 per step for 4 steps, discount .9: values 3.439, 2.71, 1.9, 1."""
    v_t = torch.tensor([3.439, 2.71, 1.9, 1.0], dtype=torch.float64)
    advantages = gae(torch.ones(4, dtype=torch.float64), v_t, discount=0.9, gae_lambda=gae_lambda)
    torch.testing.assert_close(advantages, torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
def test_a_value_known_to_the_critic_is_not_credited_again(gae_lambda):
    """Only the last action matters, and the critic knows the mean: it alone is credited, ±1/2."""
    r_t, v_t = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), torch.full((2, 3), 0.5)
    advantages = gae(r_t, v_t, discount=1.0, gae_lambda=gae_lambda)
    assert advantages[:, 2].tolist() == [0.5, -0.5]
    assert advantages[:, 0].tolist() == [0.5 * gae_lambda**2, -0.5 * gae_lambda**2]


def test_group_baseline_by_hand():
    """Three lists earn 3, 0, 0 at the second step; the others of the first earn 0 and 0."""
    r_t = torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, 0.0]])
    # returns [4, 3], [0, 0], [2, 0]; means of the others [1, 0], [3, 1.5], [2, 1.5]
    torch.testing.assert_close(
        group_advantages(r_t), torch.tensor([[3.0, 3.0], [-3.0, -1.5], [0.0, -1.5]])
    )
    # discount 1/2: returns [2.5, 3], [0, 0], [2, 0]; means of the others [1, 0], [2.25, 1.5],
    # [1.25, 1.5]
    expected = torch.tensor([[1.5, 3.0], [-2.25, -1.5], [0.75, -1.5]])
    torch.testing.assert_close(group_advantages(r_t, 0.5), expected)


@pytest.mark.parametrize("size", [2, 5])
def test_group_baseline_leaves_the_list_itself_out(size):
    r_t = random(3, size, 4)
    returns = returns_to_go(r_t, 0.8)
    for g in range(size):
        others = [j for j in range(size) if j != g]
        expected = returns[:, g] - sum(returns[:, j] for j in others) / len(others)
        torch.testing.assert_close(group_advantages(r_t, 0.8)[:, g], expected)


def test_group_advantages_sum_to_zero_in_each_group():
    advantages = group_advantages(random(6, 8, 10))
    torch.testing.assert_close(
        advantages.sum(dim=1), torch.zeros(6, 10, dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert advantages.abs().min() > 0


def test_equal_lists_are_worth_exactly_nothing():
    """The rounding error of their mean must not be scaled up to advantages of size 1."""
    for size in (3, 5, 7):
        assert not group_advantages(torch.full((2, size, 10), 0.7)).any()


def test_a_single_list_has_no_group():
    with pytest.raises(
        ValueError, match="at least 2 lists per history: raise group_size, or use the critic"
    ):
        group_advantages(torch.ones(3, 1, 4))


def test_scale_by_std_by_hand():
    # mean square about the mean 0: (9 + 1 + 1 + 9) / 4 = 5
    torch.testing.assert_close(
        scale_by_std(torch.tensor([3.0, 1.0, -1.0, -3.0])),
        torch.tensor([3.0, 1.0, -1.0, -3.0]) / 5**0.5,
    )
    # the mean stays: sign and order are kept
    assert scale_by_std(torch.tensor([3.0, 1.0])).tolist() == [3, 1]
    assert scale_by_std(torch.zeros(3)).tolist() == [0, 0, 0]
