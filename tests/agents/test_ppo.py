"""PPO on catalogues of eight items, where what should be learnt is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from genrec.agents.actor_critic import ActorCritic, ValueHead
from genrec.agents.advantages import group_advantages
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.ppo import clipped_loss, compute_advantages, kl_estimate, loss_and_metrics, train
from genrec.agents.rollout import collect
from genrec.data import Sequences

V, K, WANTED = 8, 3, 5
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [1, 2, 3]])


def first_is_wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) * (np.arange(slates.shape[1]) == 0)


def share_of_even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / K


def constant(slates: np.ndarray, context: object) -> np.ndarray:
    return np.full(slates.shape, 0.1)


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


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 2.0, -2.2),
        (1.5, 2.0, -2.4),  # clipped at 1.2
        (0.5, 2.0, -1.0),  # a good action that became rarer is not clipped
        (0.5, -2.0, 1.6),  # clipped at 0.8
        (1.5, -2.0, 3.0),  # a bad action that became more frequent is not clipped
    ],
)
def test_clipped_loss_and_where_its_gradient_is_zero(ratio, advantage, loss):
    logp = torch.tensor([math.log(ratio) - 1.0], requires_grad=True)
    found = clipped_loss(logp, torch.tensor([-1.0]), torch.tensor([advantage]), clip=0.2)
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-5)
    clipped = loss in (-2.4, 1.6)
    assert logp.grad.item() == (0 if clipped else pytest.approx(-ratio * advantage, rel=1e-5))


def test_clipped_loss_is_a_mean():
    at = torch.zeros(2, 2)
    assert clipped_loss(at, at, torch.tensor([[1.0, 2.0], [3.0, 6.0]]), clip=0.1).item() == -3


def test_kl_estimate_by_hand():
    # q/p is 2 and 1/2: 2 - 1 - log 2 and 1/2 - 1 + log 2, mean 1/4
    p = torch.tensor([0.0, 0.0])
    assert kl_estimate(p, torch.tensor([math.log(2), -math.log(2)])).item() == pytest.approx(
        0.25, abs=1e-6
    )
    assert kl_estimate(p, p).item() == 0


def test_kl_estimate_is_unbiased_under_the_first_distribution():
    """p = (.5, .3, .2), q = (.2, .3, .5): every item as often as p draws it, KL = .3 log 2.5."""
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    drawn = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    assert kl_estimate(p.log()[drawn], q.log()[drawn]).item() == pytest.approx(
        0.3 * math.log(2.5), abs=1e-6
    )


def test_the_critic_does_not_move_the_policy():
    states = torch.ones(2, 4, requires_grad=True)
    ValueHead(4)(states).sum().backward()
    assert states.grad is None


@pytest.fixture
def minibatches_of(config, tiny, environment):
    def make(precision: torch.dtype, **changes: object):
        """Actor and critic, rollout, minibatches with advantages, and entropy."""
        policy = tiny()
        actor, chosen = ActorCritic(policy), config(**changes)
        generator = torch.Generator().manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            rollout = collect(policy, environment(share_of_even), K, generator=generator, seed=1)
            batches, entropy = compute_advantages(actor, tiny(seed=5), rollout, chosen)
        return actor, rollout, batches, entropy

    return make


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("minibatches", [1, 4])
def test_the_first_ratio_is_exactly_one(precision, minibatches, config, minibatches_of):
    actor, _, batches, _ = minibatches_of(precision, minibatches=minibatches, entropy=0.01, kl=0.1)
    assert [len(batch.rollout.histories) for batch in batches] == (
        [6] if minibatches == 1 else [2, 2, 1, 1]
    )
    for batch in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            logp = actor(batch.rollout, with_entropy=False)[0].logp
            _, metrics = loss_and_metrics(actor, batch, config(entropy=0.01), kl_coef=0.1)
        assert torch.equal(logp, batch.logp_old)
        assert (metrics["clip_fraction"], metrics["approx_kl"]) == (0, 0)
        assert metrics["ref_kl"] > 0


def test_advantages_are_split_in_the_order_of_the_rollout(tiny, minibatches_of):
    _, rollout, batches, entropy = minibatches_of(torch.float32, minibatches=4)
    assert torch.equal(torch.cat([batch.rollout.slates for batch in batches]), rollout.slates)
    assert torch.equal(torch.cat([batch.rollout.r_t for batch in batches]), rollout.r_t)
    rows = [row.tolist() for batch in batches for row in batch.rollout.histories]
    assert rows == [row.tolist() for row in rollout.histories]
    raw = group_advantages(rollout.r_t)
    advantages = torch.cat([batch.advantages for batch in batches])
    torch.testing.assert_close(advantages * raw.std(correction=0), raw)
    expected = tiny().logp(rollout.histories, rollout.slates)
    torch.testing.assert_close(torch.cat([batch.logp_old for batch in batches]), expected.detach())
    reference = tiny(seed=5).as_reference(rollout.histories, rollout.slates)
    states = torch.cat([batch.reference.states for batch in batches])
    torch.testing.assert_close(states, reference.states)
    # an untrained policy is nearly uniform over what is left: 5 to 7 items at first, two fewer at
    # last
    assert math.log(3) < entropy < math.log(7)


def test_advantages_with_a_critic(minibatches_of):
    actor, rollout, batches, _ = minibatches_of(
        torch.float32, minibatches=1, baseline="critic", gae_lambda=1.0
    )
    values = actor(rollout, with_entropy=False)[1].detach()
    to_go = rollout.r_t.flip(2).cumsum(dim=2).flip(2)
    torch.testing.assert_close(batches[0].returns, to_go)
    raw = to_go - values
    torch.testing.assert_close(batches[0].advantages, raw / raw.std(correction=0))


def test_penalties_join_the_loss(config, minibatches_of):
    actor, _, (batch,), entropy = minibatches_of(torch.float32, minibatches=1, kl=1.0)
    plain, _ = loss_and_metrics(actor, batch, config(), kl_coef=0.0)
    penalised, metrics = loss_and_metrics(actor, batch, config(entropy=0.3), kl_coef=0.7)
    expected = 0.7 * metrics["ref_kl"] - 0.3 * entropy
    assert float((penalised - plain).detach()) == pytest.approx(expected, abs=1e-5)
    # at ratio 1 the clipped loss is minus the mean advantage, 0 in every group
    assert float(plain.detach()) == pytest.approx(0, abs=1e-5)
    values = actor(batch.rollout, with_entropy=False)[1]
    error = 0.5 * float((values - batch.returns).square().mean().detach())
    chosen = config(baseline="critic")
    with_critic, metrics = loss_and_metrics(actor, batch, chosen, kl_coef=0.0)
    assert float((with_critic - plain).detach()) == pytest.approx(error, abs=1e-5)
    assert "explained_variance" in metrics


def test_one_step_raises_what_was_good(config, minibatches_of):
    actor, _, (batch,), _ = minibatches_of(torch.float32, minibatches=1)
    optimizer = torch.optim.SGD(actor.policy.parameters(), lr=0.01)
    loss, _ = loss_and_metrics(actor, batch, config(), kl_coef=0.0)
    loss.backward()
    optimizer.step()
    change = actor(batch.rollout, with_entropy=False)[0].logp.detach() - batch.logp_old
    assert float((change * batch.advantages).mean()) > 0
    assert float(change[batch.advantages > 0].mean()) > 0
    assert float(change[batch.advantages < 0].mean()) < 0


@pytest.mark.parametrize("baseline", ["group", "critic"])
@pytest.mark.parametrize(("gains", "reached"), [(first_is_wanted, 0.9), (share_of_even, 0.9)])
def test_learns_what_is_paid(baseline, gains, reached, config, tiny, environment):
    policy = tiny()
    assert objective(gains)(policy)["objective"] < 0.6
    found = train(
        policy,
        environment(gains),
        validate=objective(gains),
        config=config(updates=25, baseline=baseline),
        k=K,
        quiet=True,
    )
    assert found["objective"] >= reached
    assert objective(gains)(policy)["objective"] == found["objective"]
    assert found["update"] > 0


def test_the_last_position_is_credited_alone(config, tiny, environment):
    """Only the third item is paid, so nothing should be learnt of the first two that was not
    noise."""

    def third(slates, context):
        return (slates == WANTED) * (np.arange(slates.shape[1]) == 2)

    policy = tiny()
    found = train(
        policy,
        environment(third),
        validate=objective(third),
        config=config(updates=25),
        k=K,
        quiet=True,
    )
    assert found["objective"] >= 0.9


@pytest.mark.parametrize("group_size", [3, 4])
def test_a_constant_reward_teaches_nothing(group_size, config, tiny, environment):
    """Not even rounding: the policy stays where it was, bit for bit."""
    policy, start = tiny(), weights_of(tiny())
    count = iter(range(100))
    chosen = config(updates=5, evaluate_every=1, group_size=group_size)
    env = environment(constant, group_size)
    found = train(
        policy,
        env,
        validate=lambda _: {"objective": float(next(count))},
        config=chosen,
        k=K,
        quiet=True,
    )
    assert found["update"] == 5
    assert same(weights_of(policy), start)


def test_a_harmful_reward_returns_the_student(config, tiny, environment):
    def harm(policy):
        return {"objective": -probability_of_wanted(policy)}

    policy, start = tiny(), weights_of(tiny())
    found = train(
        policy, environment(first_is_wanted), validate=harm, config=config(), k=K, quiet=True
    )
    assert found["update"] == 0
    assert same(weights_of(policy), start)


def test_the_best_validated_weights_are_kept(config, tiny, environment):
    seen, script = [], iter([0.1, 0.2, 0.9, 0.9, 0.3])

    def scripted(policy):
        seen.append(weights_of(policy))
        return {"objective": next(script), "other": len(seen)}

    policy = tiny()
    found = train(
        policy, environment(share_of_even), validate=scripted, config=config(), k=K, quiet=True
    )
    assert found == {"update": 10, "objective": 0.9, "other": 3}
    assert same(weights_of(policy), seen[2])
    assert not same(seen[2], seen[3])
    assert not policy.training


def test_a_reward_sees_how_far_the_training_is(config, tiny, environment):
    seen = []

    def watching(slates, context):
        seen.append(context.progress)
        return share_of_even(slates, context)

    train(
        tiny(),
        environment(watching),
        validate=objective(share_of_even),
        config=config(updates=4),
        k=K,
        quiet=True,
    )
    assert seen == [0.0] * K + [0.25] * K + [0.5] * K + [0.75] * K


def test_a_loss_that_is_no_number_says_what_to_do(config, tiny, environment):
    def huge(slates, context):
        return np.full(slates.shape, 1e30)

    with pytest.raises(
        FloatingPointError, match="the loss is inf in update 1: lower the learning rate"
    ):
        train(
            tiny(),
            environment(huge),
            validate=objective(share_of_even),
            config=config(baseline="critic"),
            k=K,
            quiet=True,
        )


def test_a_single_list_a_history_needs_the_critic(config, tiny, environment):
    env, validate = environment(share_of_even, group_size=1), objective(share_of_even)
    with pytest.raises(ValueError, match=r"raise align\.group_size, or use the critic"):
        train(tiny(), env, validate=validate, config=config(group_size=1), k=K, quiet=True)
    found = train(
        tiny(),
        env,
        validate=validate,
        config=config(group_size=1, baseline="critic", updates=2),
        k=K,
        quiet=True,
    )
    assert "objective" in found
