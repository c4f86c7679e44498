"""Cleaning a log of events into a Dataset, with a report of everything that was dropped or
changed."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genrec.config.errors import DataError
from genrec.data.dataset import Dataset, make_catalogue
from genrec.data.sequences import Sequences

LIST_LENGTH = 10  # the usual list; a catalogue too small for it is worth a warning
EPOCH_UNITS = (
    (1e17, 1_000_000_000, "nanoseconds"),
    (1e14, 1_000_000, "microseconds"),
    (1e11, 1_000, "milliseconds"),
)


@dataclass(frozen=True, eq=False)
class Log:
    """Events as they were read, before cleaning.

    Attributes:
        name: what to call the dataset.
        frame: columns ``user``, ``item`` and, where known, ``time`` (epoch numbers, ISO dates or
            datetimes), one row an event. The index holds what error messages count by, for instance
            the line in the file.
        titles: raw item id -> title.
        features: raw item id -> names of its features.
        place: the file, for messages.
        unit: what the index of ``frame`` counts: "line" or "row".
        notes: what the reader of the report must know about the reading.
    """

    name: str
    frame: pd.DataFrame
    titles: dict[str, str] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)
    place: str = "the frame"
    unit: str = "row"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What cleaning did to a log, in counts.

    Attributes:
        source: file or name.
        rows: rows read.
        missing_ids: rows dropped because the user or the item is missing.
        duplicates: rows dropped because the same user, item and time came before.
        repeats: events whose user had the item before; dropped only if ``repeats_dropped``.
        repeats_dropped: whether they were.
        filtered_users: users removed by the filter on events a user and events an item.
        filtered_items: items removed by it.
        filtered_events: events removed by it.
        ties: kept events with exactly the time of the user's event before; they keep the order of
            the file.
        order: how a user's events were ordered.
        titled_items: items with a title.
        featured_items: items with at least one feature.
        notes: on the reading.
        warnings: what may go wrong later.
    """

    source: str
    rows: int
    missing_ids: int
    duplicates: int
    repeats: int
    repeats_dropped: bool
    filtered_users: int
    filtered_items: int
    filtered_events: int
    ties: int
    order: str
    titled_items: int
    featured_items: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def sentences(self) -> list[str]:
        """The report in words, changes only."""
        repeats = "dropped, the first one kept" if self.repeats_dropped else "kept"
        filtered = f"{self.filtered_items} item(s) and {self.filtered_events} event(s) removed by the minimum of events"
        lines = [
            (self.missing_ids, f"{self.missing_ids} row(s) without a user or an item dropped"),
            (self.duplicates, f"{self.duplicates} exact duplicate row(s) dropped"),
            (self.repeats, f"{self.repeats} repeat(s) of an item by the same user {repeats}"),
            (self.filtered_events, f"{self.filtered_users} user(s), {filtered}"),
            (
                self.ties,
                f"{self.ties} event(s) tie in time with the event before; ties keep the order of"
                " the file",
            ),
        ]
        return [text for count, text in lines if count] + [
            f"events ordered by {self.order}",
            *self.notes,
        ]


def clean(
    log: Log, min_user_events: int = 0, min_item_events: int = 0, drop_repeats: bool = False
) -> tuple[Dataset, Report]:
    """A Dataset from raw events, and the report of what was changed.

    In this order: rows without user or item are dropped; events are sorted by user and time,
    *events of the same time keep the order of the file* (without times all do); exact duplicates
    (user, item, time) are dropped, of a log without times none are, since a repeat cannot be told
    from a duplicate; repeats of an item by a user are dropped if asked, the oldest one stays; users
    and items with too few events are removed again and again until none is left (k-core). Users and
    items are numbered in ascending order if all ids are integers, else by first appearance.

    Args:
        log: the events.
        min_user_events: fewest events a user may have.
        min_item_events: fewest events an item may have.
        drop_repeats: keep only the first event of each user and item.

    Raises:
        DataError: for an unreadable time, and where fewer than two items are left.
    """
    present = ~(_is_missing(log.frame["user"]) | _is_missing(log.frame["item"]))
    events, user_ids, item_ids, notes = _ordered(log, log.frame[present])
    timed = "time" in events
    distinct = events[~events.duplicated(["user", "item", "time"])] if timed else events
    repeated = distinct.duplicated(["user", "item"])
    kept = distinct[~repeated] if drop_repeats else distinct
    core = kept[_core(kept, min_user_events, min_item_events)]
    dataset = _dataset(log, core, user_ids, item_ids)
    report = Report(
        source=log.place,
        rows=len(log.frame),
        missing_ids=int((~present).sum()),
        duplicates=len(events) - len(distinct),
        repeats=int(repeated.sum()),
        repeats_dropped=drop_repeats,
        filtered_users=kept["user"].nunique() - len(dataset.users),
        filtered_items=kept["item"].nunique() - dataset.catalogue.num_items,
        filtered_events=len(kept) - len(core),
        ties=int((core[["user", "time"]].diff() == 0).all(axis=1).sum()) if timed else 0,
        order="time" if timed else "the order of the file (no times)",
        titled_items=sum(raw in log.titles for raw in dataset.catalogue.index),
        featured_items=int(dataset.catalogue.features.any(axis=1).sum()),
        notes=log.notes + notes,
        warnings=_warnings(log, dataset),
    )
    return dataset, report


def _ordered(
    log: Log, frame: pd.DataFrame
) -> tuple[pd.DataFrame, NDArray[np.str_], NDArray[np.str_], tuple[str, ...]]:
    """Events as numbers, sorted by user and time; the ids behind the numbers; notes on the
    times."""
    users, user_ids = _codes(frame["user"])
    items, item_ids = _codes(frame["item"])
    times, seconds, notes = _times(log, frame)
    order = np.argsort(users, kind="stable") if times is None else np.lexsort((times, users))
    columns = {"user": users, "item": items} | (
        {} if times is None else {"time": times, "second": seconds}
    )
    return (
        pd.DataFrame({name: column[order] for name, column in columns.items()}),
        user_ids,
        item_ids,
        notes,
    )


def _is_missing(ids: pd.Series) -> pd.Series:
    return ids.isna() | (ids == "") if ids.dtype.kind in "OUT" else ids.isna()


def _codes(ids: pd.Series) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Numbers 0.. of ids and the ids as text; ascending if all are integers, else by first
    appearance."""
    if ids.dtype.kind == "f" and bool((ids % 1 == 0).all()):
        ids = ids.astype(
            "int64"
        )  # integers that a missing value beside them had turned into floats
    if ids.dtype.kind == "O":
        ids = ids.astype(str)
    codes, unique = pd.factorize(ids)
    text = pd.Series(unique).astype(str)
    if not text.str.fullmatch(r"-?\d{1,18}").all():
        return codes.astype(np.int64), text.to_numpy(dtype=np.str_)
    order = np.argsort(text.astype("int64").to_numpy(), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], text.to_numpy(dtype=np.str_)[order]


def _times(
    log: Log, frame: pd.DataFrame
) -> tuple[NDArray[np.int64] | NDArray[np.float64] | None, NDArray[np.int64], tuple[str, ...]]:
    """What to sort by, whole seconds, and notes on the unit; None where the log has no times."""
    if "time" not in frame:
        return None, np.zeros(len(frame), np.int64), ()
    column = frame["time"]
    if column.dtype.kind == "M":
        _require_times(log, column, column.notna())
        microseconds = _microseconds(column)
        return microseconds, microseconds // 1_000_000, ()
    numbers = pd.to_numeric(column, errors="coerce")
    is_number = numbers.notna() & (numbers.abs() < 9e18)
    if column.dtype.kind in "iuf" or is_number.all():
        _require_times(log, column, is_number)
        return _epoch(numbers)
    dates = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    _require_times(
        log, column, dates.notna() if dates.notna().sum() > is_number.sum() else is_number
    )
    microseconds = _microseconds(dates)
    return microseconds, microseconds // 1_000_000, ()


def _microseconds(dates: pd.Series) -> NDArray[np.int64]:
    aware = dates if dates.dt.tz is not None else dates.dt.tz_localize("UTC")
    microseconds: NDArray[np.int64] = aware.dt.as_unit("us").astype("int64").to_numpy()
    return microseconds


def _epoch(
    numbers: pd.Series,
) -> tuple[NDArray[np.int64] | NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    """Epoch numbers, whose size tells seconds from finer units."""
    values = numbers.to_numpy()
    largest = float(np.abs(values).max(initial=0))
    for bound, divisor, unit in EPOCH_UNITS:
        if largest >= bound:
            return (
                values,
                (values // divisor).astype(np.int64),
                (f"times are so large that they were read as {unit}",),
            )
    return values, np.floor(values).astype(np.int64), ()


def _require_times(log: Log, column: pd.Series, readable: pd.Series) -> None:
    if readable.all():
        return
    position = int(np.argmin(readable.to_numpy()))
    raise DataError(
        f"{log.place}, {log.unit} {column.index[position]}: the time {column.iloc[position]!r}"
        " cannot be read"
        f" ({int((~readable).sum())} such row(s)). Times are numbers of seconds since 1970, or ISO"
        " dates such as"
        " 2020-01-31 or 2020-01-31T12:00:00Z. Correct or delete the row(s), or"
        " choose another column with the option time (--time)"
    )


def _core(events: pd.DataFrame, min_user_events: int, min_item_events: int) -> NDArray[np.bool_]:
    """Events left when users and items with too few events are removed until nothing changes."""
    users, items = events["user"].to_numpy(), events["item"].to_numpy()
    kept = np.ones(len(events), dtype=bool)
    while True:
        enough = (
            np.bincount(users[kept], minlength=users.max(initial=0) + 1)[users] >= min_user_events
        ) & (np.bincount(items[kept], minlength=items.max(initial=0) + 1)[items] >= min_item_events)
        if not (kept & ~enough).any():
            return kept
        kept &= enough


def _dataset(
    log: Log, events: pd.DataFrame, user_ids: NDArray[np.str_], item_ids: NDArray[np.str_]
) -> Dataset:
    user_codes, rows = np.unique(events["user"].to_numpy(), return_inverse=True)
    item_codes, items = np.unique(events["item"].to_numpy(), return_inverse=True)
    if len(item_codes) < 2:
        raise DataError(
            f"{log.place}: {len(item_codes)} item(s) in {len(events)} usable event(s) of"
            f" {len(log.frame)} row(s), at"
            " least 2 are needed. Check the columns and the file, or lower min_user_events and"
            " min_item_events"
        )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows))]).astype(np.int64)
    return Dataset(
        name=log.name,
        users=user_ids[user_codes],
        sequences=Sequences(offsets, (items + 1).astype(np.int32)),
        timestamps=events["second"].to_numpy() if "second" in events else None,
        catalogue=make_catalogue(item_ids[item_codes].tolist(), log.titles, log.features),
    )


def _warnings(log: Log, dataset: Dataset) -> tuple[str, ...]:
    num_items, longest = dataset.catalogue.num_items, int(dataset.sequences.lengths.max())
    warnings = []
    if num_items < longest + LIST_LENGTH:
        warnings.append(
            f"{num_items} items are few: a user with {longest} event(s) may have fewer than"
            f" {LIST_LENGTH} unseen items"
            " left, and asking for a list longer than that is an error; ask for shorter lists"
        )
    if (log.titles or log.features) and not any(
        raw in log.titles for raw in dataset.catalogue.index
    ):
        warnings.append(
            "no item of the log is in the item file: check that both use the same ids, for instance"
            f" {str(dataset.catalogue.item_ids[1])!r} in the log and {next(iter(log.titles), '')!r}"
            " in the item file"
        )
    return tuple(warnings)
