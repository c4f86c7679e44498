"""Weights and checkpoints of a training, without pickle."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from genrec.config.errors import RunError
from genrec.config.writing import replacing
from genrec.training.early_stopping import EarlyStopping, Tensors
from genrec.training.run_directory import RESTORE

CHECKPOINT = "checkpoint.safetensors"
FORMAT = "3"  # of the file's metadata; changes with every change of what is stored
CHECKSUM = "sha256"  # key of the metadata of every file of tensors


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, so that no reader sees half of the file.

    Tensors that share memory are each written in full, which safetensors would refuse.

    Args:
        path: file.
        tensors: by name.
        metadata: of the file; a checksum of the tensors where there is none. It is not added to
            others: safetensors writes several in a random order, and equal weights must make equal
            files.

    Raises:
        OSError: if the file cannot be written, for instance because the disk is full.
    """
    copies = _copies(tensors)
    described = {CHECKSUM: _checksum(copies)} if metadata is None else dict(metadata)
    with replacing(path) as temporary:
        try:
            save_file(copies, temporary, metadata=described)
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            number = int(code[1])
            raise OSError(number, os.strerror(number), str(path)) from error


def load_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file.

    Raises:
        RunError: if there is no such file, or it is damaged.
    """
    tensors, described = _read(path)
    if CHECKSUM in described and described[CHECKSUM] != _checksum(tensors):
        raise RunError(f"{path} is damaged (its checksum differs): {RESTORE}")
    return tensors


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors of a safetensors file, and its metadata."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
        return load_file(path), metadata
    except FileNotFoundError:
        raise RunError(f"{path} does not exist: {RESTORE}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): {RESTORE}") from None


def _copies(tensors: Tensors) -> Tensors:
    """Contiguous copies on the CPU."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _checksum(tensors: Tensors, text: str = "") -> str:
    """SHA-256 hash of a text, and of the names and values of tensors on the CPU."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_weights(module: nn.Module, tensors: Tensors, path: Path) -> None:
    """Load tensors into a module that has exactly these.

    Args:
        module: receives the weights.
        tensors: by name.
        path: file that they are from, for messages.

    Raises:
        RunError: if a tensor is missing, is not of the module, has another shape, or holds a number
            that is not finite.
    """
    expected = module.state_dict()
    wrong = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    wrong += [f"{name} does not belong to it" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        found, shape = tensors[name], tuple(expected[name].shape)
        if tuple(found.shape) != shape:
            wrong.append(f"{name} has the shape {tuple(found.shape)}, not {shape}")
        elif not bool(found.isfinite().all()):
            wrong.append(f"{name} holds a number that is not finite")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RunError(f"{path} does not fit the model of its run: {min(wrong)}{more}; {RESTORE}")
    module.load_state_dict(tensors)


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
        text, tensors = json.dumps(content), _copies(tensors)
        metadata = {"format": FORMAT, "content": text, CHECKSUM: _checksum(tensors, text)}
        save_tensors(self.directory / CHECKPOINT, tensors, metadata)

    def restore(self) -> dict[str, Any]:
        """Restore the checkpoint of the directory, if there is one.

        Returns:
            The progress that was saved; empty where there is no checkpoint.

        Raises:
            RunError: if another version of genrec wrote it in another format, or it is damaged.
        """
        if self.directory is None or not (self.directory / CHECKPOINT).exists():
            return {}
        file = self.directory / CHECKPOINT
        tensors, content = _read_checkpoint(file)
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


def _read_checkpoint(file: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of a checkpoint, and the rest of its content."""
    tensors, metadata = _read(file)
    if metadata.get("format") != FORMAT:
        raise RunError(
            f"{file} was written by another version of genrec: resume the training with that"
            " version, or remove the file to start it again"
        )
    if metadata[CHECKSUM] != _checksum(tensors, metadata["content"]):
        raise RunError(
            f"{file} is damaged (its checksum differs): restore it, or remove it to start the"
            " training again"
        )
    content: dict[str, Any] = json.loads(metadata["content"])
    return tensors, content


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
