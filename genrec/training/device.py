"""Devices and precision."""

import torch

from genrec.config.errors import GenrecError


def choose_device(name: str = "auto") -> torch.device:
    """The device by name, or the best one there is: cuda, then mps, then cpu.

    Raises:
        GenrecError: if the named device is not available here.
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

    On recent GPUs, and on CPUs that have instructions for it: AMX tiles, or AVX-512 with BF16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """Matrix products in bfloat16 inside the context; weights, sums and losses stay float32."""
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=enabled and half_precision_pays(device)
    )
