import pytest
import torch
from torch import nn

from genrec.training.early_stopping import EarlyStopping


def module(value: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


@pytest.mark.parametrize(
    ("mode", "values", "best", "since_best"),
    [
        ("max", [0.1, 0.5, 0.5, 0.2], 1, 2),  # an equal value is no improvement
        ("max", [-3.0, -2.0], 1, 0),
        ("min", [5.0, 4.0, 1.0, 3.0, 1.0], 2, 2),
        ("min", [0.0, -1.0], 1, 0),
    ],
)
def test_the_best_value_and_its_weights_are_kept(mode, values, best, since_best):
    stopping = EarlyStopping("value", mode)
    trained = module(0.0)
    improved = []
    for epoch, value in enumerate(values):
        nn.init.constant_(trained.weight, float(epoch))
        improved.append(stopping.step({"value": value, "epoch": epoch}, trained))
    assert improved[best]
    assert not any(improved[best + 1 :])
    assert stopping.best == {"value": values[best], "epoch": best}
    assert stopping.best_value == values[best]
    assert (stopping.validations, stopping.since_best) == (len(values), since_best)
    trained.train()
    assert stopping.restore_best(trained) == stopping.best
    assert trained.weight.item() == best
    assert not trained.training


def test_patience_counts_validations_without_an_improvement():
    stopping = EarlyStopping("ndcg", "max", patience=2)
    stopped = []
    for value in (0.1, 0.05, 0.2, 0.1, 0.1):
        stopping.step({"ndcg": value}, module(0.0))
        stopped.append(stopping.should_stop)
    assert stopped == [False, False, False, False, True]


def test_validations_that_do_not_count_use_no_patience_but_may_be_the_best():
    stopping = EarlyStopping("ndcg", "max", patience=1)
    for value in (0.1, 0.05, 0.04):
        stopping.step({"ndcg": value}, module(value), counts=False)
    assert not stopping.should_stop
    assert stopping.best_value == 0.1
    stopping.step({"ndcg": 0.05}, module(0.0))
    assert stopping.should_stop


def test_without_a_patience_a_training_never_stops():
    stopping = EarlyStopping("ndcg", "max")
    for _ in range(100):
        stopping.step({"ndcg": 0.5}, module(0.0))
    assert stopping.since_best == 99
    assert not stopping.should_stop


def test_before_the_first_validation():
    stopping = EarlyStopping("loss", "min", patience=1)
    assert not stopping.should_stop
    assert stopping.best_value == 0.0


def test_the_state_can_be_saved_and_restored():
    stopping = EarlyStopping("ndcg", "max", patience=2)
    for value in (0.5, 0.4):
        stopping.step({"ndcg": value}, module(value))
    state = stopping.state()
    assert state == {"best": {"ndcg": 0.5}, "validations": 2, "since_best": 1}
    again = EarlyStopping("ndcg", "max", patience=2)
    again.load_state(state, {"weight": torch.tensor([[7.0]])})
    again.step({"ndcg": 0.4}, module(0.0))
    assert again.should_stop
    restored = module(0.0)
    assert again.restore_best(restored) == {"ndcg": 0.5}
    assert restored.weight.item() == 7
    assert state["since_best"] == 1
