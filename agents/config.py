"""Settings of GPTRec, of its distillation, and of the three agents that align it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from genrec.config.model import (
    Config,
    Count,
    Depth,
    Dropout,
    LearningRate,
    Length,
    Lists,
    PrecisionConfig,
    Share,
    Temperature,
    Weight,
    Width,
)


class GPTRecConfig(Config):
    """Size of a GPTRec."""

    hidden_size: Width = 64
    """Width. A student as wide as its teacher, with as many heads, starts from the teacher's
    transformer."""
    blocks: Depth = 2
    """Number of GPT-2 blocks."""
    heads: Count = 1
    """Attention heads; hidden_size must be a multiple."""
    max_length: Length = 200
    """How many of the newest items of a history are read."""
    dropout: Dropout = 0.0
    """Dropout of embeddings and residual branches during distillation."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"student.hidden_size is {self.hidden_size}, which is no multiple of the"
                f" {self.heads} heads: change one of them"
            )
        return self


class DistillationConfig(PrecisionConfig):
    """How a GPTRec learns the lists of its teacher."""

    demonstrations: Lists = 60_000
    """Histories (random prefixes of training sequences) for which the teacher writes a list."""
    pool: Count = 100
    """The teacher's best items kept per history, with scores; the first K are its list."""
    hard: Share = 0.8
    """Weight of the teacher's list as target; the rest is its distribution over the pool."""
    temperature: Temperature = 1.0
    """Temperature of the teacher's distribution over the pool."""
    epochs: Count = 2
    """Passes over the demonstrations."""
    learning_rate: LearningRate = 2e-3
    """Peak learning rate, after 100 steps of warm-up; decays linearly to 0."""
    lists_per_step: Count = 32
    """Lists per batch for histories of full length; more for shorter ones."""


class PolicyOptimizationConfig(Config):
    """What all agents read."""

    updates: Count = 400
    """Rollouts, each followed by one update."""
    histories: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Histories per rollout."""
    group_size: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Lists written per history."""
    learning_rate: LearningRate = 5e-4
    """Initial learning rate of AdamW; decays linearly to 5 % of it."""
    epochs: Count = 2
    """Passes over a rollout."""
    minibatches: Count = 2
    """Gradient steps per pass."""
    clip: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Probability ratios are clipped to 1 ± this."""
    entropy: Weight = 0.0
    """Weight of an entropy bonus, per position."""
    evaluate_every: Count = 25
    """Updates between validations of the greedy policy."""


class PPOConfig(PrecisionConfig, PolicyOptimizationConfig):
    """Proximal policy optimisation over lists."""

    discount: Share = 1.0
    """Discount factor gamma; with 1 the return of a list is its metric."""
    gae_lambda: Share = 0.95
    """Lambda of generalised advantage estimation (baseline=critic)."""
    baseline: Literal["group", "critic"] = "group"
    """What a return is compared with: the mean return of the history's other lists, or a learnt
    value (GAE)."""
    kl: Weight = 0.2
    """Weight of the KL divergence from the policy that alignment starts from, per position. Without
    it the ends of lists can become the same for everybody."""
    kl_target: Annotated[float, Field(gt=0, le=1_000)] | None = None
    """KL divergence per position that the penalty is adapted to; kl is then its initial weight."""

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.baseline == "group" and self.group_size < 2:
            raise ValueError(
                "the group baseline needs at least 2 lists per history: raise align.group_size, or"
                " use the critic (align.baseline=critic)"
            )
        if self.kl_target and not self.kl:
            raise ValueError(
                f"align.kl_target is {self.kl_target:g}, but there is no penalty to adapt: set"
                " align.kl, its initial weight, above 0, for instance to 0.1"
            )
        return self


class MaskablePPOConfig(PolicyOptimizationConfig):
    """MaskablePPO of sb3-contrib; it always has a critic (GAE)."""

    discount: Share = 1.0
    """Discount factor gamma; with 1 the return of a list is its metric."""
    gae_lambda: Share = 0.95
    """Lambda of generalised advantage estimation."""


class GRPOConfig(PrecisionConfig, PolicyOptimizationConfig):
    """GRPO of TRL; it compares the lists of a history with each other."""

    kl: Weight = 0.0
    """Weight of the KL divergence from the policy that alignment starts from, per position."""

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.group_size < 2:
            raise ValueError(
                "GRPO compares the lists of a history: raise align.group_size to 2 or more"
            )
        lists = self.histories * self.group_size
        if lists % self.minibatches:
            raise ValueError(
                f"TRL cuts {lists} lists into equal minibatches: align.minibatches="
                f"{self.minibatches} does not divide align.histories x align.group_size"
            )
        return self
