import pytest
import torch

from genrec.training.schedule import linear_decay, set_learning_rate, warmup_linear_decay


def test_linear_decay_ends_at_five_percent():
    assert linear_decay(0.2, 0, last=4) == 0.2
    assert linear_decay(0.2, 2, last=4) == pytest.approx(0.2 * 0.525)
    assert linear_decay(0.2, 4, last=4) == pytest.approx(0.01)
    assert linear_decay(0.2, 0.5, last=1) == pytest.approx(0.2 * 0.525)


def test_a_training_of_one_step_keeps_its_learning_rate():
    assert linear_decay(0.2, 0, last=0) == 0.2


def test_linear_decay_rounds_as_it_always_did():
    """Trained weights are reproducible to the last bit, so the order of operations counts."""
    for last in range(1, 60):
        for step in range(last + 1):
            assert linear_decay(5e-4, step, last=last) == 5e-4 * (1 - 0.95 * step / last)
            share = step / last
            assert linear_decay(5e-4, share, last=1) == 5e-4 * (1 - 0.95 * share)


def test_warmup_rises_to_the_peak_and_falls_to_zero():
    rates = [
        warmup_linear_decay(2.0, step, steps=1000, warmup_steps=100) for step in (1, 50, 100, 1000)
    ]
    assert rates == pytest.approx([0.02, 1.0 * (1 - 0.049), 2.0 * (1 - 0.099), 2.0 / 1000])


def test_a_training_shorter_than_the_warmup_never_reaches_the_peak():
    rates = [warmup_linear_decay(1.0, t, steps=10, warmup_steps=100) for t in range(1, 11)]
    assert max(rates) < 0.04


def test_all_parameter_groups_get_the_learning_rate():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 1.0} for weight in weights])
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
