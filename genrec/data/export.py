"""Writing a dataset as SASRec text, CSV or Parquet, with its items in a CSV file beside it."""

from pathlib import Path

import numpy as np
import pandas as pd

from genrec.config.errors import DataError
from genrec.data.dataset import Dataset


def write(dataset: Dataset, path: Path) -> tuple[Path, Path]:
    """Write events and items; the form follows from the ending of the name.

    ``.txt`` is SASRec text: ``user item`` a line, numbers from 1, a user's events in order; the
    numbers are row and index in genrec, raw ids are in the item file. ``.csv`` and ``.parquet``
    have columns user, item and, where known, time (seconds), with raw ids. The item file
    ``<stem>.items.csv`` has item_id, raw_id (for text), title and genres, and is found by the
    reader.

    Returns:
        The two paths written.

    Raises:
        DataError: for another ending, or a folder that does not exist.
    """
    if path.suffix not in (".txt", ".csv", ".parquet"):
        raise DataError(
            f"cannot write {path}: the name must end in .txt (SASRec text), .csv or .parquet"
        )
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    as_text = path.suffix == ".txt"
    events = _events(dataset, as_text)
    if as_text:
        events.to_csv(path, sep=" ", header=False, index=False, lineterminator="\n")
    elif path.suffix == ".csv":
        events.to_csv(path, index=False, lineterminator="\n")
    else:
        events.to_parquet(path, index=False)
    item_file = path.with_name(f"{path.stem}.items.csv")
    _items(dataset, as_text).to_csv(item_file, index=False, lineterminator="\n")
    return path, item_file


def _events(dataset: Dataset, as_numbers: bool) -> pd.DataFrame:
    rows, items = dataset.sequences.rows(), dataset.sequences.items
    if as_numbers:
        return pd.DataFrame({"user": rows + 1, "item": items})
    columns = {"user": dataset.users[rows], "item": dataset.catalogue.item_ids[items]}
    return pd.DataFrame(
        columns | ({} if dataset.timestamps is None else {"time": dataset.timestamps})
    )


def _items(dataset: Dataset, as_numbers: bool) -> pd.DataFrame:
    catalogue = dataset.catalogue
    names = np.array(catalogue.feature_names, dtype=object)
    table = {
        "title": catalogue.titles[1:],
        "genres": ["|".join(names[row]) for row in catalogue.features[1:]],
    }
    raw = catalogue.item_ids[1:]
    ids = {"item_id": np.arange(1, len(raw) + 1), "raw_id": raw} if as_numbers else {"item_id": raw}
    return pd.DataFrame(ids | table)
