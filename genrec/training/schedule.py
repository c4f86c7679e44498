"""Learning-rate schedules."""

import torch

DROP = 0.95  # share of the learning rate that a linear decay has taken away at the last step


def linear_decay(learning_rate: float, step: float, *, last: float) -> float:
    """Learning rate that falls linearly to 5 %: lr_u = lr·(1 − 0.95·u/u_last).

    Args:
        learning_rate: lr, of step 0.
        step: u, from 0 to ``last``; a fraction where a training counts in shares of itself.
        last: u_last, the last step; a training of one step (``last`` 0) keeps its learning rate.

    >>> [linear_decay(1.0, step, last=2) for step in (0, 1, 2)]
    [1.0, 0.525, 0.050000000000000044]
    """
    return learning_rate * (1 - DROP * step / max(1, last))


def warmup_linear_decay(learning_rate: float, step: int, *, steps: int, warmup_steps: int) -> float:
    """Learning rate that rises linearly, then falls linearly to 0 after the last step.

    lr_t = lr · min(1, t/W) · (1 − (t − 1)/n)

    Args:
        learning_rate: lr.
        step: t, from 1 to n.
        steps: n, of the whole training.
        warmup_steps: W, of the rise.

    >>> [warmup_linear_decay(1.0, step, steps=4, warmup_steps=2) for step in (1, 2, 3, 4)]
    [0.5, 0.75, 0.5, 0.25]
    """
    return learning_rate * min(1.0, step / warmup_steps) * (1 - (step - 1) / steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
