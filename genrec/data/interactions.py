"""Cleaning a log of events into a Dataset, with a report of all that was dropped or changed."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genrec.config.errors import DataError
from genrec.data.dataset import Dataset, make_catalogue
from genrec.data.oddities import oddities
from genrec.data.sequences import Sequences
from genrec.data.timestamps import read_times, time_range

LIST_LENGTH = 10  # the usual list length; a catalogue too small for it causes a warning


@dataclass(frozen=True, eq=False)
class Log:
    """Events as they were read, before cleaning.

    Attributes:
        name: name of the dataset.
        frame: columns ``user``, ``item`` and, where known, ``time`` (epoch numbers, ISO dates or
            datetimes), one row per event. The index is what error messages count by, for instance
            the line in the file.
        titles: from raw item id to title.
        features: from raw item id to the names of its features.
        place: the file, for messages.
        unit: what the index of ``frame`` counts: "line" or "row".
        notes: facts about the reading, for the report.
    """

    name: str
    frame: pd.DataFrame
    _: KW_ONLY
    titles: dict[str, str] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)
    place: str = "the frame"
    unit: str = "row"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What cleaning changed in a log, in counts.

    Attributes:
        source: file or name.
        rows: rows read.
        missing_ids: rows dropped because the user or the item is missing.
        duplicates: rows dropped because an earlier row has the same user, item and time.
        repeats: events whose user had the item before; dropped only if ``repeats_dropped``.
        repeats_dropped: whether repeats were dropped.
        filtered_users: users removed by the minimum numbers of events.
        filtered_items: items removed by them.
        filtered_events: events removed by them.
        ties: remaining events with exactly the time of the user's previous event; they keep the
            order of the file.
        order: how each user's events were ordered.
        titled_items: items with a title.
        featured_items: items with at least one feature.
        notes: facts about the reading.
        warnings: possible problems later.
    """

    source: str
    rows: int
    missing_ids: int = 0
    duplicates: int = 0
    repeats: int = 0
    repeats_dropped: bool = False
    filtered_users: int = 0
    filtered_items: int = 0
    filtered_events: int = 0
    ties: int = 0
    order: str
    titled_items: int
    featured_items: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """The report in words; counts of 0 are left out."""
        repeats = "dropped, the first one kept" if self.repeats_dropped else "kept"
        filtered = (
            f"{self.filtered_users} user(s), {self.filtered_items} item(s) and"
            f" {self.filtered_events} event(s) removed by the minimum number of events"
        )
        ties = (
            f"{self.ties} event(s) have the time of the user's previous event; these keep the order"
            " of the file"
        )
        lines = [
            (self.missing_ids, f"{self.missing_ids} row(s) without a user or an item dropped"),
            (self.duplicates, f"{self.duplicates} exact duplicate row(s) dropped"),
            (self.repeats, f"{self.repeats} repeat(s) of an item by the same user {repeats}"),
            (self.filtered_events, filtered),
            (self.ties, ties),
        ]
        changes = [text for count, text in lines if count]
        return [*changes, f"events ordered by {self.order}", *self.notes]


def clean(
    log: Log, *, min_user_events: int = 0, min_item_events: int = 0, drop_repeats: bool = False
) -> tuple[Dataset, Report]:
    """A Dataset of raw events, and the report of what was changed.

    The steps, in this order:

    1. Rows without user or item are dropped.
    2. Events are sorted by user and time; *events with the same time keep the order of the file*,
       and so do all events of a log without times.
    3. Exact duplicates (user, item, time) are dropped. In a log without times none are, since a
       repeat cannot be distinguished from a duplicate.
    4. Repeats of an item by a user are dropped if requested; the oldest event stays.
    5. Users and items with too few events are removed, repeatedly until none is left (k-core).
    6. Users and items are numbered, in ascending order if all ids are integers, else by first
       appearance.

    Args:
        log: the events.
        min_user_events: smallest number of events per user.
        min_item_events: smallest number of events per item.
        drop_repeats: keep only the first event of each user and item.

    Raises:
        DataError: for an unreadable time, and if fewer than two items are left.
    """
    present = ~(_is_missing(log.frame["user"]) | _is_missing(log.frame["item"]))
    events, user_ids, item_ids, notes = _ordered(log, log.frame[present])
    timed = "time" in events
    distinct = events[~events.duplicated(["user", "item", "time"])] if timed else events
    repeated = distinct.duplicated(["user", "item"])
    kept = distinct[~repeated] if drop_repeats else distinct
    core = kept[_core(kept, min_user_events, min_item_events)]
    dataset = _dataset(log, core, user_ids=user_ids, item_ids=item_ids)
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
        notes=log.notes + notes + time_range(dataset.timestamps),
        warnings=_warnings(log, dataset) + oddities(dataset),
    )
    return dataset, report


def _ordered(
    log: Log, frame: pd.DataFrame
) -> tuple[pd.DataFrame, NDArray[np.str_], NDArray[np.str_], tuple[str, ...]]:
    """Events as numbers, sorted by user and time.

    Returns:
        A frame with columns user, item and, where known, time (to sort by) and second; the raw ids
        of users and of items; notes on the times.
    """
    users, user_ids = _number_ids(frame["user"])
    items, item_ids = _number_ids(frame["item"])
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {"user": users, "item": items}
    notes: tuple[str, ...] = ()
    if "time" in frame:
        columns["time"], columns["second"], notes = read_times(
            frame["time"], place=log.place, unit=log.unit
        )
        # Both sorts are stable, which keeps the order of the file for events of the same time.
        order = np.lexsort((columns["time"], users))
    else:
        order = np.argsort(users, kind="stable")
    events = pd.DataFrame({name: column[order] for name, column in columns.items()})
    return events, user_ids, item_ids, notes


def _is_missing(ids: pd.Series) -> pd.Series:
    """Whether each id is missing or an empty text."""
    return ids.isna() | (ids == "") if ids.dtype.kind in "OUT" else ids.isna()


def _number_ids(ids: pd.Series) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Numbers from 0 for ids, and the ids as text in the order of the numbers.

    The order is ascending if all ids are integers, else that of first appearance.
    """
    if ids.dtype.kind == "f" and bool((ids % 1 == 0).all()):
        ids = ids.astype("int64")  # pandas reads integers as floats if one of them is missing
    if ids.dtype.kind == "O":  # 7 and "7" in one column are the same id
        ids = ids.astype(str)
    codes, unique = pd.factorize(ids)
    text = pd.Series(unique).astype(str)
    # Eighteen digits fit into 64 bits. Longer numbers, and words, keep the order of appearance.
    if not text.str.fullmatch(r"-?\d{1,18}").all():
        return codes.astype(np.int64), text.to_numpy(dtype=np.str_)
    order = np.argsort(text.astype("int64").to_numpy(), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], text.to_numpy(dtype=np.str_)[order]


def _core(events: pd.DataFrame, min_user_events: int, min_item_events: int) -> NDArray[np.bool_]:
    """Events left after removing users and items with too few events until nothing changes."""
    users, items = events["user"].to_numpy(), events["item"].to_numpy()
    num_users, num_items = users.max(initial=0) + 1, items.max(initial=0) + 1
    kept = np.ones(len(events), dtype=bool)
    # Removing an item can leave a user with too few events, and the other way round.
    while True:
        user_events = np.bincount(users[kept], minlength=num_users)[users]
        item_events = np.bincount(items[kept], minlength=num_items)[items]
        enough = (user_events >= min_user_events) & (item_events >= min_item_events)
        if not (kept & ~enough).any():
            return kept
        kept &= enough


def _dataset(
    log: Log, events: pd.DataFrame, *, user_ids: NDArray[np.str_], item_ids: NDArray[np.str_]
) -> Dataset:
    """The dataset of sorted events, whose users and items are numbered without gaps."""
    user_codes, rows = np.unique(events["user"].to_numpy(), return_inverse=True)
    item_codes, items = np.unique(events["item"].to_numpy(), return_inverse=True)
    if len(item_codes) < 2:
        raise DataError(
            f"{log.place}: {len(item_codes)} item(s) in {len(events)} usable event(s) of"
            f" {len(log.frame)} row(s); at least 2 are needed. Check the columns and the file, or"
            " lower min_user_events and min_item_events"
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
    """Possible problems: a very small catalogue, and an item file with other ids."""
    num_items, longest = dataset.catalogue.num_items, int(dataset.sequences.lengths.max())
    warnings = []
    if num_items < longest + LIST_LENGTH:
        warnings.append(
            f"{num_items} items are few: a user with {longest} event(s) may have fewer than"
            f" {LIST_LENGTH} unseen items left, and a list longer than that is an error; request"
            " shorter lists"
        )
    has_item_file = bool(log.titles or log.features)
    if has_item_file and not any(raw in log.titles for raw in dataset.catalogue.index):
        warnings.append(
            "no item of the log is in the item file: check that both use the same ids, for instance"
            f" {str(dataset.catalogue.item_ids[1])!r} in the log and {next(iter(log.titles), '')!r}"
            " in the item file"
        )
    return tuple(warnings)
