"""Devices and precision."""

import torch

from genrec.config.errors import GenrecError


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
    if name == "auto":
        return torch.device(available[0])
    if name.split(":")[0] not in available:
        raise GenrecError(
            f"device {name!r} is not available here; choose auto or one of {', '.join(available)}"
        )
    return torch.device(name)


def half_precision_pays(device: torch.device) -> bool:
    """Whether matrix products are at least twice as fast in bfloat16.

    They are on recent GPUs, and on CPUs that have instructions for them: AMX tiles, or AVX-512 with
    BF16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """Context in which matrix products are computed in bfloat16, where that is faster.

    Weights, sums and losses stay float32.
    """
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=enabled and half_precision_pays(device)
    )
