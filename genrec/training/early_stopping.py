"""Early stopping and the weights of the best validation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


@dataclass(eq=False)
class EarlyStopping:
    """Keeps the weights of the best validation and counts validations without an improvement.

    Attributes:
        metric: name of the monitored metric.
        mode: whether a larger ("max") or a smaller ("min") value is better; an equal value is no
            improvement.
        patience: validations without an improvement after which ``should_stop`` is true; None
            never stops a training.
        best: metrics of the best validation, empty before the first.
        weights: weights of the module at the best validation, empty before the first.
        validations: number of validations.
        since_best: validations since the best one that count against the patience.
    """

    metric: str
    mode: Literal["min", "max"]
    patience: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    weights: Tensors = field(default_factory=dict)
    validations: int = 0
    since_best: int = 0

    def step(self, metrics: Mapping[str, float], module: nn.Module, *, counts: bool = True) -> bool:
        """Take note of a validation and keep the weights if it is the best so far.

        Args:
            metrics: of the validation, ``metric`` among them; whatever else is in it, such as the
                epoch, is kept with the best.
            module: the module that was validated.
            counts: whether the patience is used up by this validation if it is no improvement.

        Returns:
            Whether it is the best so far.
        """
        self.validations += 1
        improved = self._is_better(metrics[self.metric])
        if improved:
            self.best, self.since_best = dict(metrics), 0
            # Copies: training continues to change the tensors of the state dictionary.
            self.weights = {name: value.clone() for name, value in module.state_dict().items()}
        elif counts:
            self.since_best += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether the patience is used up."""
        return self.patience is not None and self.since_best >= self.patience

    @property
    def best_value(self) -> float:
        """Best value of the metric; 0 before the first validation."""
        return float(self.best.get(self.metric, 0.0))

    def restore_best(self, module: nn.Module) -> dict[str, float]:
        """Load the best weights into the module and put it in evaluation mode.

        Returns:
            The metrics of the best validation.
        """
        module.load_state_dict(self.weights)
        module.eval()
        return dict(self.best)

    def state(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {
            "best": self.best,
            "validations": self.validations,
            "since_best": self.since_best,
        }

    def load_state(self, state: Mapping[str, Any], weights: Tensors) -> None:
        """Restore what ``state`` returned, and the weights of the best validation."""
        self.best, self.weights = dict(state["best"]), weights
        self.validations, self.since_best = state["validations"], state["since_best"]

    def _is_better(self, value: float) -> bool:
        if self.mode == "max":
            return value > self.best.get(self.metric, -math.inf)
        return value < self.best.get(self.metric, math.inf)
