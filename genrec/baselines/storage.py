"""The folder of a baseline: settings as JSON, arrays as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from genrec.config.errors import GenrecError

Arrays = dict[str, NDArray[Any]]


def write(
    folder: Path, kind: str, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write ``scorer.json``, the settings with their kind, and ``scorer.safetensors`` into the
    folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scorer.json").write_text(json.dumps({"kind": kind, **settings}))
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        folder / "scorer.safetensors",
    )


def read(folder: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """The settings, without their kind, and the arrays that ``write`` left.

    Raises:
        GenrecError: if the folder holds another kind of scorer.
    """
    folder = Path(folder)
    settings = json.loads((folder / "scorer.json").read_text())
    found = settings.pop("kind")
    if found != kind:
        raise GenrecError(f"{folder} holds a scorer of kind {found!r}, not {kind!r}")
    return settings, load_file(folder / "scorer.safetensors")


def parts(table: sparse.csr_matrix) -> Arrays:
    """The three arrays of a sparse table."""
    return {"data": table.data, "indices": table.indices, "indptr": table.indptr}


def joined(arrays: Arrays, columns: int) -> sparse.csr_matrix:
    """The sparse table of ``parts``, with that many columns."""
    shape = (len(arrays["indptr"]) - 1, columns)
    return sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
