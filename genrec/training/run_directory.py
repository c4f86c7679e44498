"""Run directories: JSON files, versions, hashes and paths."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from genrec.config.errors import RunError
from genrec.results import explain_missing


def versions() -> dict[str, str]:
    """Versions of the software that a result may depend on."""
    installed = {
        name: metadata.version(name)
        for name in ("genrec", "torch", "transformers", "gymnasium", "numpy")
    }
    return {"python": platform.python_version(), **installed}


def digest(file: Path) -> str:
    """The first 8 hexadecimal digits of a file's SHA-256 hash."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


def relative(target: Path, start: Path) -> str:
    """The path from one directory to another, as ``run.json`` stores it."""
    return os.path.relpath(target, start)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON through a temporary file, so that no reader sees half of it."""
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: if the file is missing, is not JSON, or holds something else than an object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} does not exist: {explain_missing(path.parent)}") from None
    except json.JSONDecodeError as error:
        raise RunError(
            f"{path} is not valid JSON ({error}); the run that wrote it may have been interrupted"
        ) from None
    if not isinstance(content, dict):
        raise RunError(f"{path} does not hold a JSON object")
    return content
