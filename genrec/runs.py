"""A run and its folder: device and precision, log of metrics, progress, checkpoints, interruption."""

import contextlib
import json
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

Tensors = dict[str, torch.Tensor]
CHECKPOINT = "checkpoint.safetensors"


class RunError(ValueError):
    """A run folder cannot be used as asked; the message says why and what to do."""


def choose_device(name: str = "auto") -> torch.device:
    """The device by name, or the best one there is: cuda, then mps, then cpu.

    Raises:
        ValueError: if the named device is not available here.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        return torch.device(available[0])
    if name.split(":")[0] not in available:
        raise ValueError(f"device {name!r} is not available here; choose auto or one of {', '.join(available)}")
    return torch.device(name)


def half_precision_pays(device: torch.device) -> bool:
    """Whether matrix products are at least twice as fast in bfloat16.

    On recent GPUs, and on CPUs that have instructions for it: AMX tiles, or AVX-512 with BF16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """Matrix products in bfloat16 inside the context; weights, sums and losses stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and half_precision_pays(device))


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    installed = {name: metadata.version(name) for name in ("genrec", "torch", "transformers", "gymnasium", "numpy")}
    return {"python": platform.python_version(), **installed}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON through a temporary file, so that a reader never sees half of it."""
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: if the file is missing or broken.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} does not exist: {_why_not(path.parent)}") from None
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is not valid JSON ({error}); the run that wrote it may have been cut off") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no JSON object")
    return content


def _why_not(folder: Path) -> str:
    """Why a folder is not a finished run, as far as its files tell."""
    if (folder / "plan.json").exists() and not (folder / "run.json").exists():
        return f"{folder} is not finished; the command that began it goes on with it"
    if found := sorted(each.parent.relative_to(folder) for each in folder.glob("*/seed-*/run.json")):
        return f"{folder} is a sweep; give one of its runs, such as {folder / found[0]}"
    return f"is {folder} a genrec run folder?"


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors through a temporary file; tensors that share memory are written one by one."""
    temporary = path.with_suffix(path.suffix + ".part")
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    save_file(own, temporary, metadata=dict(metadata or {}))
    temporary.replace(path)


@dataclass
class Logbook:
    """Metrics of a run: one JSON object a line in ``metrics.jsonl`` and TensorBoard scalars beside it.

    Attributes:
        folder: the run folder; None keeps nothing.
        stage: what is running, the prefix of all scalars.
        quiet: no progress bar. There is none either where standard error is not a terminal.
    """

    folder: Path | None
    stage: str
    quiet: bool = False
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._board = None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"))

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Append values of a step."""
        if self.folder is None or self._board is None:
            return
        seconds = round(time.monotonic() - self.started, 2)
        line = {"stage": self.stage, "step": step, "seconds": seconds, **values}
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{self.stage}/{name}", value, step)

    def say(self, message: str) -> None:
        """A line for the person who watches, on standard error."""
        if not self.quiet:
            Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)

    def warn(self, message: str) -> None:
        """A warning on standard error, also where it is quiet."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"warning: {message}", markup=False)

    @contextlib.contextmanager
    def progress(self, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        """A progress bar; call the yielded function with (steps done, a note such as the latest metric)."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        hidden = self.quiet or not sys.stderr.isatty()
        with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
            task = bar.add_task(self.stage, total=total, completed=done, note="")
            yield lambda steps, note: bar.update(task, completed=steps, note=note)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Interruption:
    """Set by Ctrl-C: a loop finishes its step, saves and leaves. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first SIGINT inside the context into ``Interruption.requested``."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once, without saving\n")
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)


class Interrupted(Exception):
    """A run was stopped by the user after saving; the message says how to go on."""


def save_checkpoint(
    folder: Path, module: nn.Module, best: Tensors, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Everything needed to go on: weights, best weights, optimiser moments, counters. No pickle.

    Args:
        folder: receives ``checkpoint.safetensors``; the counters are its metadata, so that both change at once.
        module: what is trained.
        best: the best weights so far, may be empty.
        optimizer: its tensors are saved.
        progress: counters and the states of random generators, JSON-serialisable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
    save_tensors(folder / CHECKPOINT, tensors, {"progress": json.dumps(progress)})


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], Tensors] | None:
    """Restore what ``save_checkpoint`` wrote; returns its counters and best weights, or None if there is none."""
    if not (folder / CHECKPOINT).exists():
        return None
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    tensors = load_file(folder / CHECKPOINT)
    module.load_state_dict({n.removeprefix("module/"): t for n, t in tensors.items() if n.startswith("module/")})
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
