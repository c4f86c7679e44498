"""Reading logs: SASRec text, MovieLens in its three native forms, and any CSV, TSV or Parquet
table."""

from pathlib import Path

import pandas as pd

from genrec.config.errors import DataError
from genrec.data.config import ReadConfig
from genrec.data.interactions import Log
from genrec.data.items import find_items, read_items
from genrec.data.tables import choose_column, column_names, first_line, read_table, read_text

USER_NAMES = (
    "user",
    "user_id",
    "userid",
    "customer_id",
    "customerid",
    "reviewerid",
    "session_id",
    "visitorid",
    "uid",
)
ITEM_NAMES = (
    *(
        "item",
        "item_id",
        "itemid",
        "movie_id",
        "movieid",
        "product_id",
        "productid",
        "article_id",
        "parent_asin",
    ),
    *("asin", "track_id", "book_id", "business_id", "sku", "iid"),
)
TIME_NAMES = (
    "time",
    "timestamp",
    "datetime",
    "date",
    "unixreviewtime",
    "event_time",
    "created_at",
    "t_dat",
    "ts",
)
LOG_SUFFIXES = (".txt", ".csv", ".tsv", ".inter", ".parquet")
NOT_LOGS = ("items.", "movies.", "links.", "tags.", "genome-", "readme", "license")


def read_log(path: Path, options: ReadConfig) -> Log:
    """The events of a file, or of the log in a folder.

    Recognised by name and content: ``ratings.dat`` and lines with ``::`` (MovieLens 1M), ``u.data``
    (MovieLens 100k), ``.parquet``, text without a header whose lines are ``user item`` (SASRec),
    else a table with a header.

    Raises:
        DataError: naming file, line or column, and the remedy.
    """
    file = find_log(path) if path.is_dir() else path
    frame, note = _read_events(file, options)
    item_file = Path(options.items) if options.items else find_items(file)
    titles, features = read_items(item_file) if item_file else ({}, {})
    notes = (
        note,
        f"titles and features from {item_file}"
        if item_file
        else "no item file found: no titles, no features",
    )
    named_by_folder = path.is_dir() or file.name in ("ratings.csv", "ratings.dat", "u.data")
    name = file.resolve().parent.name if named_by_folder else file.stem
    return Log(
        name,
        frame,
        titles,
        features,
        str(file),
        "row" if file.suffix == ".parquet" else "line",
        notes,
    )


def find_log(folder: Path) -> Path:
    """The file with the events in a folder.

    Raises:
        DataError: where none or several could be it.
    """
    for name in (
        "ratings.csv",
        "ratings.dat",
        "u.data",
        f"{folder.name}.txt",
        f"{folder.name}.inter",
    ):
        if (folder / name).is_file():
            return folder / name
    logs = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in LOG_SUFFIXES
        and not file.name.lower().startswith(NOT_LOGS)
        and ".items." not in file.name
    ]
    if len(logs) == 1:
        return logs[0]
    names = ", ".join(sorted(file.name for file in folder.iterdir())[:12]) or "nothing"
    problem = (
        f"{len(logs)} files in it could be the log" if logs else "no file in it looks like a log"
    )
    raise DataError(f"{folder}: {problem} (there: {names}). Give the path of the file itself")


def _read_events(file: Path, options: ReadConfig) -> tuple[pd.DataFrame, str]:
    """Columns user, item and maybe time; a note on the format."""
    if file.suffix == ".parquet":
        return _read_columns(file, options), "read as Parquet" + _about_time(file, options)
    fields = first_line(file)
    asked = options.user or options.item or options.separator
    if file.name == "u.data":
        columns = ["user", "item", "rating", "time"]
        return read_text(file, "\t", columns, header=False)[
            ["user", "item", "time"]
        ], "read as MovieLens 100k"
    if "::" in fields and not asked:
        return _read_double_colons(file), "read as MovieLens user::item::rating::time"
    if (
        len(fields.split()) == 2
        and not set(fields) & {",", ";", "|"}
        and not asked
        and not _is_header(fields)
    ):
        return _read_pairs(file), "read as SASRec text: user item, in the order of the file"
    return _read_columns(file, options), "read as a table with a header" + _about_time(
        file, options
    )


def _about_time(file: Path, options: ReadConfig) -> str:
    """What to add about a table without times: its columns, one of which may be the time under
    another name."""
    names, _ = column_names(file, options.separator)
    if (
        len(names) < 3
        or options.time
        or choose_column(file, names, None, "time", TIME_NAMES, required=False)
    ):
        return ""
    return (
        f"; none of its columns ({', '.join(names)}) is called like a time: if one is, name it"
        " (--time, or --set"
        " read.time=... where a run is made)"
    )


def _is_header(line: str) -> bool:
    return any(word.split(":")[0].lower() in (*USER_NAMES, *ITEM_NAMES) for word in line.split())


def _read_pairs(file: Path) -> pd.DataFrame:
    """SASRec text, ``user item`` a line."""
    return read_text(file, r"\s+", ["user", "item"], header=False)


def _read_double_colons(file: Path) -> pd.DataFrame:
    """MovieLens 1M and 10M: ``user::item::rating::time``; split at single colons, which is many
    times faster."""
    names = ["user", "a", "item", "b", "rating", "c", "time"]
    frame = read_text(file, ":", names, ["user", "item", "time"], header=False)
    blank = frame["time"].isna() & frame["user"].notna()
    if blank.any():
        raise DataError(
            f"{file}, line {blank.idxmax()}: lines must be user::item::rating::time, as in"
            " MovieLens"
        )
    return frame


def _read_columns(file: Path, options: ReadConfig) -> pd.DataFrame:
    """The user, item and time columns of a table."""
    names, _ = column_names(file, options.separator)
    user = choose_column(file, names, options.user, "user", USER_NAMES)
    item = choose_column(file, names, options.item, "item", ITEM_NAMES)
    time = choose_column(
        file, names, options.time, "time", TIME_NAMES, required=options.time is not None
    )
    columns = [user, item] + ([time] if time else [])
    if len(set(columns)) < len(columns):
        raise DataError(
            f"{file}: user, item and time are the columns {', '.join(columns)}; they must be"
            " different ones"
        )
    table = read_table(file, options.separator, columns)[columns]
    return table.set_axis(["user", "item", "time"][: len(columns)], axis=1)
