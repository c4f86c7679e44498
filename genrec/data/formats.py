"""Reading logs: SASRec text, MovieLens in its three own formats, and CSV, TSV or Parquet tables."""

from pathlib import Path

import pandas as pd

from genrec.config.errors import DataError
from genrec.data.config import ReadConfig
from genrec.data.interactions import Log
from genrec.data.items import find_items, read_items
from genrec.data.tables import choose_column, column_names, first_line, read_table, read_text

# Usual names of columns, compared without case; the first one that a table has is used.
USER_NAMES = (
    "user", "user_id", "userid", "customer_id", "customerid", "reviewerid", "session_id",
    "visitorid", "uid", "sessionid",
)  # fmt: skip
ITEM_NAMES = (
    "item", "item_id", "itemid", "movie_id", "movieid", "product_id", "productid", "article_id",
    "parent_asin", "asin", "track_id", "book_id", "business_id", "sku", "iid",
)  # fmt: skip
TIME_NAMES = (
    "time_ms", "time", "timestamp", "time_stamp", "datetime", "unixreviewtime", "event_time",
    "created_at", "ts", "date", "t_dat", "eventdate",
)  # fmt: skip
LOG_SUFFIXES = (".txt", ".csv", ".tsv", ".inter", ".parquet")
# Beginnings of the names of other files that come with logs.
NOT_LOGS = ("items.", "movies.", "links.", "tags.", "genome-", "readme", "license")


def read_log(path: Path, options: ReadConfig) -> Log:
    """The events of a file, or of the log in a folder.

    The format is recognised by name and content: ``ratings.dat`` and lines with ``::`` (MovieLens
    1M), ``u.data`` (MovieLens 100k), ``.parquet``, text without a header whose lines are
    ``user item`` (SASRec), else a table with a header.

    Args:
        path: the file or folder.
        options: columns, separator and item file.

    Raises:
        DataError: naming file, line or column, and the remedy.
    """
    file = find_log(path) if path.is_dir() else path
    frame, note = _read_events(file, options)
    item_file = Path(options.items) if options.items else find_items(file)
    titles, features = read_items(item_file) if item_file else ({}, {})
    item_note = (
        f"titles and features from {item_file}"
        if item_file
        else "no item file found: no titles, no features"
    )
    # These file names are the same for all datasets, so the folder's name is used.
    named_by_folder = path.is_dir() or file.name in ("ratings.csv", "ratings.dat", "u.data")
    return Log(
        file.resolve().parent.name if named_by_folder else file.stem,
        frame,
        titles=titles,
        features=features,
        place=str(file),
        unit="row" if file.suffix == ".parquet" else "line",
        notes=(note, item_note),
    )


def find_log(folder: Path) -> Path:
    """The file with the events in a folder.

    Raises:
        DataError: if no file or several could be the log.
    """
    # MovieLens folders contain several tables, of which these are the log.
    usual = ("ratings.csv", "ratings.dat", "u.data", f"{folder.name}.txt", f"{folder.name}.inter")
    for name in usual:
        if (folder / name).is_file():
            return folder / name
    files = sorted(folder.iterdir())
    logs = [file for file in files if _may_be_log(file)]
    if len(logs) == 1:
        return logs[0]
    names = ", ".join(file.name for file in files[:12]) or "nothing"
    problem = (
        f"{len(logs)} files in it could be the log" if logs else "no file in it looks like a log"
    )
    raise DataError(f"{folder}: {problem} (there: {names}). Give the path of the file itself")


def _may_be_log(file: Path) -> bool:
    if file.suffix not in LOG_SUFFIXES:
        return False
    return not file.name.lower().startswith(NOT_LOGS) and ".items." not in file.name


def _read_events(file: Path, options: ReadConfig) -> tuple[pd.DataFrame, str]:
    """Events with columns user, item and maybe time; a note on the format."""
    if file.suffix == ".parquet":
        frame, columns = _read_columns(file, options)
        return frame, f"read as Parquet: {columns}{_about_time(file, options)}"
    header = first_line(file)
    if file.name == "u.data":
        return _read_u_data(file), "read as MovieLens 100k"
    # Columns or a separator can only be chosen for a table with a header.
    has_options = options.user or options.item or options.separator
    if "::" in header and not has_options:
        return _read_double_colons(file), "read as MovieLens user::item::rating::time"
    if _is_pair(header) and not has_options and not _is_header(header):
        return _read_pairs(file), "read as SASRec text: user item, in the order of the file"
    frame, columns = _read_columns(file, options)
    return frame, f"read as a table with a header: {columns}{_about_time(file, options)}"


def _about_time(file: Path, options: ReadConfig) -> str:
    """A remark on a table without times: one of its columns may be the time under another name."""
    names, _ = column_names(file, options.separator)
    if len(names) < 3 or options.time:
        return ""
    if choose_column(file, names, None, role="time", usual=TIME_NAMES, required=False):
        return ""
    return (
        f"; none of its columns ({', '.join(names)}) has a usual name of a time: if one is a time,"
        " name it (--time, or --set read.time=... where a run is made)"
    )


def _is_pair(line: str) -> bool:
    """Whether a line is two words, without separators of tables."""
    return len(line.split()) == 2 and not set(line) & {",", ";", "|"}


def _is_header(line: str) -> bool:
    """Whether a line contains a usual name of a column."""
    return any(word.split(":")[0].lower() in (*USER_NAMES, *ITEM_NAMES) for word in line.split())


def _read_pairs(file: Path) -> pd.DataFrame:
    """SASRec text, ``user item`` per line."""
    return read_text(file, r"\s+", ["user", "item"], header=False)


def _read_u_data(file: Path) -> pd.DataFrame:
    """MovieLens 100k: user, item, rating and time, separated by tabs."""
    names = ["user", "item", "rating", "time"]
    return read_text(file, "\t", names, columns=["user", "item", "time"], header=False)


def _read_double_colons(file: Path) -> pd.DataFrame:
    """MovieLens 1M and 10M: ``user::item::rating::time``.

    Lines are split at single colons: pandas has a fast parser for separators of one character only.
    """
    names = ["user", "a", "item", "b", "rating", "c", "time"]
    frame = read_text(file, ":", names, columns=["user", "item", "time"], header=False)
    blank = frame["time"].isna() & frame["user"].notna()
    if blank.any():
        raise DataError(
            f"{file}, line {blank.idxmax()}: lines must be user::item::rating::time, as in"
            " MovieLens"
        )
    return frame


def _read_columns(file: Path, options: ReadConfig) -> tuple[pd.DataFrame, str]:
    """The user, item and time columns of a table; which columns they are, and which are ignored."""
    names, _ = column_names(file, options.separator)
    user = choose_column(file, names, options.user, role="user", usual=USER_NAMES)
    item = choose_column(file, names, options.item, role="item", usual=ITEM_NAMES)
    needs_time = options.time is not None
    time = choose_column(
        file, names, options.time, role="time", usual=TIME_NAMES, required=needs_time
    )
    columns = [user, item] + ([time] if time else [])
    if len(set(columns)) < len(columns):
        raise DataError(
            f"{file}: user, item and time are the columns {', '.join(columns)}; they must be"
            " different ones"
        )
    table = read_table(file, options.separator, columns)[columns]
    roles = ["user", "item", "time"][: len(columns)]
    ignored = ", ".join(name for name in names if name not in columns)
    taken = ", ".join(f"{role} from {name}" for role, name in zip(roles, columns, strict=True))
    note = f"{taken}; ignored: {ignored}" if ignored else taken
    return table.set_axis(roles, axis=1), note
