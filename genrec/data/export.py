"""Writing a dataset as SASRec text, CSV or Parquet, with its items in a CSV file beside it."""

from pathlib import Path

import numpy as np
import pandas as pd

from genrec.config.errors import DataError
from genrec.config.writing import naming, replacing
from genrec.data.dataset import Dataset


def write(dataset: Dataset, path: Path) -> tuple[Path, Path]:
    """Write events and items in the format that the ending of the name stands for.

    ``.txt`` is SASRec text: ``user item`` per line, numbers from 1, each user's events in order.
    The numbers are the row and index in genrec; raw item ids are in the item file. ``.csv`` and
    ``.parquet`` have columns user, item and, where known, time (seconds), with raw ids. The item
    file ``<stem>.items.csv`` has item_id, raw_id (for text), title and genres; ``load`` finds it
    beside the log.

    Returns:
        The paths of the log and of the item file.

    Raises:
        DataError: for another ending, or a folder that does not exist.
    """
    if path.suffix not in (".txt", ".csv", ".parquet"):
        raise DataError(
            f"cannot write {path}: the name must end in .txt (SASRec text), .csv or .parquet"
        )
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    as_numbers = path.suffix == ".txt"
    events = _events(dataset, as_numbers)
    item_file = path.with_name(f"{path.stem}.items.csv")
    # Neither file is replaced before both are written: an old log with new items, whose numbers may
    # mean something else, would be read without a word.
    with replacing(path) as new_log, replacing(item_file) as new_items:
        with naming(item_file):
            _write_csv(_items(dataset, as_numbers), new_items)
        with naming(path):
            if as_numbers:
                _write_csv(events, new_log, sep=" ", header=False)
            elif path.suffix == ".csv":
                _write_csv(events, new_log)
            else:
                events.to_parquet(new_log, index=False)
    return path, item_file


def _write_csv(table: pd.DataFrame, file: Path, sep: str = ",", *, header: bool = True) -> None:
    """Write a table with the same line ends on every platform: the same data, the same file."""
    table.to_csv(file, sep=sep, header=header, index=False, lineterminator="\n")


def _events(dataset: Dataset, as_numbers: bool) -> pd.DataFrame:
    """One row per event, with raw ids or with numbers from 1."""
    rows, items = dataset.sequences.rows(), dataset.sequences.items
    if as_numbers:
        return pd.DataFrame({"user": rows + 1, "item": items})
    columns = {"user": dataset.users[rows], "item": dataset.catalogue.item_ids[items]}
    times = {} if dataset.timestamps is None else {"time": dataset.timestamps}
    return pd.DataFrame(columns | times)


def _items(dataset: Dataset, as_numbers: bool) -> pd.DataFrame:
    """One row per item, with its id in the log."""
    catalogue = dataset.catalogue
    names = np.array(catalogue.feature_names, dtype=object)
    columns = {
        "title": catalogue.titles[1:],
        "genres": ["|".join(names[row]) for row in catalogue.features[1:]],
    }
    raw = catalogue.item_ids[1:]
    ids = {"item_id": np.arange(1, len(raw) + 1), "raw_id": raw} if as_numbers else {"item_id": raw}
    return pd.DataFrame(ids | columns)
