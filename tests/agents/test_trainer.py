"""The interface of the trainers, and their validation with checkpoints."""

import inspect
import json
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.trainer import PolicyValidation, Trainer, policy_checkpointer, update_seed
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted, Interruption
from genrec.training.logger import RunLogger


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("genrec.agents.ppo", None),
        ("genrec.agents.sb3.trainer", "sb3_contrib"),
        ("genrec.agents.trl.trainer", "trl"),
    ],
)
def test_every_agent_is_called_in_the_same_way(module: str, library: str | None):
    if library is not None:
        pytest.importorskip(library, reason="the agent's library is not installed")
    expected = inspect.signature(Trainer.__call__).parameters
    found = inspect.signature(import_module(module).train).parameters
    assert list(found) == [name for name in expected if name != "self"]
    for name, parameter in found.items():
        assert parameter.default == expected[name].default, name
        assert parameter.kind == expected[name].kind, name


def tiny() -> GPTRec:
    torch.manual_seed(0)
    return GPTRec(5, hidden_size=8, blocks=1, heads=1, max_length=3, max_slate=2, dropout=0.0)


def validation_of(
    policy: GPTRec,
    directory: Path | None,
    objective: Callable[[], float],
    interruption: Interruption,
) -> PolicyValidation:
    optimizer = torch.optim.AdamW(policy.parameters())
    return PolicyValidation(
        policy,
        policy_checkpointer(directory, policy, optimizer),
        validate=lambda _: {"objective": objective(), "ndcg@2": 0.5},
        config=PPOConfig(updates=5, evaluate_every=2),
        log=RunLogger(directory, "align", quiet=True),
        interruption=interruption,
        extra={"kl_coef": 0.1},
    )


def test_it_validates_at_intervals_and_at_the_end_and_keeps_the_best(tmp_path: Path):
    policy, values = tiny(), iter([0.1, 0.4, 0.4, 0.3])
    validation = validation_of(policy, tmp_path, lambda: next(values), Interruption())
    weight = policy.lm.transformer.ln_f.weight
    for update in range(6):
        torch.nn.init.constant_(weight, float(update))
        validation.step(update)
    validation.log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["val/objective"]) for line in lines] == [
        (0, 0.1),
        (2, 0.4),
        (4, 0.4),
        (5, 0.3),
    ]
    assert {line["val/ndcg@2"] for line in lines} == {0.5}
    assert validation.restore_best() == {"update": 2, "objective": 0.4, "ndcg@2": 0.5}
    assert weight.tolist() == [2.0] * 8


def test_weights_whose_lists_share_their_tails_are_not_kept(caplog):
    """The objective rises with every validation, but so does the concentration of the tails."""
    policy, update = tiny(), 0
    found = {0: (0.1, 0.9), 2: (0.2, 0.3), 4: (0.3, 0.31), 5: (0.4, 0.95)}
    validation = validation_of(policy, None, lambda: 0.0, Interruption())

    def measured(_: GPTRec) -> dict[str, float]:
        objective, concentration = found[update]
        return {
            "objective": objective,
            "tail_concentration": concentration,
            "tail_limit": 0.3,
        }

    validation.validate = measured
    weight = policy.lm.transformer.ln_f.weight
    for update in range(6):
        torch.nn.init.constant_(weight, float(update))
        validation.step(update)
    validation.log.close()
    # Update 2 is at the limit, 4 and 5 are above it; 0 was a candidate in spite of its tails.
    assert validation.restore_best()["update"] == 2
    assert weight.tolist() == [2.0] * 8
    assert not caplog.records


def test_the_start_is_kept_with_a_warning_where_all_other_tails_are_shared(caplog):
    policy, values = tiny(), iter([0.1, 0.2, 0.3, 0.4])
    validation = validation_of(policy, None, lambda: 0.0, Interruption())
    tails = {"tail_concentration": 0.9, "tail_limit": 0.3}
    validation.validate = lambda _: {"objective": next(values), **tails}
    for update in range(6):
        validation.step(update)
    validation.log.close()
    assert validation.restore_best()["update"] == 0
    (record,) = caplog.records
    assert "tail_concentration above 0.300" in record.getMessage()
    assert "Raise align.kl" in record.getMessage()


def test_an_interrupted_training_is_saved_and_resumed(tmp_path: Path):
    policy, stop = tiny(), Interruption()
    validation = validation_of(policy, tmp_path, lambda: 0.1, stop)
    validation.step(0)
    validation.extra["kl_coef"] = 0.2
    stop.number = signal.SIGTERM
    with pytest.raises(
        Interrupted, match="stopped before update 2; the same command resumes from there"
    ):
        validation.step(1)
    assert (tmp_path / CHECKPOINT).exists()
    validation.log.close()
    again = validation_of(tiny(), tmp_path, lambda: 0.1, Interruption())
    assert (again.update, again.extra) == (1, {"kl_coef": 0.2})
    # An interruption adds no validation: it must not change which weights are the best.
    assert again.checkpointer.stopping.best["update"] == 0
    again.log.close()


def test_seeds_of_updates_do_not_overlap():
    assert update_seed(0, 0) == 0
    assert update_seed(3, 7) == 3_000_016
    assert update_seed(0, 400_000) < update_seed(1, 0)
