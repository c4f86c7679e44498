"""Tables of text with a header, or Parquet: reading them, finding the separator and the columns."""

import csv
import difflib
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from genrec.config.errors import DataError

SEPARATORS = (",", "\t", ";", "|", " ")
MORE = "fields beyond the last column"
MISSING = ["", "nan", "NaN", "null", "NULL", "None", "<NA>"]


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
        raise DataError(f"{path} is empty; a log has one line an event, with a user and an item")
    with path.open(encoding=text_encoding(path), errors="replace") as file:
        line = file.readline(1 << 20)
    if "\0" in line:
        raise DataError(
            f"{path}, line 1: this is not text. Unpack archives first; Parquet files must end in"
            " .parquet"
        )
    if not line.strip():
        raise DataError(f"{path}, line 1 is blank; delete the blank lines at the beginning")
    return line.rstrip("\n")


def text_encoding(path: Path) -> str:
    """UTF-8 where the beginning of the file is that, else latin-1."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    try:
        start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


SPELLED = {"tab": "\t", "\\t": "\t", "space": " "}


def column_names(path: Path, separator: str | None) -> tuple[list[str], str]:
    """Columns of a table and its separator ("" for Parquet)."""
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names), ""
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{path} is not a Parquet file ({error}); text tables must not end in .parquet"
            ) from error
    header = first_line(path)
    chosen = SPELLED.get(separator, separator) if separator else max(SEPARATORS, key=header.count)
    if len(chosen) != 1:
        raise DataError(
            f"the separator {separator!r} is not a single character; write for instance ',' ';' or"
            " tab"
        )
    names = [
        name.strip() for name in next(csv.reader([header], delimiter=chosen, skipinitialspace=True))
    ]
    if len(names) == 1:
        other = max(SEPARATORS, key=header.count)
        seems = (
            f"it seems to be {other!r}"
            if header.count(other)
            else "none of the usual ones is in it"
        )
        raise DataError(
            f"{path}, line 1: the header {header[:80]!r} is a single column when split at"
            f" {chosen!r}. The separator is"
            f" probably another: {seems}. Give it with --separator, or --set read.separator=..."
            " where a run is made"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}, line 1: the column {twice[0]!r} comes more than once in the header; rename"
            " one of them"
        )
    return names, chosen


def read_table(path: Path, separator: str | None, columns: list[str] | None = None) -> pd.DataFrame:
    """A table, or the given columns of it; text stays text, so that ids such as 007 keep their
    zeros.

    The index of a text table is the line in the file, of Parquet the row from 1.

    Raises:
        DataError: naming the line where the table cannot be read.
    """
    names, separator = column_names(path, separator)
    if not separator:
        table = pd.read_parquet(path, columns=columns)
        table.index = pd.RangeIndex(1, len(table) + 1)
    else:
        table = read_text(path, separator, names, columns)
    if table.empty:
        raise DataError(f"{path} has a header but no rows; a log has one row an event")
    return table


def read_text(
    path: Path,
    separator: str,
    names: list[str],
    columns: list[str] | None = None,
    header: bool = True,
) -> pd.DataFrame:
    """A table of text from a text file; the index is the line in the file."""
    first = 1 if header else 0
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            names=[*names, MORE],
            header=None,
            skiprows=first,
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_values=MISSING,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding=text_encoding(path),
            encoding_errors="replace",
        )
    except pd.errors.ParserError as error:
        raise DataError(
            f"{path}: {str(error).strip()}. Correct that line: close quotes, and quote fields that"
            " contain the"
            " separator; or give another one with the option separator (--separator)"
        ) from error
    table.index = pd.RangeIndex(first + 1, first + 1 + len(table))
    longer = table[MORE].notna().to_numpy()
    if longer.any():
        line = first + 1 + int(longer.argmax())
        raise DataError(
            f"{path}, line {line}: more than the {len(names)} fields {', '.join(names)}"
            f" ({int(longer.sum())} such"
            " line(s)). Quote fields that contain the separator, or give the file a header line"
            " that names all columns"
        )
    return table[columns or names]


def choose_column(
    path: Path,
    names: list[str],
    wanted: str | None,
    role: str,
    usual: tuple[str, ...],
    required: bool = True,
) -> str:
    """The column of a role: the one asked for, else the first usual name that is there; "" where it
    may be absent.

    Names are compared without case; a type after a colon, as in ``user_id:token``, is ignored.

    Raises:
        DataError: listing the columns found, with the closest name.
    """
    if wanted is not None and wanted in names:
        return wanted
    plain = {name.split(":")[0].lower(): name for name in reversed(names)}
    if wanted is None:
        found = next((plain[name] for name in usual if name in plain), "")
        if found or not required:
            return found
    if sum(_is_number(name) for name in names) > 0:
        raise DataError(
            f"{path}, line 1: the first line {', '.join(names)[:80]!r} looks like data. Add a"
            " header line with the"
            " names of the columns, for instance user,item,time"
        )
    candidates = [wanted.lower()] if wanted else list(usual)
    close = [
        match
        for name in candidates
        for match in difflib.get_close_matches(name, plain, n=1, cutoff=0.7)
    ]
    hint = f" Did you mean {plain[close[0]]!r}?" if close else ""
    asked = (
        f"no column {wanted!r}"
        if wanted
        else f"no column for the {role} (such as {', '.join(usual[:3])})"
    )
    by_option = f"Name the column with --{role}, or --set read.{role}=... where a run is made"
    remedy = by_option if role in ("user", "item", "time") else f"Rename the column of the {role}"
    raise DataError(f"{path}, line 1: {asked}; the columns are {', '.join(names)}.{hint} {remedy}")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdecimal()
