"""One policy for all weights: conditioning, storage, decoding and training."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genrec.agents.actor_critic import ActorCritic
from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.decoding import NextK, beam, sample
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.ppo import compute_advantages, train
from genrec.agents.rollout import Rollout, collect, return_std
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, WeightedSum

V, K = 8, 3
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [1, 2, 3]])
RANGES = {"even": (0.0, 2.0)}


def tiny(seed: int = 0, max_slate: int = K) -> GPTRec:
    torch.manual_seed(seed)
    return GPTRec(
        V, hidden_size=16, blocks=2, heads=2, max_length=3, max_slate=max_slate, dropout=0.1
    ).eval()


def conditioned(ranges: dict[str, tuple[float, float]] = RANGES, last: float = 0.3) -> GPTRec:
    """A policy whose lists depend on the weights."""
    policy = tiny()
    policy.condition(ranges)
    with torch.no_grad():
        policy.conditioning.layers[-1].weight.normal_(
            std=last, generator=torch.Generator().manual_seed(7)
        )
    return policy


def odd(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 1) / K


def even(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates % 2 == 0) / K


def environment(
    ranges: dict[str, tuple[float, float]] = RANGES, scale: float = 1.0
) -> ListGenerationVectorEnv:
    terms = ((FunctionReward(odd, "odd"), scale), (FunctionReward(even, "even"), 1.0))
    catalogue = make_catalogue([str(i) for i in range(1, V + 1)])
    targets = np.zeros(len(HISTORIES), np.int64)
    task = ListTask(
        HISTORIES,
        targets,
        catalogue,
        reward=WeightedSum(terms),
        k=K,
        max_length=3,
        ranges=ranges,
    )
    return ListGenerationVectorEnv(task, num_envs=24, group_size=4)


def lists_of(policy: GPTRec, **weights: float) -> np.ndarray:
    return NextK(policy.at(weights)).recommend(HISTORIES, K)


def test_conditioning_alone_changes_no_list():
    slates = torch.arange(4, 8).view(1, 1, 4)[..., :K].expand(6, 1, K)
    before, lists = (
        tiny().log_distribution(HISTORIES, slates).detach(),
        NextK(tiny()).recommend(HISTORIES, K),
    )
    policy = tiny()
    state = torch.random.get_rng_state()
    policy.condition(RANGES)
    assert torch.equal(state, torch.random.get_rng_state())
    for weight in (0, 0.7, 2):
        conditioned = policy.at({"even": weight})
        torch.testing.assert_close(
            conditioned.log_distribution(HISTORIES, slates).detach(), before, atol=1e-6, rtol=0
        )
        np.testing.assert_array_equal(NextK(conditioned).recommend(HISTORIES, K), lists)


def test_weights_reach_every_position():
    policy = conditioned()
    slates = torch.tensor([[[4, 5, 6]]] * 6)
    low, high = (policy.at({"even": weight}).logp(HISTORIES, slates).detach() for weight in (0, 2))
    assert float((low - high).abs().amin()) > 1e-4
    with torch.no_grad():  # the first item is predicted by SEP, which has the weights too
        prefix = policy.encode(HISTORIES, torch.full((6, 1), 2.0))
        assert not torch.allclose(
            prefix.state, policy.encode(HISTORIES, torch.zeros(6, 1)).state, atol=1e-3
        )


@pytest.mark.parametrize("ranges", [RANGES, {"even": (0.0, 2.0), "odd": (-1.0, 3.0)}])
def test_cached_and_uncached_log_probabilities_agree(ranges):
    policy = conditioned(ranges)
    low, high = np.array(list(ranges.values())).T
    drawn = np.random.default_rng(0).uniform(low, high, (6, len(ranges)))
    weights = torch.from_numpy(drawn).float()
    generator = torch.Generator().manual_seed(0)
    slates, logp = sample(policy, HISTORIES, K, generator=generator, group_size=3, weights=weights)
    torch.testing.assert_close(
        policy.logp(HISTORIES, slates, weights).detach(), logp, atol=1e-5, rtol=0
    )
    for row in range(6):  # each history by itself, its list read anew for every position
        fixed = policy.at(dict(zip(ranges, drawn[row].tolist(), strict=True)))
        for t in range(K):
            alone = fixed.log_distribution(
                HISTORIES.take([row]), slates[row : row + 1, :1, : t + 1]
            ).detach()
            assert float(alone[0, 0, t, slates[row, 0, t]]) == pytest.approx(
                float(logp[row, 0, t]), abs=1e-5
            )


def test_every_history_has_its_own_weights():
    policy = conditioned(last=1.0)
    low, high = lists_of(policy, even=0), lists_of(policy, even=2)
    assert (low != high).any(axis=1).sum() >= 2
    weights = torch.tensor([[0.0], [2.0], [0.0], [2.0], [0.0], [2.0]])
    mixed = NextK(policy, batch_size=2, weights=weights).recommend(HISTORIES, K)
    np.testing.assert_array_equal(mixed, np.where(weights.numpy() == 0, low, high))
    one = beam(policy, HISTORIES, K, width=1, weights=weights)
    np.testing.assert_array_equal(one.numpy(), mixed)


def test_at_shares_parameters_and_keeps_weights_that_are_not_named():
    policy = conditioned({"even": (0.0, 2.0), "odd": (1.0, 3.0)})
    assert policy.weights == {"even": 0.5, "odd": 1.5}
    other = policy.at({"odd": 3})
    assert (other.weights, policy.weights) == ({"even": 0.5, "odd": 3}, {"even": 0.5, "odd": 1.5})
    assert other.conditioning is policy.conditioning
    assert other.lm is policy.lm
    with pytest.raises(ValueError, match="weight 4 of odd is outside the trained range, 1 to 3"):
        policy.at({"odd": 4})
    with pytest.raises(ValueError, match="all weights of this run are fixed"):
        tiny().at({"odd": 1})
    with pytest.raises(ValueError, match="not conditioned on weights: give none"):
        tiny().encode(HISTORIES, torch.zeros(6, 1))
    policy.condition({"even": (0.0, 2.0), "odd": (1.0, 3.0)})
    with pytest.raises(ValueError, match=r"is conditioned on weights .* already"):
        policy.condition(RANGES)


def test_conditioning_is_saved(tmp_path):
    policy = conditioned()
    policy.save_pretrained(tmp_path, [str(i) for i in range(V)], "abc")
    assert json.loads((tmp_path / "config.json").read_text())["weight_ranges"] == {"even": [0, 2]}
    assert set(load_file(tmp_path / "conditioning.safetensors")) == set(
        policy.conditioning.state_dict()
    )
    again, _, _ = GPTRec.from_pretrained(tmp_path)
    assert again.ranges == RANGES
    for weight in (0, 1, 2):
        np.testing.assert_array_equal(lists_of(again, even=weight), lists_of(policy, even=weight))
    slates = torch.tensor([[[4, 5, 6]]] * 6)
    torch.testing.assert_close(
        again.logp(HISTORIES, slates), policy.at({"even": 0.5}).logp(HISTORIES, slates)
    )
    tiny().save_pretrained(tmp_path / "plain", [str(i) for i in range(V)], "abc")
    assert not (tmp_path / "plain" / "conditioning.safetensors").exists()
    assert "weight_ranges" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    assert GPTRec.from_pretrained(tmp_path / "plain")[0].ranges == {}


def test_a_rollout_carries_the_weights_of_its_histories():
    policy, env = conditioned(), environment(scale=0.5)
    rollout = collect(policy, env, K, generator=torch.Generator().manual_seed(0), seed=4)
    _, infos = env.reset(seed=4)
    np.testing.assert_allclose(rollout.weights[:, 0], infos["reward_weights"]["even"], rtol=1e-6)
    slates = rollout.slates.numpy()
    odd_gain, even_gain = (slates % 2 == 1) * 0.5 / K, (slates % 2 == 0) / K
    expected = odd_gain + even_gain * rollout.weights.numpy()[:, :, None]
    np.testing.assert_allclose(rollout.r_t, expected, atol=1e-6)
    part = rollout.take(np.array([2, 5]))
    assert torch.equal(part.weights, rollout.weights[[2, 5]])
    assert torch.equal(part.return_std, rollout.return_std[[2, 5]])


def test_the_standard_deviation_of_returns_by_hand():
    """Two lists of each of two histories: a varies by 1 in the first only, b by 4 in both."""
    totals = {"a": np.array([0.0, 2.0, 3.0, 3.0]), "b": np.array([1.0, 5.0, 4.0, 0.0])}
    weights = {"a": np.array([2.0, 0.0]), "b": np.array([0.5, 1.0])}
    np.testing.assert_allclose(return_std(totals, weights), [np.sqrt(4 * 0.5 + 0.25 * 4), 2.0])


def test_large_weights_do_not_dominate_small_ones():
    """The same lists with a hundred times the reward have the same advantages."""
    policy = conditioned()
    slates = torch.tensor([[[4, 5, 6], [5, 7, 8]]]).expand(2, 2, 3)
    earned = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    weights = {"even": np.array([1.0, 100.0])}
    std = torch.from_numpy(return_std({"even": np.array([2.0, 1.0, 2.0, 1.0])}, weights)).float()
    pair = HISTORIES.take([0, 0])
    rollout = Rollout(
        pair,
        slates,
        r_t=torch.stack([earned, 100 * earned]),
        terms={},
        weights=torch.tensor([[0.02], [2.0]]),
        return_std=std,
    )
    (batch,), _ = compute_advantages(ActorCritic(policy), None, rollout, PPOConfig(minibatches=1))
    torch.testing.assert_close(batch.advantages[0], batch.advantages[1])
    assert float(batch.advantages.abs().max()) > 0


def test_learns_a_list_for_each_weight():
    """Odd items earn 1 and even ones 0 to 2: lists are odd at the low end, even at the high end."""
    policy = tiny()
    policy.condition(RANGES)

    def validate(trained: GPTRec) -> dict[str, float]:
        low, high = (lists_of(trained, even=weight) for weight in (0, 2))
        return {"objective": float((low % 2 == 1).mean() + 2 * (high % 2 == 0).mean()) / 3}

    assert validate(policy)["objective"] < 0.8
    chosen = PPOConfig.model_validate(
        {
            "updates": 40,
            "histories": 6,
            "group_size": 4,
            "evaluate_every": 10,
            "learning_rate": 0.01,
        }
    )
    found = train(policy, environment(), validate=validate, config=chosen, k=K, quiet=True)
    assert found["objective"] > 0.9
    assert validate(policy)["objective"] == found["objective"]
    assert (lists_of(policy, even=0) % 2 == 1).mean() > 0.8
    assert (lists_of(policy, even=2) % 2 == 0).mean() > 0.8
