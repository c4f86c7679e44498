"""What genrec finds on this machine: versions, devices, folders, rewards."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Annotated

import typer

PACKAGES = ("numpy", "pandas", "gymnasium", "transformers", "stable-baselines3", "trl")


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Show what genrec finds on this machine. Nothing is changed; the exit status is 0 where it
    could look.

    \b
    Examples:
      genrec doctor
      genrec doctor --json
    """  # noqa: D301
    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    view = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        view.add_row(name, value)
    Console().print(view)


def examine(runs: Path = Path("runs")) -> dict[str, str]:
    """Name -> finding, in the order of the table.

    Args:
        runs: where run folders go; looked at, not made.
    """
    found = {
        "genrec": _version("genrec"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    found |= _torch_facts()
    found |= {name: _version(name) for name in PACKAGES}
    return found | {
        "dataset cache": _cache(),
        "runs folder": _writable(runs),
        "rewards": _rewards(),
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _torch_facts() -> dict[str, str]:
    import torch

    from genrec.training.device import WORTH_IT, bfloat16_speedup

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices = [f"cuda ({', '.join(gpus)})"] if gpus else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    best = "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu"
    speedup = bfloat16_speedup(torch.device(best))
    chosen = "bfloat16" if speedup >= WORTH_IT else "float32"
    return {
        "torch": str(torch.__version__),
        "devices": ", ".join([*devices, "cpu"]),
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": f"products on {best} {speedup:.1f} times as fast as float32: bf16=auto takes"
        f" {chosen} for large ones",
    }


def _cache() -> str:
    from genrec.data.download import cache_folder

    return _writable(cache_folder())


def _writable(folder: Path) -> str:
    """The path and whether something can be written there, judged by the nearest folder that
    exists.
    """
    place = folder.resolve()
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return f"{place} (cannot be written: {existing} is not a writable folder)"
    return f"{place} ({'writable' if existing == place else 'will be made when needed'})"


def _rewards() -> str:
    from genrec.rewards.registry import available

    entries = available()
    broken = [f"{entry.name}: {entry.error}" for entry in entries if entry.error]
    return f"{len(entries) - len(broken)} usable" + "".join(f"; {text}" for text in broken)
