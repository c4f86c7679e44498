"""The policy and the buffer of MaskablePPO by themselves; test_update.py has its learning step."""

import tracemalloc

import numpy as np
import pytest
import torch
from gymnasium import spaces

from genrec.agents.gptrec.model import GPTRec
from genrec.agents.sb3.policy import ListRolloutBuffer, next_states
from genrec.data import Sequences


def test_lists_of_different_histories_are_never_taken_for_one():
    """Sorted, [5] of history 1 comes right before [5, 6] of history 2."""
    torch.manual_seed(0)
    policy = GPTRec(9, hidden_size=16, blocks=1, heads=2, max_length=3, max_slate=3).eval()
    history, slate = torch.tensor([[0, 0, 1], [0, 0, 2]]), torch.tensor([[5, 0, 0], [5, 6, 0]])
    found = next_states(policy, history, slate).detach()
    whole = policy.slate_states(
        policy.encode(Sequences.from_lists([[1], [2]])), torch.tensor([[[5, 0, 0]], [[5, 6, 0]]])
    )
    np.testing.assert_allclose(found, whole[[0, 1], 0, [1, 2]].detach(), atol=1e-5)


def test_a_hundred_thousand_items_and_two_thousand_lists_fit_in_200_mb():
    """The stock buffer's masks alone: 10 x 2,048 x 100,001 float32, 7.6 GiB."""
    items, lists, steps, window = 100_000, 2048, 10, 200
    assert steps * lists * (items + 1) * 4 / 2**30 == pytest.approx(7.63, abs=0.01)
    space = spaces.Dict(
        history=spaces.Box(0, items, (window,), np.int32),
        slate=spaces.Box(0, items, (steps,), np.int32),
    )
    rng = np.random.default_rng(0)
    history = rng.integers(1, items, (lists, window), dtype=np.int32)
    nothing = torch.zeros(lists)
    tracemalloc.start()
    buffer = ListRolloutBuffer(steps, space, spaces.Discrete(items + 1), "cpu", n_envs=lists)
    slate = np.zeros((lists, steps), np.int32)
    for t in range(steps):
        ids = np.concatenate([history, slate], axis=1)
        obs = {"history": history, "slate": slate.copy()}
        buffer.add(obs, np.full(lists, t), np.zeros(lists), np.zeros(lists), nothing, nothing, ids)
        slate[:, t] = 7 + t
    batch = next(buffer.get(lists))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.action_masks.shape == (lists, window + steps - 1)
    kept = [
        *buffer.observations.values(),
        buffer.actions,
        buffer.rewards,
        buffer.returns,
        buffer.values,
    ]
    kept += [buffer.log_probs, buffer.advantages, buffer.episode_starts, buffer._together.items]
    assert sum(array.nbytes for array in kept) < 40e6
    assert peak < 200e6
