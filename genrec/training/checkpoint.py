"""Checkpoints of a training, without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from genrec.config.errors import RunError
from genrec.training.early_stopping import EarlyStopping, Tensors

CHECKPOINT = "checkpoint.safetensors"
FORMAT = "2"  # of the file's metadata; changes with every change of what is stored


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors through a temporary file, so that no reader sees half of it.

    Tensors that share memory are each written in full, which safetensors would refuse.
    """
    temporary = path.with_suffix(path.suffix + ".part")
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    save_file(copies, temporary, metadata=dict(metadata or {}))
    temporary.replace(path)


@dataclass(frozen=True, eq=False)
class RandomState:
    """The random generators of a training, as one state that JSON can hold.

    Attributes:
        numpy_rng: draws batches.
        torch_rng: draws negatives.
        device: its global generator draws dropout masks; that of the CPU is part of the state on
            every device.
    """

    numpy_rng: np.random.Generator
    torch_rng: torch.Generator
    device: torch.device

    def state(self) -> dict[str, Any]:
        """The states of all generators."""
        states = {
            "numpy": self.numpy_rng.bit_generator.state,
            "torch": self.torch_rng.get_state().tolist(),
            "dropout": torch.get_rng_state().tolist(),
        }
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device).tolist()
        return states

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned, perhaps on a machine with another device."""
        self.numpy_rng.bit_generator.state = state["numpy"]
        self.torch_rng.set_state(_byte_tensor(state["torch"]))
        torch.set_rng_state(_byte_tensor(state["dropout"]))
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(_byte_tensor(state["cuda"]), self.device)


def _byte_tensor(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class Checkpointer:
    """Saves a training in ``checkpoint.safetensors`` of its run directory, and restores it.

    The file holds the weights, the best weights and the tensors of the optimizer; its metadata
    holds everything else as JSON, so that all of it is replaced at once.

    Attributes:
        directory: run directory; None neither saves nor restores.
        module: what is trained.
        optimizer: of the module.
        stopping: the best validation so far and its weights.
        random: generators whose states are part of a checkpoint; None where a training seeds its
            generators in every step.
    """

    directory: Path | None
    module: nn.Module
    optimizer: torch.optim.Optimizer
    stopping: EarlyStopping
    random: RandomState | None = None

    def save(self, progress: Mapping[str, Any]) -> None:
        """Write the checkpoint.

        Args:
            progress: how far the training is, such as its epoch; JSON-serialisable.
        """
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        tensors = _prefixed("module", self.module.state_dict())
        tensors |= _prefixed("best", self.stopping.weights)
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= _prefixed(f"optimizer/{index}", state)
        content = {"progress": dict(progress), "stopping": self.stopping.state()}
        if self.random is not None:
            content["random"] = self.random.state()
        # Metadata of the same file: a process that is killed leaves no mixture of two steps.
        metadata = {"format": FORMAT, "content": json.dumps(content)}
        save_tensors(self.directory / CHECKPOINT, tensors, metadata)

    def restore(self) -> dict[str, Any]:
        """Restore the checkpoint of the directory, if there is one.

        Returns:
            The progress that was saved; empty where there is no checkpoint.

        Raises:
            RunError: if another version of genrec wrote it in another format.
        """
        if self.directory is None or not (self.directory / CHECKPOINT).exists():
            return {}
        content = _read_content(self.directory / CHECKPOINT)
        tensors = load_file(self.directory / CHECKPOINT)
        # In place, so that tied weights stay tied and the optimizer keeps its parameters.
        self.module.load_state_dict(_selected("module", tensors))
        states: dict[int, Tensors] = {}
        for name, value in _selected("optimizer", tensors).items():
            index, key = name.split("/")
            states.setdefault(int(index), {})[key] = value
        # Hyperparameters of the groups come from the settings of this run, not from the file.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.stopping.load_state(content["stopping"], _selected("best", tensors))
        if self.random is not None:
            self.random.load_state(content["random"])
        progress: dict[str, Any] = content["progress"]
        return progress


def _read_content(file: Path) -> dict[str, Any]:
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise RunError(
            f"{file} was written by another version of genrec: resume the training with that"
            " version, or remove the file to start it again"
        )
    content: dict[str, Any] = json.loads(metadata["content"])
    return content


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> Tensors:
    return {f"{prefix}/{name}": torch.as_tensor(value) for name, value in tensors.items()}


def _selected(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose name starts with ``prefix/``, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def drop_checkpoint(directory: Path) -> None:
    """Remove the checkpoint of a finished stage."""
    (directory / CHECKPOINT).unlink(missing_ok=True)
