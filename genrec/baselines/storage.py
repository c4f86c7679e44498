"""The folder of a baseline: settings as JSON, arrays as safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError, RunError
from genrec.training.checkpoint import load_tensors, save_tensors
from genrec.training.run_directory import RESTORE, read_json, write_json

Arrays = dict[str, NDArray[Any]]
DESCRIPTION, WEIGHTS = "scorer.json", "scorer.safetensors"


def write(
    folder: Path, kind: str, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write ``scorer.json``, the settings with their kind, and ``scorer.safetensors`` into the
    folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()
    }
    save_tensors(folder / WEIGHTS, tensors)
    write_json(folder / DESCRIPTION, {"kind": kind, **settings})


def read(folder: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """The settings, without their kind, and the arrays that ``write`` left.

    Raises:
        GenrecError: if the folder holds another kind of scorer, or NaN or infinity.
    """
    folder = Path(folder)
    settings = read_json(folder / DESCRIPTION)
    found = settings.pop("kind", None)
    if found != kind:
        raise GenrecError(f"{folder} holds a scorer of kind {found!r}, not {kind!r}")
    arrays = {name: value.numpy() for name, value in load_tensors(folder / WEIGHTS).items()}
    for name, array in arrays.items():
        # Scores of what is never recommended may be -inf.
        if not (array < np.inf).all():
            raise RunError(f"{folder / WEIGHTS}: {name} holds NaN or infinity; {RESTORE}")
    return settings, arrays


def parts(table: sparse.csr_matrix) -> Arrays:
    """The three arrays of a sparse table."""
    return {"data": table.data, "indices": table.indices, "indptr": table.indptr}


def joined(arrays: Arrays, columns: int) -> sparse.csr_matrix:
    """The sparse table of ``parts``, with that many columns.

    Raises:
        ValueError: if the arrays do not fit each other.
    """
    shape = (len(arrays["indptr"]) - 1, columns)
    table = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    table.check_format(full_check=True)  # the products trust the indices
    return table
