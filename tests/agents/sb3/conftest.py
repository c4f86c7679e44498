"""MaskablePPO's settings, policy and environment on a catalogue of nine items."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genrec.agents.config import MaskablePPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, WeightedSum

V, K, T, WANTED = 9, 3, 3, 7
# the last history is longer than what the policy reads: item 8 lies before its window
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [8, 1, 2, 3]])


def first_is_wanted(slates: np.ndarray, context: object) -> np.ndarray:
    return (slates == WANTED) * (np.arange(slates.shape[1]) == 0)


@pytest.fixture
def config() -> Callable[..., MaskablePPOConfig]:
    """Make settings of a short training, with changes."""

    def make(**changes: object) -> MaskablePPOConfig:
        small = {
            "updates": 20,
            "histories": 6,
            "group_size": 4,
            "evaluate_every": 5,
            "learning_rate": 0.01,
        }
        return MaskablePPOConfig.model_validate(small | changes)

    return make


@pytest.fixture
def tiny() -> Callable[..., GPTRec]:
    """Make an untrained policy from a seed."""

    def make(seed: int = 0) -> GPTRec:
        torch.manual_seed(seed)
        return GPTRec(
            V, hidden_size=16, blocks=1, heads=2, max_length=T, max_slate=K, dropout=0.1
        ).eval()

    return make


@pytest.fixture
def environment() -> Callable[..., ListGenerationVectorEnv]:
    """Make an environment that pays ``gains`` for six histories."""

    def make(
        gains: Callable[[np.ndarray, object], np.ndarray] = first_is_wanted, group_size: int = 4
    ) -> ListGenerationVectorEnv:
        catalogue = make_catalogue([str(i) for i in range(1, V + 1)])
        reward = WeightedSum(((FunctionReward(gains, gains.__name__), 1.0),))
        task = ListTask(
            HISTORIES,
            np.zeros(len(HISTORIES), np.int64),
            catalogue,
            reward=reward,
            k=K,
            max_length=T,
        )
        return ListGenerationVectorEnv(task, num_envs=6 * group_size, group_size=group_size)

    return make
