"""GRPO with TRL: its probabilities, advantages and steps against ours and against the formula
written out."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trl.trainer.base_trainer

from genrec.agents.config import GRPOConfig
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.rollout import collect
from genrec.agents.trainer import PolicyValidation, policy_checkpointer
from genrec.agents.trl.trainer import CheckpointCallback, grpo, train
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, RewardError, WeightedSum
from genrec.training.device import autocast
from genrec.training.interruption import Interrupted, Interruption
from genrec.training.logger import RunLogger

V, K, T, WANTED, SEP = 9, 3, 3, 7, 10
# the last history is longer than what the policy reads: item 8 lies before its window
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [8, 1, 2, 3]])
Gains = Callable[[np.ndarray, object], np.ndarray]
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing` is deprecated"),
]


@pytest.fixture(autouse=True)
def _nothing_leaves_the_machine(monkeypatch):
    def send(**_: object) -> None:
        raise AssertionError("telemetry")

    monkeypatch.delenv("CI", raising=False)  # where TRL sends nothing anyway
    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", send)


def config(**changes: object) -> GRPOConfig:
    small = {
        "updates": 6,
        "histories": 6,
        "group_size": 4,
        "evaluate_every": 2,
        "learning_rate": 0.01,
        "bf16": False,
    }
    return GRPOConfig.model_validate(small | changes)


def tiny(seed: int = 0) -> GPTRec:
    torch.manual_seed(seed)
    return GPTRec(
        V, hidden_size=16, blocks=1, heads=2, max_length=T, max_slate=K, dropout=0.5
    ).eval()


def wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) / (1.0 + np.arange(slates.shape[1]))


def even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / K


def environment(*terms: tuple[Gains, float], group_size: int = 4) -> ListGenerationVectorEnv:
    catalogue = make_catalogue([str(i) for i in range(1, V + 1)])
    reward = WeightedSum(
        tuple((FunctionReward(gains, gains.__name__), weight) for gains, weight in terms)
    )
    task = ListTask(
        HISTORIES,
        np.zeros(len(HISTORIES), np.int64),
        catalogue,
        reward=reward,
        k=K,
        max_length=T,
    )
    return ListGenerationVectorEnv(task, num_envs=6 * group_size, group_size=group_size)


def objective(policy: GPTRec) -> dict[str, float]:
    return {
        "objective": float(wanted(NextK(policy).recommend(HISTORIES, K), None).sum(axis=1).mean())
    }


def weights_of(policy: GPTRec) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def rising() -> Callable[[GPTRec], dict[str, float]]:
    """A validation that always prefers the newest weights."""
    count = iter(range(100))
    return lambda _: {"objective": float(next(count))}


def trainer_of(policy: GPTRec, output: Path, **changes: object):
    validation = PolicyValidation(
        policy,
        policy_checkpointer(None, policy, torch.optim.AdamW(policy.parameters())),
        validate=objective,
        config=config(**changes),
        log=RunLogger(None, "align", quiet=True),
        interruption=Interruption(),
    )
    return grpo(
        CheckpointCallback(validation, config(**changes)),
        environment((wanted, 1.0), (even, 0.5)),
        config=config(**changes),
        reference=None,
        k=K,
        seed=3,
        output=str(output),
    )


@pytest.mark.parametrize("bf16", [False, True])
def test_log_probabilities_that_trl_computes_are_those_of_gptrec(tmp_path, bf16):
    """For lists of our sampler over whole histories, from the trainer's own batch."""
    policy = tiny()
    trainer = trainer_of(policy, tmp_path, bf16=bf16)
    trainer.model.train()
    with torch.random.fork_rng():
        batch = trainer._generate_and_score_completions([{"prompt": ""} for _ in range(24)])
    histories = [row[row > 0][:-1].numpy() for row in batch["prompt_ids"]]
    assert {tuple(history) for history in histories} == {tuple(row) for row in HISTORIES}
    assert (batch["prompt_ids"][:, -1] == SEP).all()
    with autocast(policy.device, bf16):
        expected = policy.logp(Sequences.from_lists(histories), batch["completion_ids"][:, None])[
            :, 0
        ]
    torch.testing.assert_close(
        batch["old_per_token_logps"], expected.detach(), rtol=0, atol=0.02 if bf16 else 1e-4
    )
    if not bf16:
        torch.testing.assert_close(
            batch["sampling_per_token_logps"], expected.detach(), rtol=0, atol=1e-4
        )


def test_lists_are_those_that_our_ppo_would_write_and_their_terms_are_paid(tmp_path):
    policy = tiny()
    trainer = trainer_of(policy, tmp_path)
    with torch.random.fork_rng():
        found = trainer.rollout_func([""] * 24, trainer)
    env = environment((wanted, 1.0), (even, 0.5))
    rollout = collect(
        policy,
        env,
        K,
        generator=torch.Generator().manual_seed(3 * 1_000_003),
        seed=3 * 1_000_003,
        progress=0.0,
    )
    slates = rollout.slates.flatten(0, 1)
    assert found["completion_ids"] == slates.tolist()
    assert found["prompt_ids"] == [[*rollout.histories[i // 4].tolist(), SEP] for i in range(24)]
    paid = [function(**found) for function in trainer.reward_funcs]
    assert trainer.reward_func_names == ["wanted", "even"]
    assert paid[0] == pytest.approx(
        [sum((1, 1 / 2, 1 / 3)[i] for i in range(K) if row[i] == WANTED) for row in slates]
    )
    assert paid[1] == pytest.approx([sum(1 / 3 for item in row if item % 2 == 0) for row in slates])
    total = trainer.reward_weights @ torch.tensor(paid)
    torch.testing.assert_close(total, rollout.r_t.sum(dim=2).flatten(), rtol=0, atol=1e-6)


def reference(policy: GPTRec, student: GPTRec, kl_coef: float, entropy_coef: float) -> list[float]:
    """Two steps of GRPO on the lists of update 0, written out.

    Returns:
        The share of clipped ratios in each step.
    """
    env = environment((wanted, 1.0), (even, 0.5))
    rollout = collect(
        policy,
        env,
        K,
        generator=torch.Generator().manual_seed(3 * 1_000_003),
        seed=3 * 1_000_003,
        progress=0.0,
    )
    histories, slates = rollout.histories, rollout.slates
    returns = rollout.r_t.sum(dim=2)
    centred = returns - returns.mean(dim=1, keepdim=True)
    std = (centred.square().sum(dim=1, keepdim=True) / 3).sqrt()
    advantages = (centred / (std + 1e-4))[..., None]
    old, ref = policy.logp(histories, slates).detach(), student.logp(histories, slates).detach()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.02, weight_decay=0.0)
    clipped = []
    for _ in range(2):
        p = policy.log_distribution(histories, slates).clamp(min=-1e9)
        logp = p.gather(3, slates[..., None]).squeeze(3)
        ratio = (logp - old).exp()
        gain = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages)
        kl = (ref - logp).exp() - (ref - logp) - 1
        loss = kl_coef * kl.mean() - gain.mean() + entropy_coef * (p.exp() * p).sum(dim=3).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        clipped.append(float(((ratio - 1).abs() > 0.1).float().mean()))
    return clipped


@pytest.mark.parametrize(("kl", "entropy"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3)])
def test_an_update_moves_the_policy_as_the_formula_says(kl, entropy):
    small = {"updates": 1, "epochs": 2, "minibatches": 1, "learning_rate": 0.02, "clip": 0.1}
    policy, expected = tiny(), tiny()
    env = environment((wanted, 1.0), (even, 0.5))
    train(
        policy,
        env,
        validate=rising(),
        config=config(kl=kl, entropy=entropy, **small),
        k=K,
        seed=3,
        quiet=True,
    )
    clipped = reference(expected, tiny(), kl, entropy)
    assert clipped[0] == 0
    assert 0.1 < clipped[1] < 0.9
    lists = torch.tensor([[[4, 5, 6], [7, 9, 4]]]).expand(6, 2, K)
    found, wanted_, before = (
        each.logp(HISTORIES, lists).detach() for each in (policy, expected, tiny())
    )
    torch.testing.assert_close(found, wanted_, rtol=0, atol=1e-4)
    assert float((found - before).abs().max()) > 0.2


def test_learns_what_is_paid_and_logs_every_term(tmp_path):
    policy = tiny()
    before = objective(policy)["objective"]
    chosen = config(updates=15, evaluate_every=5, group_size=8, kl=1e-4)
    env = environment((wanted, 1.0), (even, 0.1), group_size=8)
    found = train(
        policy, env, validate=objective, config=chosen, k=K, seed=0, directory=tmp_path, quiet=True
    )
    assert found["objective"] > max(0.9, before + 0.3)
    assert objective(policy)["objective"] == found["objective"]
    assert not policy.training
    assert policy.lm.transformer.drop.p == 0.5
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/objective" in line] == [0, 5, 10, 15]
    updates = [line for line in lines if "reward" in line]
    assert [line["step"] for line in updates] == list(range(1, 16))
    for line in updates:
        assert line["reward"] == pytest.approx(line["wanted"] + 0.1 * line["even"], abs=1e-5)
        assert {"entropy", "clip_fraction", "trl/grad_norm"} <= set(line)
    # the student is the policy of the beginning, not of the last update
    assert updates[-1]["ref_kl"] > 10 * updates[0]["ref_kl"] > 0
    rates = [line["trl/learning_rate"] for line in updates]
    assert (rates[0], rates[-1]) == (pytest.approx(0.01), pytest.approx(0.0005))
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors",
        "metrics.jsonl",
        "tensorboard",
    }


def test_the_best_validated_weights_are_kept():
    seen, script = [], iter([0.1, 0.9, 0.3])

    def scripted(policy: GPTRec) -> dict[str, float]:
        seen.append(weights_of(policy))
        return {"objective": next(script), "other": float(len(seen))}

    policy = tiny()
    found = train(
        policy,
        environment((even, 1.0)),
        validate=scripted,
        config=config(updates=4),
        k=K,
        quiet=True,
    )
    assert found == {"update": 2, "objective": 0.9, "other": 2}
    assert same(weights_of(policy), seen[1])
    assert not same(seen[0], seen[1])
    assert not same(seen[1], seen[2])


def finished(
    directory: Path | None, after: Callable[[int], None] = lambda _: None, noise: int = 0
) -> GPTRec:
    """A training from a fresh student; ``after`` is called with the number of each validation."""
    policy, calls = tiny(), iter(range(1, 100))
    torch.manual_seed(noise)  # what the process did before must not matter

    def validate(policy: GPTRec) -> dict[str, float]:
        after(next(calls))
        return {
            "objective": float(
                policy.logp(HISTORIES, torch.full((6, 1, 1), WANTED)).detach().exp().mean()
            )
        }

    train(
        policy,
        environment((wanted, 1.0)),
        validate=validate,
        config=config(kl=0.1),
        k=K,
        seed=3,
        directory=directory,
        quiet=True,
    )
    return policy


def test_ctrl_c_and_the_same_again_is_as_if_nothing_had_happened(tmp_path):
    whole = finished(None)
    state = torch.random.get_rng_state()
    assert torch.equal(state, torch.manual_seed(0).get_state())  # a training leaves it as it was
    with pytest.raises(
        Interrupted, match="stopped before update 5; the same command resumes from there"
    ):
        finished(
            tmp_path,
            lambda call: os.kill(os.getpid(), signal.SIGINT) if call == 3 else None,
            noise=1,
        )
    calls: list[int] = []
    resumed = finished(tmp_path, calls.append, noise=2)
    assert calls == [1]  # after update 6; that after update 4 was saved
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "reward" in row] == [1, 2, 3, 4, 5, 6]
    assert same(weights_of(resumed), weights_of(whole))
    assert not same(weights_of(resumed), weights_of(tiny()))


def test_a_reward_that_breaks_stops_the_training_and_spares_the_checkpoint(tmp_path):
    calls = iter(range(1000))

    def fickle(slates: np.ndarray, context: object) -> np.ndarray:
        """Breaks in the second step of update 4."""
        return np.full(slates.shape, np.nan) if next(calls) == 3 * K + 1 else even(slates, context)

    with pytest.raises(RewardError, match=r"update 4: .*'fickle'"):
        train(
            tiny(),
            environment((fickle, 1.0)),
            validate=objective,
            config=config(),
            k=K,
            seed=0,
            directory=tmp_path,
            quiet=True,
        )
    optimizer = torch.optim.AdamW(tiny().parameters())
    assert policy_checkpointer(tmp_path, tiny(), optimizer).restore()["update"] == 2


def test_a_gradient_that_is_no_number_says_what_to_do():
    policy = tiny()
    policy.lm.transformer.ln_f.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(
        FloatingPointError, match="a gradient is not finite in update 1: lower the learning rate"
    ):
        train(
            policy, environment((even, 1.0)), validate=objective, config=config(), k=K, quiet=True
        )
    assert all(value.isfinite().all() for value in policy.state_dict().values())
