"""Returns and advantages: pure functions of rewards and values, whose last axis is position t."""

import torch

from genrec.config.errors import GenrecError


def returns_to_go(r_t: torch.Tensor, discount: float = 1.0) -> torch.Tensor:
    """Discounted sum of the rewards from each position on, R_t = Σ_{s ≥ t} γ^{s−t} r_s.

    Args:
        r_t: (..., K) rewards.
        discount: γ.

    Returns:
        (..., K).

    >>> returns_to_go(torch.tensor([1.0, 2.0, 4.0]), discount=0.5).tolist()
    [3.0, 4.0, 4.0]
    """
    total = torch.zeros_like(r_t[..., 0])
    returns = torch.empty_like(r_t)
    for t in reversed(range(r_t.shape[-1])):
        total = r_t[..., t] + discount * total
        returns[..., t] = total
    return returns


def gae(
    r_t: torch.Tensor, v_t: torch.Tensor, *, discount: float, gae_lambda: float
) -> torch.Tensor:
    """Generalised advantage estimates [Schulman et al. 2015, eq. 16].

    A_t = Σ_{s ≥ t} (γλ)^{s−t} δ_s, with δ_t = r_t + γ·v_{t+1} − v_t. A list ends after its last
    position, where the value is 0.

    Args:
        r_t: (..., K) rewards.
        v_t: (..., K) values of the states before each action.
        discount: γ.
        gae_lambda: λ; 1 gives returns minus values, 0 the one-step temporal-difference error.

    Returns:
        (..., K).

    >>> r, v = torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.25])
    >>> gae(r, v, discount=1.0, gae_lambda=0.5).tolist()  # deltas 0.75 and 0.75; 0.75 + 0.5 * 0.75
    [1.125, 0.75]
    """
    v_next = torch.cat([v_t[..., 1:], torch.zeros_like(v_t[..., :1])], dim=-1)
    return returns_to_go(r_t + discount * v_next - v_t, discount * gae_lambda)


def group_advantages(r_t: torch.Tensor, discount: float = 1.0) -> torch.Tensor:
    """Return of a list from t on, minus the mean of the other lists of its group.

    The other lists of the same history were drawn independently, so their mean is a baseline that
    adds no bias: the leave-one-out baseline of REINFORCE [Ahmadian et al. 2024], position by
    position.

    Args:
        r_t: (..., G, K) rewards of G lists per history, G >= 2.
        discount: γ.

    Returns:
        (..., G, K).

    Raises:
        GenrecError: for groups of a single list.

    # returns [1, 0] and [0.5, 0.5]
    >>> group_advantages(torch.tensor([[1.0, 0.0], [0.0, 0.5]])).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    lists = r_t.shape[-2]
    if lists < 2:
        raise GenrecError(
            "the group baseline needs at least 2 lists per history: raise group_size, or use the"
            " critic"
        )
    returns = returns_to_go(r_t, discount)
    # Equal returns become exactly 0: a rounding error of the mean would be scaled up to 1 when
    # advantages are divided by their standard deviation.
    returns = returns - returns[..., :1, :]
    # R − mean of the others = (R − mean of all)·G/(G − 1).
    return (returns - returns.mean(dim=-2, keepdim=True)) * (lists / (lists - 1))


def scale_by_std(advantages: torch.Tensor) -> torch.Tensor:
    """Advantages divided by their standard deviation over the batch; signs stay the same.

    >>> scale_by_std(torch.tensor([2.0, -2.0])).tolist()
    [1.0, -1.0]
    """
    return advantages / advantages.std(correction=0).clamp(min=1e-8)
