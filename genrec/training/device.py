"""Devices and precision."""

import contextlib
import math
import os
import platform
import time
import warnings
from collections.abc import Iterator
from typing import Literal, TypeVar

import torch

from genrec.config.errors import GenrecError
from genrec.config.model import PrecisionConfig

# Multiplications of a product that is not worth timing, on other devices and on a GPU
SMALL = (2**24, 2**31)
WORTH_IT = 1.2  # times as fast as float32 bfloat16 must be: below, the timing may mislead


def choose_device(name: str = "auto") -> torch.device:
    """The named device; for "auto" the first that is available of cuda, mps and cpu.

    Raises:
        GenrecError: if the named device is not available.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    # Read by CUDA when it starts: without it, its matrix products may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if name == "auto":
        return torch.device(available[0])
    if name.split(":")[0] not in available:
        raise GenrecError(
            f"device {name!r} is not available here; choose auto or one of {', '.join(available)}"
        )
    return torch.device(name)


def describe_machine(device: torch.device) -> dict[str, str]:
    """What the numbers of a run may depend on besides its settings and versions.

    Sums are formed in another order with other instructions, threads or devices: trained weights
    are reproducible to the last bit only where all of these are the same.
    """
    facts = {
        "device": device.type,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
    return facts


ConfigT = TypeVar("ConfigT", bound=PrecisionConfig)


def with_precision(config: ConfigT, device: torch.device, shape: tuple[int, int, int]) -> ConfigT:
    """The config with its precision decided: "auto" times a product of the training's own shape.

    Small products stay in float32: there is little to gain, and their timing says little.

    Args:
        config: of a training.
        device: that it runs on.
        shape: rows, inner width and columns of its largest products.
    """
    if config.bf16 != "auto":
        return config
    small = math.prod(shape) < SMALL[device.type == "cuda"]
    pays = not small and bfloat16_speedup(device, shape) >= WORTH_IT
    return config.model_copy(update={"bf16": pays})


def bfloat16_speedup(
    device: torch.device, shape: tuple[int, int, int] = (768, 768, 768), repeats: int = 5
) -> float:
    """Time of a float32 product and its gradients over their time in bfloat16, with conversions.

    Above 1 bfloat16 is faster. A flag of the processor does not tell: some emulate its
    instructions, or run them at a lower rate.

    Args:
        device: to measure.
        shape: rows, inner width and columns of the product; on a processor they are measured up
            to a limit, as the ratio does not change any more.
        repeats: of which the fastest counts.
    """
    rows, width, columns = shape
    if device.type != "cuda":
        rows, columns = min(rows, 2048), min(columns, 4096)
    left = torch.ones(rows, width, device=device, requires_grad=True)
    right = torch.ones(width, columns, device=device, requires_grad=True)
    seconds = {}
    for enabled in (False, True):
        durations = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            with autocast(device, enabled):
                product = left @ right
            gradients = torch.autograd.grad(product.sum(), (left, right))
            gradients[0][0, 0].item()  # reading a number waits for the device
            durations.append(time.perf_counter() - start)
        seconds[enabled] = min(durations[1:])  # the first product also pays for the set-up
    return seconds[False] / seconds[True]


@contextlib.contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Context in which a GPU adds up in the same order every time.

    On a CPU it does so anyway. What has no such implementation on a GPU still runs.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)


def autocast(device: torch.device, bf16: bool | Literal["auto"]) -> torch.autocast:
    """Context in which matrix products are computed in bfloat16; in float32 while undecided.

    Weights, sums and losses stay float32.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16 is True)
