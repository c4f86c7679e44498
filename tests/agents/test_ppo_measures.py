"""How far PPO lets the policy go from the student, and what it logs of its updates."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents import ppo
from genrec.agents.actor_critic import ActorCritic
from genrec.agents.advantages import gae
from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.ppo import adapt_kl_coefficient, distinct_share, loss_and_metrics, train
from genrec.agents.rollout import collect
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, WeightedSum

V, K, WANTED = 8, 3, 5
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [1, 2, 3]])


def config(**changes: object) -> PPOConfig:
    small = {
        "updates": 20,
        "histories": 6,
        "group_size": 4,
        "evaluate_every": 5,
        "learning_rate": 0.01,
    }
    return PPOConfig.model_validate(small | changes)


def tiny(seed: int = 0) -> GPTRec:
    torch.manual_seed(seed)
    return GPTRec(
        V, hidden_size=16, blocks=1, heads=2, max_length=3, max_slate=K, dropout=0.1
    ).eval()


def first_is_wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) * (np.arange(slates.shape[1]) == 0)


def share_of_even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / K


def environment(gains: Callable[[np.ndarray, object], np.ndarray]) -> ListGenerationVectorEnv:
    catalogue = make_catalogue([str(i) for i in range(1, V + 1)])
    reward = WeightedSum(((FunctionReward(gains, gains.__name__), 1.0),))
    task = ListTask(
        HISTORIES,
        np.zeros(len(HISTORIES), np.int64),
        catalogue,
        reward=reward,
        k=K,
        max_length=3,
    )
    return ListGenerationVectorEnv(task, num_envs=24, group_size=4)


def objective(
    gains: Callable[[np.ndarray, object], np.ndarray],
) -> Callable[[GPTRec], dict[str, float]]:
    return lambda policy: {
        "objective": float(gains(NextK(policy).recommend(HISTORIES, K), None).sum(axis=1).mean())
    }


@pytest.mark.parametrize(
    ("coefficient", "kl", "target", "after"),
    [
        (0.5, 0.05, 0.05, 0.5),  # there
        (0.5, 0.055, 0.05, 0.505),  # 10 % too far: 1 % more
        (2.0, 0.09, 0.1, 1.98),  # 10 % too near: 1 % less
        (0.5, 5.0, 0.05, 0.51),  # far too far: 2 % more, no faster
        (0.5, 0.0, 0.05, 0.49),  # not moved at all: 2 % less
    ],
)
def test_the_controller_by_hand(coefficient, kl, target, after):
    assert adapt_kl_coefficient(coefficient, kl, target) == pytest.approx(after, rel=1e-9)


def test_distinct_lists_by_hand():
    # two, one and three different lists of three; the second group writes what the first one wrote
    a, b, c = [1, 2], [2, 1], [3, 1]
    assert distinct_share(torch.tensor([[a, b, a], [a, a, a], [c, a, b]])) == pytest.approx(6 / 9)
    assert distinct_share(torch.tensor([[a], [a]])) == 1


def distance(policy: GPTRec, student: GPTRec) -> float:
    """KL of the first choice, exact."""
    slates = torch.ones((len(HISTORIES), 1, 1), dtype=torch.long)
    with torch.no_grad():
        p, q = (
            each.log_distribution(HISTORIES, slates)[:, 0, 0].clamp(min=-1e9)
            for each in (policy, student)
        )
    return float((p.exp() * (p - q)).sum(dim=1).mean())


def test_a_kl_penalty_keeps_the_policy_near_the_student():
    found = {}
    for kl in (0.0, 3.0):
        policy, count = tiny(), iter(range(100))
        chosen = config(updates=20, kl=kl)
        env = environment(first_is_wanted)
        train(
            policy,
            env,
            validate=lambda _, c=count: {"objective": float(next(c))},
            config=chosen,
            k=K,
            quiet=True,
        )
        found[kl] = distance(policy, tiny())
    assert found[0.0] > 0.3
    assert 0 < found[3.0] < found[0.0] / 3


def logged(directory: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_the_penalty_is_adapted_to_its_target(tmp_path, monkeypatch):
    """The first item is paid so well that the policy wants to leave; the controller is made 10
    times as fast."""
    monkeypatch.setattr(ppo, "GAIN", 1.0)
    found, coefficients = {}, {}
    for target in (0.02, 0.2):
        chosen = config(updates=25, evaluate_every=25, kl=0.3, kl_target=target)
        directory = tmp_path / str(target)
        policy, count = tiny(), iter(range(100))
        env = environment(first_is_wanted)
        train(
            policy,
            env,
            validate=lambda _, c=count: {"objective": float(next(c))},
            config=chosen,
            k=K,
            seed=0,
            directory=directory,
            quiet=True,
        )
        found[target], coefficients[target] = (
            np.mean(logged(directory, "ref_kl")[-8:]),
            logged(directory, "kl_coef"),
        )
        assert target / 3 < found[target] < target * 3
        assert coefficients[target][0] == 0.3
    assert found[0.02] < found[0.2] / 3
    assert coefficients[0.02][-1] > coefficients[0.2][-1] > 0.3


def test_logged_metrics_are_means_over_the_steps_of_an_update(tmp_path, monkeypatch):
    steps = []

    def recorded(*arguments):
        loss, metrics = loss_and_metrics(*arguments)
        steps.append(metrics)
        return loss, metrics

    monkeypatch.setattr(ppo, "loss_and_metrics", recorded)
    chosen = config(updates=1, epochs=2, minibatches=2, baseline="critic", kl=0.1, kl_target=10.0)
    train(
        tiny(),
        environment(share_of_even),
        validate=objective(share_of_even),
        config=chosen,
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    assert len(steps) == 4
    for name in ("clip_fraction", "approx_kl", "ref_kl", "explained_variance"):
        mean = (steps[0][name] + steps[1][name] + steps[2][name] + steps[3][name]) / 4
        assert logged(tmp_path, name) == [pytest.approx(mean, rel=1e-6)]
        assert mean != pytest.approx(steps[3][name], rel=1e-3)
    assert logged(tmp_path, "kl_coef") == [0.1]


def test_the_gradient_norm_is_the_policys_before_it_is_clipped(tmp_path):
    chosen = config(updates=1, epochs=1, minibatches=1, baseline="critic", entropy=50.0, bf16=False)
    train(
        tiny(),
        environment(share_of_even),
        validate=objective(share_of_even),
        config=chosen,
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    policy = tiny()
    rollout = collect(
        policy,
        environment(share_of_even),
        K,
        generator=torch.Generator().manual_seed(0),
        seed=0,
        progress=0.0,
    )
    states = policy.slate_states(prefix := policy.encode(rollout.histories), rollout.slates)
    logp, entropy, _ = policy.evaluate_items(
        prefix, states, rollout.slates, items=rollout.slates[..., None], with_entropy=True
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        values = ActorCritic(policy).critic(states).detach()
    advantages = gae(rollout.r_t, values, discount=1.0, gae_lambda=0.95)
    advantages = advantages / advantages.std(correction=0)
    (
        -(advantages * logp.squeeze(3)).mean() - 50 * entropy.mean()
    ).backward()  # the policy gradient, at ratio 1
    norm = (
        sum(float(p.grad.square().sum()) for p in policy.parameters() if p.grad is not None) ** 0.5
    )
    assert norm > 1.5
    assert logged(tmp_path, "grad_norm") == [pytest.approx(norm, rel=1e-4)]


def test_a_collapsed_policy_shows_in_distinct_lists(tmp_path):
    policy = tiny()
    policy.apply_temperature(1e-4)  # its samples are its greedy lists
    train(
        policy,
        environment(share_of_even),
        validate=objective(share_of_even),
        config=config(updates=2),
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    assert logged(tmp_path, "distinct_lists")[0] == 0.25  # one of four
