"""Checkpoints of a training, without pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

Tensors = dict[str, torch.Tensor]


CHECKPOINT = "checkpoint.safetensors"


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors through a temporary file; tensors that share memory are written
    one by one."""
    temporary = path.with_suffix(path.suffix + ".part")
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    save_file(own, temporary, metadata=dict(metadata or {}))
    temporary.replace(path)


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    best: Tensors,
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Everything needed to go on: weights, best weights, optimiser moments, counters. No pickle.

    Args:
        folder: receives ``checkpoint.safetensors``; the counters are its metadata, so that both
            change at once.
        module: what is trained.
        best: the best weights so far, may be empty.
        optimizer: its tensors are saved.
        progress: counters and the states of random generators, JSON-serialisable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()
        }
    save_tensors(folder / CHECKPOINT, tensors, {"progress": json.dumps(progress)})


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], Tensors] | None:
    """Restore what ``save_checkpoint`` wrote; returns its counters and best weights, or None if
    there is none."""
    if not (folder / CHECKPOINT).exists():
        return None
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    tensors = load_file(folder / CHECKPOINT)
    module.load_state_dict(
        {n.removeprefix("module/"): t for n, t in tensors.items() if n.startswith("module/")}
    )
    states: dict[int, Tensors] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            states.setdefault(int(index), {})[key] = value
    content = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": content["param_groups"]})
    best = {n.removeprefix("best/"): t for n, t in tensors.items() if n.startswith("best/")}
    return progress, best


def drop_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished stage."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
