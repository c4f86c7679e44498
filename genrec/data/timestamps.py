"""Reading times: epoch numbers in seconds or finer units, ISO dates, and datetimes."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genrec.config.errors import DataError

Numbers = NDArray[np.int64] | NDArray[np.float64]
# Smallest absolute value, number of units per second, name. Seconds reach 1e11 in the year 5138.
EPOCH_UNITS = (
    (1e17, 1_000_000_000, "nanoseconds"),
    (1e14, 1_000_000, "microseconds"),
    (1e11, 1_000, "milliseconds"),
)
LARGEST_INTEGER = 9e18  # larger numbers do not fit into 64 bits
MICROSECONDS = 1_000_000  # per second


def read_times(
    column: pd.Series, *, place: str, unit: str
) -> tuple[Numbers, NDArray[np.int64], tuple[str, ...]]:
    """Times of events.

    Args:
        column: (M,) numbers, ISO dates or datetimes.
        place: the file, for messages.
        unit: what the index of the column counts, for messages: "line" or "row".

    Returns:
        (M,) values to sort by, in the column's own precision; (M,) whole seconds; notes on the unit
        of numbers.

    Raises:
        DataError: naming the first time that cannot be read.
    """
    if column.dtype.kind == "M":
        _require_readable(column, column.notna(), place=place, unit=unit)
        microseconds = _microseconds(column)
        return microseconds, microseconds // MICROSECONDS, ()
    numbers = pd.to_numeric(column, errors="coerce")
    is_number = numbers.notna() & (numbers.abs() < LARGEST_INTEGER)
    if column.dtype.kind in "iuf" or is_number.all():
        _require_readable(column, is_number, place=place, unit=unit)
        return _from_epoch(numbers)
    dates = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    # The rarer kind is the error: a number among dates, or a date among numbers.
    mostly_dates = dates.notna().sum() > is_number.sum()
    readable = dates.notna() if mostly_dates else is_number
    _require_readable(column, readable, place=place, unit=unit)
    microseconds = _microseconds(dates)
    return microseconds, microseconds // MICROSECONDS, ()


def time_range(seconds: NDArray[np.int64] | None) -> tuple[str, ...]:
    """A note with the first and the last time, in UTC; none without times.

    Args:
        seconds: (M,) seconds since 1970, or None.
    """
    if seconds is None or not len(seconds):
        return ()
    first, last = (np.datetime64(int(moment), "s") for moment in (seconds.min(), seconds.max()))
    return (f"times from {first} to {last} (UTC)",)


def _microseconds(dates: pd.Series) -> NDArray[np.int64]:
    """Microseconds since 1970; dates without a time zone are UTC."""
    aware = dates if dates.dt.tz is not None else dates.dt.tz_localize("UTC")
    microseconds: NDArray[np.int64] = aware.dt.as_unit("us").astype("int64").to_numpy()
    return microseconds


def _from_epoch(numbers: pd.Series) -> tuple[Numbers, NDArray[np.int64], tuple[str, ...]]:
    """Epoch numbers; the median tells which unit they have, so that a wrong one changes nothing."""
    values = numbers.to_numpy()
    usual = float(np.median(np.abs(values))) if len(values) else 0.0
    for bound, per_second, unit in EPOCH_UNITS:
        if usual >= bound:
            note = f"times are so large that they were read as {unit}"
            return values, (values // per_second).astype(np.int64), (note,)
    return values, np.floor(values).astype(np.int64), ()


def _require_readable(column: pd.Series, readable: pd.Series, *, place: str, unit: str) -> None:
    if readable.all():
        return
    position = int(np.argmin(readable.to_numpy()))
    raise DataError(
        f"{place}, {unit} {column.index[position]}: the time {column.iloc[position]!r} cannot be"
        f" read ({int((~readable).sum())} such row(s)). Times are numbers of seconds since 1970, or"
        " ISO dates such as 2020-01-31 or 2020-01-31T12:00:00Z. Correct or delete the row(s), or"
        " choose another column with the option time (--time)"
    )
