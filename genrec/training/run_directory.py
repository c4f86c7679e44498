"""Run directories: one writer at a time, JSON files, versions and paths."""

import contextlib
import json
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

from genrec.config.errors import RunError
from genrec.config.writing import is_alive, write_text
from genrec.results import read_object, read_run_text

LOCK = ".lock"
RESTORE = "restore it, or make the run again in another directory"
"""Remedy for a file of a run directory that is missing or damaged."""
# A directory with one of these is one that genrec writes into.
MARKS = (LOCK, "plan.json", "run.json", "comparison.json")
_held: dict[Path, int] = {}
"""Directories that this process writes into, and how many of its calls do."""


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Be the only process that writes into a run directory, which is made if it is missing.

    The operating system releases the lock of a process that ends in whatever way, so that the next
    command takes over what a killed one left. Calls of one process may be nested.

    Raises:
        RunError: if another process holds the directory, or it is not one that genrec may use.
    """
    place = directory.resolve()
    if place in _held:
        _held[place] += 1
        try:
            yield
        finally:
            _held[place] -= 1
        return
    require_run_directory(directory)
    is_new = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, directory)
        _held[place] = 1
        yield
        os.ftruncate(descriptor, 0)
    finally:
        _held.pop(place, None)
        os.close(descriptor)
        if is_new and [path.name for path in directory.iterdir()] == [LOCK]:
            (directory / LOCK).unlink()  # nothing was begun: leave nothing behind
            directory.rmdir()


def _lock(descriptor: int, directory: Path) -> None:
    """Lock an open file and write the holder into it; raise RunError where another one has it."""
    holder = os.read(descriptor, 1000).decode(errors="replace")
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        else:
            free = not _is_running(holder)
    except BlockingIOError:
        free = False
    except OSError:  # a file system without locks
        free = not _is_running(holder)
    if not free:
        raise RunError(
            f"{directory} is being written by another command ({holder or 'unknown'}): wait for it"
            f" or stop it, or choose another directory. If it no longer runs, remove"
            f" {directory / LOCK}"
        )
    os.ftruncate(descriptor, 0)
    host, now = socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"pid {os.getpid()} on {host} since {now}".encode())


def _is_running(holder: str) -> bool:
    """Whether the process that a lock names may still run; one of another host may."""
    words = holder.split()
    if len(words) < 4 or not words[1].isdecimal():
        return False
    return words[3] != socket.gethostname() or is_alive(int(words[1]))


def require_run_directory(directory: Path) -> None:
    """Raise RunError for a path that cannot become a run directory, or holds something else."""
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory} is a file: give a directory")
    if not directory.is_dir() or any((directory / name).exists() for name in MARKS):
        return
    if found := next(directory.iterdir(), None):
        raise RunError(
            f"{directory} is no run directory, and it is not empty (it has {found.name}): give a"
            " directory that is new, empty or of a run"
        )


def versions() -> dict[str, str]:
    """Versions of the software that a result may depend on."""
    installed = {
        name: metadata.version(name)
        for name in ("genrec", "torch", "transformers", "gymnasium", "numpy", "pandas", "scipy")
    }
    return {"python": platform.python_version(), **installed}


def relative(target: Path, start: Path) -> str:
    """The path from one directory to another, as ``run.json`` stores it."""
    return os.path.relpath(target, start)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON through a temporary file, so that no reader sees half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: if the file is missing, is not JSON, or holds something else than an object.
    """
    return read_object(read_run_text(path, RESTORE), path, RESTORE)
