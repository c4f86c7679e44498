"""PPO that is interrupted or broken by its reward, and resumes."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.ppo import train
from genrec.agents.trainer import policy_checkpointer
from genrec.data import Sequences, make_catalogue
from genrec.metrics import Context
from genrec.rewards import FunctionReward, RewardError, checked
from genrec.training.interruption import Interrupted

V, K, WANTED = 8, 3, 5
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [1, 2, 3]])


def first_is_wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) * (np.arange(slates.shape[1]) == 0)


def share_of_even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / K


def objective(
    gains: Callable[[np.ndarray, object], np.ndarray],
) -> Callable[[GPTRec], dict[str, float]]:
    return lambda policy: {
        "objective": float(gains(NextK(policy).recommend(HISTORIES, K), None).sum(axis=1).mean())
    }


def weights_of(policy: GPTRec) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def probability_of_wanted(policy: GPTRec) -> float:
    slates = torch.full((len(HISTORIES), 1, 1), WANTED)
    return float(policy.logp(HISTORIES, slates).detach().exp().mean())


NOISE = itertools.count()


@pytest.fixture
def finished(config, tiny, environment):
    def train_once(
        baseline: str,
        directory: Path | None,
        after: Callable[[int], None] = lambda _: None,
        kl_target: float | None = None,
    ) -> GPTRec:
        """A training of 6 updates from a fresh student; ``after`` is called with the number of each
        validation."""
        policy, calls = tiny(), iter(range(1, 100))
        torch.manual_seed(next(NOISE))  # what the process did before must not matter

        def validate(policy: GPTRec) -> dict[str, float]:
            after(next(calls))
            return {"objective": probability_of_wanted(policy)}

        chosen = config(updates=6, evaluate_every=2, baseline=baseline, kl=0.1, kl_target=kl_target)
        train(
            policy,
            environment(first_is_wanted),
            validate=validate,
            config=chosen,
            k=K,
            seed=3,
            directory=directory,
            quiet=True,
        )
        return policy

    return train_once


@pytest.fixture
def checkpointed_update(tiny):
    def read(directory: Path) -> int:
        actor = ActorCritic(tiny())
        optimizer = torch.optim.AdamW(actor.parameters())
        return policy_checkpointer(directory, actor, optimizer).restore()["update"]

    return read


@pytest.mark.parametrize(
    ("baseline", "kl_target"), [("group", None), ("critic", None), ("group", 0.05)]
)
def test_ctrl_c_and_the_same_again_is_as_if_nothing_had_happened(
    baseline, kl_target, tmp_path, tiny, finished, checkpointed_update
):
    whole = finished(baseline, None, kl_target=kl_target)

    def stop(call: int) -> None:
        if call == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(
        Interrupted, match="stopped before update 5; the same command resumes from there"
    ):
        finished(baseline, tmp_path, stop, kl_target)
    assert checkpointed_update(tmp_path) == 4
    calls = []
    resumed = finished(baseline, tmp_path, calls.append, kl_target)
    assert calls == [1]  # after update 6; that after update 4 was saved
    assert same(weights_of(resumed), weights_of(whole))
    assert not same(weights_of(resumed), weights_of(tiny()))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} == set(range(7))
    assert (len({line.get("kl_coef", 0.1) for line in lines}) == 1) == (kl_target is None)


def test_the_seed_decides_the_critic_too(finished):
    one = finished("critic", None)
    assert same(weights_of(one), weights_of(finished("critic", None)))


def not_a_number(slates: np.ndarray) -> np.ndarray:
    return np.full(slates.shape, np.nan)


def one_a_list(slates: np.ndarray) -> np.ndarray:
    return slates.sum(axis=1)


def no_such_item(slates: np.ndarray) -> np.ndarray:
    raise KeyError("no such item")


BREAKS = {
    not_a_number: r"is nan for item \d+ at position 3 of list 0: \[\d, \d\]$",
    one_a_list: r"returned shape \(24,\), not .* such as list 0: \[\d, \d, \d\]$",
    no_such_item: r"raised KeyError: 'no such item' \(\w+\.py, line \d+\) on position 3 of",
}


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_reward_that_breaks_stops_the_training_and_spares_the_checkpoint(
    breaks, tmp_path, config, tiny, environment, checkpointed_update
):
    calls = iter(range(1000))

    def fickle(slates, context):
        """Breaks in the third step of update 8: three calls an update."""
        return breaks(slates) if next(calls) == 7 * K + 2 else share_of_even(slates, context)

    with pytest.raises(RewardError, match=rf"update 8: reward 'fickle' {BREAKS[breaks]}"):
        train(
            tiny(),
            environment(fickle),
            validate=objective(share_of_even),
            config=config(),
            k=K,
            seed=0,
            directory=tmp_path,
            quiet=True,
        )
    assert checkpointed_update(tmp_path) == 5
    found = train(
        tiny(),
        environment(fickle),
        validate=objective(share_of_even),
        config=config(),
        k=K,
        seed=0,
        directory=tmp_path,
        quiet=True,
    )
    whole = tiny()
    assert found == train(
        whole,
        environment(share_of_even),
        validate=objective(share_of_even),
        config=config(),
        k=K,
        quiet=True,
    )


def test_a_reward_that_breaks_in_a_validation_says_so(
    tmp_path, config, tiny, environment, checkpointed_update
):
    calls = iter(range(100))
    catalogue = make_catalogue([str(item) for item in range(1, V + 1)])
    context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, 2)

    def validate(policy):
        return {"objective": float(checked(reward)(np.array([[1, 2]]), context).sum())}

    def fickle(slates, context):
        return slates * (np.nan if next(calls) == 1 else 1.0)

    reward = FunctionReward(fickle, "fickle")
    with pytest.raises(
        RewardError,
        match=r"validation after update 5: reward 'fickle' is nan at position 1 of list 0",
    ):
        train(
            tiny(),
            environment(share_of_even),
            validate=validate,
            config=config(),
            k=K,
            seed=0,
            directory=tmp_path,
            quiet=True,
        )
    assert checkpointed_update(tmp_path) == 0
