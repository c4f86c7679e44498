"""PPO's settings, policy and environment on a catalogue of eight items."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.rewards import FunctionReward, WeightedSum

V, K, WANTED = 8, 3, 5
HISTORIES = Sequences.from_lists([[1], [2], [3], [1, 2], [2, 3], [1, 2, 3]])


@pytest.fixture
def config() -> Callable[..., PPOConfig]:
    """Make settings of a short training, with changes."""

    def make(**changes: object) -> PPOConfig:
        small = {
            "updates": 20,
            "histories": 6,
            "group_size": 4,
            "evaluate_every": 5,
            "learning_rate": 0.01,
        }
        return PPOConfig.model_validate(small | changes)

    return make


@pytest.fixture
def tiny() -> Callable[..., GPTRec]:
    """Make an untrained policy from a seed."""

    def make(seed: int = 0) -> GPTRec:
        torch.manual_seed(seed)
        return GPTRec(
            V, hidden_size=16, blocks=1, heads=2, max_length=3, max_slate=K, dropout=0.1
        ).eval()

    return make


@pytest.fixture
def environment() -> Callable[..., ListGenerationVectorEnv]:
    """Make an environment that pays ``gains`` for six histories."""

    def make(
        gains: Callable[[np.ndarray, object], np.ndarray], group_size: int = 4
    ) -> ListGenerationVectorEnv:
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
        return ListGenerationVectorEnv(task, num_envs=6 * group_size, group_size=group_size)

    return make
