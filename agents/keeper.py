"""What every trainer of a policy shares: which weights are kept, and where a stopped training goes
on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from genrec.agents.gptrec.model import GPTRec
from genrec.config.reading import AlignSettings
from genrec.rewards.check import locate_errors
from genrec.training.checkpoint import Tensors, load_checkpoint, save_checkpoint
from genrec.training.interruption import Interrupted, Interruption
from genrec.training.logger import Logbook


@dataclass(eq=False)
class Keeper:
    """Validates the greedy policy now and then, keeps its best weights and saves a checkpoint; goes
    on from one.

    The untouched policy is a candidate too, so a training that only harms returns it.

    Attributes:
        policy: that is trained.
        module: whose weights are kept: the policy itself, or what it is trained inside of.
        optimizer: of the module.
        validate: measures the greedy policy; its "objective" chooses the weights to keep.
        settings: how often to validate, and how many updates there are.
        log: receives the validations; its folder receives the checkpoint, and may hold one to go on
            from.
        stop: set by Ctrl-C.
        bar: shows (updates done, note).
        progress: the update reached, the validation of the best weights, and what else a checkpoint
            must know.
        best: the best weights so far.
    """

    policy: GPTRec
    module: nn.Module
    optimizer: torch.optim.Optimizer
    validate: Callable[[GPTRec], Mapping[str, float]]
    settings: AlignSettings
    log: Logbook
    stop: Interruption
    bar: Callable[[int, str], None] = lambda update, note: None
    progress: dict[str, Any] = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress = {"update": 0, "best": {}} | self.progress
        folder = self.log.folder
        if folder and (found := load_checkpoint(folder, self.module, self.optimizer)):
            self.progress, self.best = self.progress | found[0], found[1]

    @property
    def update(self) -> int:
        """Updates complete at the last validation."""
        return int(self.progress["update"])

    def arrive(self, update: int) -> None:
        """After so many updates: where it is time or the user asked to stop, validate, keep the
        best and save.

        Raises:
            Interrupted: where the user asked to stop, once all is saved.
        """
        due = update % self.settings.evaluate_every == 0 or update == self.settings.updates
        if not due and not self.stop.requested:
            return
        with locate_errors(f"validation after update {update}"):
            measured = dict(self.validate(self.policy))
        self.log.record(update, {f"valid {name}": value for name, value in measured.items()})
        if measured["objective"] > self.progress["best"].get("objective", -np.inf):
            self.best = {name: value.clone() for name, value in self.module.state_dict().items()}
            self.progress["best"] = {"update": update, **measured}
        self.progress["update"] = update
        if self.log.folder:
            save_checkpoint(self.log.folder, self.module, self.best, self.optimizer, self.progress)
        if self.stop.requested:
            raise Interrupted(
                f"stopped before update {update + 1}; the same command goes on from there"
            )

    def show(self, update: int, reward: float) -> None:
        """Move the progress bar."""
        self.bar(
            update,
            f"reward {reward:.4f}  best valid objective {self.progress['best']['objective']:.4f}",
        )

    def give(self) -> dict[str, float]:
        """Put the best weights back; their validation and the update they come from."""
        self.module.load_state_dict(self.best)
        self.policy.eval()
        return dict(self.progress["best"])
