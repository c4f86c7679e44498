"""Reading tables, text with a header or Parquet, and finding their separator and columns."""

import csv
import difflib
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from genrec.config.errors import DataError

SEPARATORS = (",", "\t", ";", "|", " ")
SPELLED_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " "}  # as written on a command line
EXTRA = "fields beyond the last column"  # a column for them shows lines that are too long
MISSING = ["", "nan", "NaN", "null", "NULL", "None", "<NA>"]
# What pyarrow and pandas raise for a damaged file: its metadata hold JSON and schemas
UNREADABLE = (pyarrow.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError)
LONGEST_LINE = 1 << 20  # characters of the first line, and bytes for the encoding, that are read


def text_lines(path: Path, encoding: str) -> list[str]:
    """Lines of a text file that are not blank."""
    with path.open(encoding=encoding) as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def first_line(path: Path) -> str:
    """The first line of a text file.

    Raises:
        DataError: for an empty file, a blank first line, and a file that is not text.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty; a log has one line per event, with a user and an item")
    with path.open(encoding=text_encoding(path), errors="replace") as file:
        line = file.readline(LONGEST_LINE)
    if "\0" in line:
        raise DataError(
            f"{path}, line 1: this is not text. Unpack archives first; Parquet files must end in"
            " .parquet"
        )
    if not line.strip():
        raise DataError(f"{path}, line 1 is blank; delete the blank lines at the beginning")
    return line.rstrip("\n")


def text_encoding(path: Path) -> str:
    """UTF-8 if the beginning of the file can be decoded as that, else latin-1."""
    with path.open("rb") as file:
        start = file.read(LONGEST_LINE)
    try:
        start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"  # a byte order mark, if there is one, is not part of the first column


def column_names(path: Path, separator: str | None) -> tuple[list[str], str]:
    """Columns of a table, and its separator ("" for Parquet).

    Args:
        path: the file.
        separator: the separator, or None to find it in the header.

    Raises:
        DataError: if the header cannot be read or names a column twice.
    """
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names), ""
        except UNREADABLE as error:
            raise DataError(
                f"{path} is not a sound Parquet file ({error}); text tables must not end in"
                " .parquet"
            ) from error
    header = first_line(path)
    # Names may contain blanks, so a blank separates only where nothing else does.
    counts = {mark: header.count(mark) for mark in SEPARATORS if mark != " "}
    best_guess = max(counts, key=counts.__getitem__) if any(counts.values()) else " "
    chosen = SPELLED_SEPARATORS.get(separator, separator) if separator else best_guess
    if len(chosen) != 1:
        raise DataError(
            f"the separator {separator!r} is not a single character; write for instance ',' ';' or"
            " tab"
        )
    fields = next(csv.reader([header], delimiter=chosen, skipinitialspace=True))
    names = [name.strip() for name in fields]
    if len(names) == 1:
        hint = (
            f"it seems to be {best_guess!r}"
            if header.count(best_guess)
            else "the header contains none of the usual ones"
        )
        raise DataError(
            f"{path}, line 1: the header {header[:80]!r} is a single column when split at"
            f" {chosen!r}. The separator is probably another: {hint}. Give it with --separator, or"
            " --set read.separator=... where a run is made"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path}, line 1: the column {repeated[0]!r} occurs more than once in the header;"
            " rename one of them"
        )
    return names, chosen


def read_table(path: Path, separator: str | None, columns: list[str] | None = None) -> pd.DataFrame:
    """A table, or the given columns of it.

    Text stays text, so that ids such as 007 keep their zeros. The index is the line in the file of
    a text table, and the row from 1 of Parquet.

    Args:
        path: the file.
        separator: the separator, or None to find it in the header.
        columns: columns to read; None for all.

    Raises:
        DataError: naming the line if the table cannot be read.
    """
    names, separator = column_names(path, separator)
    if not separator:
        try:
            table = pd.read_parquet(path, columns=columns)
        except UNREADABLE as error:
            raise DataError(f"{path} is not a sound Parquet file: {error}") from error
        if any(name in table.index.names for name in names):  # a column written as the index
            table = table.reset_index()
        table.index = pd.RangeIndex(1, len(table) + 1)
    else:
        table = read_text(path, separator, names, columns=columns)
    if table.empty:
        raise DataError(f"{path} has a header but no rows; a log has one row per event")
    return table


def read_text(
    path: Path,
    separator: str,
    names: list[str],
    *,
    columns: list[str] | None = None,
    header: bool = True,
) -> pd.DataFrame:
    """A table of text from a text file; the index is the line in the file.

    Args:
        path: the file.
        separator: one character, or a regular expression.
        names: all columns of the file.
        columns: columns to return; None for all.
        header: whether the first line is a header.

    Raises:
        DataError: naming the line that cannot be read, or has too many fields.
    """
    first = 1 if header else 0
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            names=[*names, EXTRA],
            header=None,
            skiprows=first,
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_values=MISSING,
            skip_blank_lines=False,  # so that the index is the line in the file
            skipinitialspace=True,
            quoting=_quoting(path, separator),
            encoding=text_encoding(path),
            encoding_errors="replace",
        )
    except pd.errors.ParserError as error:
        raise DataError(
            f"{path}: {str(error).strip()}. Correct that line: close quotes, and quote fields that"
            " contain the separator; or give another one with the option separator (--separator)"
        ) from error
    table.index = pd.RangeIndex(first + 1, first + 1 + len(table))
    too_long = table[EXTRA].notna().to_numpy()
    if too_long.any():
        line = first + 1 + int(too_long.argmax())
        raise DataError(
            f"{path}, line {line}: more than the {len(names)} fields {', '.join(names)}"
            f" ({int(too_long.sum())} such line(s)). Quote fields that contain the separator, or"
            " give the file a header line that names all columns"
        )
    return table[columns or names]


def _quoting(path: Path, separator: str) -> Literal[0, 3]:
    """Quotes are plain characters in a tab-separated file in which they do not pair on each line.

    Otherwise a name such as ``"Heroes`` would swallow the lines up to the next quote.
    """
    if separator != "\t":
        return csv.QUOTE_MINIMAL
    with path.open(encoding=text_encoding(path), errors="replace") as file:
        paired = all(line.count('"') % 2 == 0 for line in file)
    return csv.QUOTE_MINIMAL if paired else csv.QUOTE_NONE


def choose_column(
    path: Path,
    names: list[str],
    wanted: str | None,
    *,
    role: str,
    usual: tuple[str, ...],
    required: bool = True,
) -> str:
    """The column of a role: the requested one, else the first usual name that exists.

    Names are compared without case, and a type after a colon, as in ``user_id:token``, is ignored.

    Args:
        path: the file, for messages.
        names: columns of the table.
        wanted: name of the requested column, or None.
        role: what the column contains, for messages.
        usual: usual names in lower case, the most usual first.
        required: whether a missing column is an error.

    Returns:
        The name of the column; "" if there is none and none is required.

    Raises:
        DataError: listing the columns of the table, with the closest name.
    """
    if wanted is not None and wanted in names:
        return wanted
    plain = {name.split(":")[0].lower(): name for name in reversed(names)}
    if wanted is None:
        found = next((plain[name] for name in usual if name in plain), "")
        if found or not required:
            return found
    if any(_is_number(name) for name in names):
        raise DataError(
            f"{path}, line 1: the first line {', '.join(names)[:80]!r} looks like data. Add a"
            " header line with the names of the columns, for instance user,item,time"
        )
    hint = _closest([wanted.lower()] if wanted else list(usual), plain)
    missing = (
        f"no column {wanted!r}"
        if wanted
        else f"no column for the {role} (such as {', '.join(usual[:3])})"
    )
    by_option = f"Name the column with --{role}, or --set read.{role}=... where a run is made"
    remedy = by_option if role in ("user", "item", "time") else f"Rename the column of the {role}"
    raise DataError(
        f"{path}, line 1: {missing}; the columns are {', '.join(names)}.{hint} {remedy}"
    )


def _closest(candidates: list[str], columns: dict[str, str]) -> str:
    """A question with the column whose name is closest to a candidate; "" if none is close."""
    for name in candidates:
        if close := difflib.get_close_matches(name, columns, n=1, cutoff=0.7):
            return f" Did you mean {columns[close[0]]!r}?"
    return ""


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdecimal()
