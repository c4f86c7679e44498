"""Hyperparameters of the agents: what each reads, and combinations that cannot work."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from genrec.agents.config import (
    DistillationConfig,
    GPTRecConfig,
    GRPOConfig,
    MaskablePPOConfig,
    PPOConfig,
)

SHARED = {
    "updates",
    "histories",
    "group_size",
    "learning_rate",
    "epochs",
    "minibatches",
    "clip",
    "entropy",
    "evaluate_every",
}


def test_every_agent_has_the_keys_that_it_reads_and_no_others():
    of_ppo = {"discount", "gae_lambda", "baseline", "kl", "kl_target", "bf16"}
    assert set(PPOConfig.model_fields) == SHARED | of_ppo
    assert set(MaskablePPOConfig.model_fields) == SHARED | {"discount", "gae_lambda"}
    assert set(GRPOConfig.model_fields) == SHARED | {"kl", "bf16"}


@pytest.mark.parametrize(
    ("config", "key"), [(MaskablePPOConfig, "kl"), (GRPOConfig, "kl_target"), (PPOConfig, "beta")]
)
def test_a_key_that_an_agent_does_not_read_is_an_error(config, key):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        config(**{key: 0.1})


def test_every_key_has_a_meaning():
    configs = (PPOConfig, MaskablePPOConfig, GRPOConfig, GPTRecConfig, DistillationConfig)
    fields = [field for config in configs for field in config.model_fields.values()]
    assert all(field.description for field in fields)


def test_a_group_of_one_list_needs_the_critic():
    with pytest.raises(ValidationError, match=r"raise align\.group_size, or use the critic"):
        PPOConfig(group_size=1)
    assert PPOConfig(group_size=1, baseline="critic").group_size == 1


def test_a_kl_target_needs_a_penalty_to_adapt():
    with pytest.raises(
        ValidationError,
        match=r"align\.kl_target is 0\.05, but there is no penalty .* align\.kl, .* to 0\.1",
    ):
        PPOConfig(kl=0.0, kl_target=0.05)
    assert PPOConfig(kl=0.1, kl_target=0.05).kl_target == 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, r"raise align\.group_size to 2 or more"),
        (
            {"minibatches": 5, "histories": 6, "group_size": 4},
            r"24 lists into equal minibatches: align\.minibatches=5 does not divide",
        ),
    ],
)
def test_what_grpo_cannot_express(changes, message):
    with pytest.raises(ValidationError, match=message):
        GRPOConfig(**changes)


def test_settings_load_no_torch():
    code = "import genrec.agents.config, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
