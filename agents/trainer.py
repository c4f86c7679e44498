"""What the trainers of aligned policies have in common: their interface, and validation with
checkpoints.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from gymnasium.vector import VectorEnv
from torch import nn

from genrec.agents.config import PolicyOptimizationConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.rewards.check import locate_errors
from genrec.training.checkpoint import Checkpointer
from genrec.training.early_stopping import EarlyStopping
from genrec.training.interruption import Interruption
from genrec.training.logger import RunLogger

logger = logging.getLogger(__name__)

Validate = Callable[[GPTRec], Mapping[str, float]]
"""Measures the greedy lists of a policy. Its "objective" chooses the weights that are kept.

Where it gives a "tail_limit", weights that training has changed are kept only if their
"tail_concentration" (``genrec.metrics.exposure``) is no higher.
"""

ConfigT = TypeVar("ConfigT", bound=PolicyOptimizationConfig, contravariant=True)


class Trainer(Protocol[ConfigT]):
    """The interface of ``train`` of every agent: fine-tune a policy for the rewards of its lists.

    Implemented by ``genrec.agents.ppo.train`` (PPOConfig), ``genrec.agents.sb3.train``
    (MaskablePPOConfig) and ``genrec.agents.trl.train`` (GRPOConfig).
    """

    def __call__(
        self,
        policy: GPTRec,
        env: VectorEnv[Any, Any, Any],
        *,
        validate: Validate,
        config: ConfigT,
        k: int,
        seed: int = 0,
        directory: Path | None = None,
        quiet: bool = False,
        trackers: Sequence[str] = (),
    ) -> dict[str, float]:
        """Train the policy in place; it ends with its best validated weights.

        The untouched policy is validated first and is a candidate, so that a training that only
        does harm, or whose lists all end with the same few items, returns it.

        Args:
            policy: policy to train; it starts as the student.
            env: list-generation vector environment, see ``rollout.collect``.
            validate: measures the greedy policy; its "objective" chooses the weights to keep.
            config: hyperparameters of the agent.
            k: list length.
            seed: random seed.
            directory: receives metrics and a checkpoint; a checkpoint found there is resumed.
            quiet: whether to show no progress.
            trackers: names of further trackers of the metrics.

        Returns:
            The validation of the best weights and the update that they are from.

        Raises:
            DivergenceError: if a loss or gradient is no longer finite.
            Interrupted: after Ctrl-C, SIGTERM or SIGHUP, once the checkpoint is saved.
            RewardError: if a reward raises or does not give finite gains; the last checkpoint
                stays.
        """
        ...


@dataclass(eq=False)
class PolicyValidation:
    """Validates the greedy policy at intervals, keeps its best weights and saves checkpoints.

    Attributes:
        policy: policy that is validated.
        checkpointer: of the module that is trained: the policy, or the policy with a critic.
        validate: measures the greedy policy.
        config: says how many updates there are and how often the policy is validated.
        log: receives the validations.
        interruption: whether the user asked to stop.
        show: shows progress, as (updates done, note).
        extra: further values that a checkpoint holds, such as an adapted coefficient.
        update: number of updates in the last checkpoint.
        resumed: number of updates in the checkpoint that was resumed; None where there was none.
        refused: validations whose weights were not kept because of their tails.
    """

    policy: GPTRec
    checkpointer: Checkpointer
    validate: Validate
    config: PolicyOptimizationConfig
    log: RunLogger
    interruption: Interruption
    show: Callable[[int, str], None] = lambda update, note: None
    extra: dict[str, float] = field(default_factory=dict)
    update: int = 0
    resumed: int | None = field(default=None, init=False)
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if progress := self.checkpointer.restore():
            self.update, self.extra = progress["update"], progress["extra"]
            self.resumed = self.update
        self.log.resume(-1 if self.resumed is None else self.update)

    def step(self, update: int) -> None:
        """Validate, keep the best weights and save, if it is time; save if the user asked to stop.

        Args:
            update: number of updates that are complete.

        Raises:
            Interrupted: if the user asked to stop, once everything is saved.
        """
        due = update % self.config.evaluate_every == 0 or update == self.config.updates
        if update != self.resumed:  # what a checkpoint was saved after is not repeated
            if due:
                self._validate(update)
            # No validation of its own: an interruption must not change which weights are the best.
            if due or self.interruption.requested:
                self.update = update
                self.checkpointer.save({"update": update, "extra": self.extra})
        self.interruption.stop_if_requested(f"before update {update + 1}")

    def _validate(self, update: int) -> None:
        with locate_errors(f"validation after update {update}"):
            measured = dict(self.validate(self.policy))
        self.log.log_metrics(update, {f"val/{name}": value for name, value in measured.items()})
        # The untouched policy is a candidate whatever its tails are.
        if update and has_shared_tails(measured):
            self.refused += 1
            return
        # The weights of the whole module, so that a critic is restored as it was with its policy.
        checkpointer = self.checkpointer
        checkpointer.stopping.step({"update": update, **measured}, checkpointer.module)

    def show_update(self, update: int, reward: float) -> None:
        """Show the progress after an update, with the mean reward of its lists."""
        best = self.checkpointer.stopping.best_value
        self.show(update, f"reward {reward:.4f}, best val/objective {best:.4f}")

    def restore_best(self) -> dict[str, float]:
        """Load the best weights; their validation and the update that they are from.

        Warns if training has changed nothing because all later lists had tails in common.
        """
        best = self.checkpointer.stopping.restore_best(self.checkpointer.module)
        if self.refused and best["update"] == 0:
            logger.warning(
                "the policy that training started from is kept: no later one was better without"
                " ending the lists of many users with the same few items (tail_concentration above"
                " %.3f). Raise align.kl, or lower the weight of the reward",
                best["tail_limit"],
            )
        self.policy.eval()
        return best


def has_shared_tails(measured: Mapping[str, float]) -> bool:
    """Whether the tails of validated lists are more concentrated than their limit.

    >>> has_shared_tails({"objective": 1.0})
    False
    >>> has_shared_tails({"tail_concentration": 0.9, "tail_limit": 0.3})
    True
    """
    return measured.get("tail_concentration", 0.0) > measured.get("tail_limit", math.inf)


def policy_checkpointer(
    directory: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer
) -> Checkpointer:
    """A checkpointer that keeps the weights with the largest validated objective.

    Trainers seed their generators in every update, so that it saves no random states.
    """
    return Checkpointer(directory, module, optimizer, EarlyStopping("objective", "max"))


def update_seed(seed: int, update: int) -> int:
    """Random seed of an update, from that of the training.

    Every update has a seed of its own, so that a resumed training draws what it would have drawn.
    Those of two trainings do not overlap below a million updates.
    """
    return seed * 1_000_003 + update
