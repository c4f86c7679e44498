"""MaskablePPO around GPTRec: the same probabilities, masks as ids, PPO's step written out."""

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.sb3.policy import GPTRecPolicy, next_states
from genrec.agents.sb3.trainer import maskable_ppo
from genrec.agents.sb3.vec_env import ListVecEnv
from genrec.data import Sequences

V, K, T, WANTED = 9, 3, 3, 7
# the last history is longer than what the policy reads: item 8 lies before its window
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [8, 1, 2, 3]])


@pytest.fixture
def rolled_out(config, tiny, environment):
    def roll_out(**changes: object) -> tuple[MaskablePPO, ListVecEnv]:
        """A model whose buffer holds one rollout."""
        lists = ListVecEnv(environment())
        model = maskable_ppo(tiny(), lists, config=config(**changes), k=K)
        torch.manual_seed(0)
        _, callback = model._setup_learn(1)
        assert model.collect_rollouts(lists, callback, model.rollout_buffer, K)
        return model, lists

    return roll_out


def policy_of(model: MaskablePPO) -> GPTRec:
    return model.policy.actor.policy


def everything(model: MaskablePPO):
    return model.rollout_buffer._get_samples(np.arange(model.rollout_buffer.n_envs * K))


def rollout_of(model: MaskablePPO) -> tuple[Sequences, torch.Tensor]:
    """Whole histories and lists (24, 1, K) of the rollout, read from the steps."""
    actions = torch.from_numpy(model.rollout_buffer.actions[:, :, 0].T.copy())
    last = model.rollout_buffer.observations["history"][0]
    whole = {tuple(row[-T:].tolist()): row for row in HISTORIES}
    return Sequences.from_lists([whole[tuple(row[row > 0].tolist())] for row in last]), actions[
        :, None
    ]


def test_log_probabilities_are_those_of_gptrec(rolled_out):
    """Rollout and update, one row a step, against whole lists at once."""
    model, _ = rolled_out()
    histories, slates = rollout_of(model)
    expected = (
        policy_of(model).logp(histories, slates).squeeze(1).T.detach()
    )  # (K, n), as the buffer has it
    assert expected.shape == (K, 24)
    np.testing.assert_allclose(model.rollout_buffer.log_probs, expected.numpy(), atol=1e-5)
    batch = everything(model)
    _, logp, entropy = model.policy.evaluate_actions(
        batch.observations, batch.actions.flatten(), batch.action_masks
    )
    np.testing.assert_allclose(logp.detach().view(K, 24), expected, atol=1e-5)
    every = (
        policy_of(model)
        .log_distribution(histories, slates)
        .squeeze(1)
        .transpose(0, 1)
        .detach()
        .clamp(min=-1e9)
    )
    np.testing.assert_allclose(
        entropy.detach().view(K, 24), -(every.exp() * every).sum(dim=2), atol=1e-5
    )


def test_rows_in_any_order_have_the_same_states(rolled_out):
    model, _ = rolled_out()
    obs = {name: each.long() for name, each in everything(model).observations.items()}
    policy = policy_of(model)
    together = next_states(policy, obs["history"], obs["slate"])
    order = torch.randperm(len(together))[:50]
    np.testing.assert_allclose(
        next_states(policy, obs["history"][order], obs["slate"][order]).detach(),
        together[order].detach(),
        atol=1e-5,
    )
    for row in order[:12].tolist():
        alone = next_states(policy, obs["history"][row : row + 1], obs["slate"][row : row + 1])
        np.testing.assert_allclose(alone.detach(), together[row : row + 1].detach(), atol=1e-5)


def test_a_history_is_encoded_once_for_all_its_rows(monkeypatch, rolled_out):
    model, _ = rolled_out()
    batch, encoded, real = everything(model), [], GPTRec.encode

    def encode(self, histories):
        encoded.append(len(histories))
        return real(self, histories)

    monkeypatch.setattr(GPTRec, "encode", encode)
    model.policy.evaluate_actions(batch.observations, batch.actions.flatten(), batch.action_masks)
    assert encoded == [6]


def test_masks_from_ids_are_those_of_the_environment(tiny, environment):
    lists = ListVecEnv(environment())
    lists.seed(0)
    obs = lists.reset()
    policy = GPTRecPolicy(
        lists.observation_space, lists.action_space, lambda _: 0.1, actor=ActorCritic(tiny())
    )
    for _ in range(K):
        ids, expected = get_action_masks(lists), lists.env.action_masks()
        assert ids.dtype == np.int32
        tensors, _ = policy.obs_to_tensor(obs)
        assert (
            policy.get_distribution(tensors, ids).distribution.probs.detach().numpy() > 0
        ).tolist() == (expected.tolist())
        dense = policy.get_distribution(tensors, expected).distribution.probs
        assert torch.equal(dense, policy.get_distribution(tensors, ids).distribution.probs)
        obs, *_ = lists.step(np.array([np.flatnonzero(row)[0] for row in expected]))


def test_the_buffer_gives_back_the_masks_of_its_steps(rolled_out):
    """Item 8 lies before the window of the last history, and is masked all the same."""
    model, lists = rolled_out()
    batch = everything(model)
    allowed = torch.ones(len(batch.actions), V + 1, dtype=torch.bool).scatter(
        1, batch.action_masks.long(), False
    )
    allowed[:, 0] = False  # PAD, which the policy adds
    _, slates = rollout_of(model)
    lists.seed(0)
    lists.reset()
    for t in range(K):
        assert allowed.view(K, 24, V + 1)[t].tolist() == lists.env.action_masks().tolist()
        lists.step(slates[:, 0, t].numpy())
    long = (batch.observations["history"] == torch.tensor([1, 2, 3])).all(dim=1)
    assert long.sum() == 4 * K
    assert not allowed[long, 8].any()
    assert not (batch.actions[long] == 8).any()


def test_one_step_of_gradient_descent_is_the_formula_of_ppo(rolled_out):
    """Second pass over a rollout, so that ratios differ from 1 and some are clipped; plain SGD,
    everything at once."""
    model, _ = rolled_out(epochs=1, minibatches=1, entropy=0.02, clip=0.05)
    histories, slates = rollout_of(model)
    with torch.no_grad():
        for value in policy_of(model).parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    actor, buffer = model.policy.actor, model.rollout_buffer
    model.max_grad_norm = float("inf")
    model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.1)

    # by hand, from whole lists: GAE, standardised; clipped ratios; squared error; entropy
    old_logp, old_values = (
        torch.from_numpy(buffer.log_probs.copy()),
        torch.from_numpy(buffer.values.copy()),
    )
    rewards = torch.zeros(K, 24)
    rewards[0] = (slates[:, 0, 0] == WANTED).float()
    advantages, following, next_value = torch.zeros(K, 24), torch.zeros(24), torch.zeros(24)
    for t in (2, 1, 0):
        following = rewards[t] + next_value - old_values[t] + 0.95 * following
        advantages[t], next_value = following, old_values[t]
    returns = advantages + old_values
    scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy = actor.policy
    prefix = policy.encode(histories)
    states = policy.slate_states(prefix, slates)
    every = torch.log_softmax(policy.masked_logits(prefix, states, slates).clamp(min=-1e9), dim=3)
    ratio = (every.gather(3, slates[..., None]).squeeze(3).squeeze(1).T - old_logp).exp()
    clipped = (ratio - 1).abs() > 0.05
    assert 0.1 < clipped.float().mean() < 0.9
    policy_loss = -torch.minimum(ratio * scaled, ratio.clamp(0.95, 1.05) * scaled).mean()
    entropy = -(every.exp() * every).sum(dim=3).mean()
    value_loss = (actor.critic(states).squeeze(1).T - returns).square().mean()
    loss = policy_loss + 0.5 * value_loss - 0.02 * entropy
    names, parameters = zip(*actor.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters)
    learning_rate = model.lr_schedule(model._current_progress_remaining)
    expected = {
        n: (p - learning_rate * g).detach()
        for n, p, g in zip(names, parameters, gradients, strict=True)
    }

    model.set_logger(Quiet.logger())
    model.train()
    logged = model.logger.name_to_value
    assert logged["train/loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert logged["train/policy_gradient_loss"] == pytest.approx(policy_loss.item(), abs=1e-5)
    assert logged["train/value_loss"] == pytest.approx(value_loss.item(), abs=1e-5)
    assert logged["train/clip_fraction"] == pytest.approx(clipped.float().mean().item(), abs=1e-6)
    moved = dict(actor.named_parameters())
    for name, value in expected.items():
        np.testing.assert_allclose(moved[name].detach(), value, atol=1e-6, err_msg=name)


class Quiet:
    @staticmethod
    def logger():
        from stable_baselines3.common.logger import Logger

        return Logger(None, [])


def test_minibatches_are_as_many_as_asked_for_and_hold_every_step_once(rolled_out):
    model, _ = rolled_out(minibatches=5, epochs=3)
    assert model.n_epochs == 3
    model.rollout_buffer.returns[:] = np.arange(24 * K).reshape(K, 24)
    parts = [part.returns for part in model.rollout_buffer.get(model.batch_size)]
    assert sorted(len(part) for part in parts) == [14, 14, 14, 15, 15]
    assert sorted(torch.cat(parts).tolist()) == list(range(24 * K))
    assert torch.cat(parts).tolist() != sorted(torch.cat(parts).tolist())


def test_the_learning_rate_falls_as_in_our_ppo(rolled_out):
    model, _ = rolled_out(updates=3, learning_rate=1.0)
    rates = [model.lr_schedule(1 - (update + 1) / 3) for update in range(3)]
    assert rates == pytest.approx([1.0, 0.525, 0.05])
    assert model.lr_schedule(1.0) == 1.0
