"""Signs that a log was read wrongly: a placeholder for a user, times of two units, and the like."""

import numpy as np
from numpy.typing import NDArray

from genrec.data.dataset import Dataset

FEW_EVENTS = 10  # in smaller logs a share of the events says nothing
NO_USER = frozenset({"na", "n/a", "nil", "none", "null", "nan", "unknown", "undefined"})
LARGE_GAP = 5 * 365 * 86_400  # seconds without any event: more than a pause in collecting


def oddities(dataset: Dataset) -> tuple[str, ...]:
    """Warnings about a cleaned log, empty if nothing looks wrong.

    Args:
        dataset: the cleaned log.
    """
    found = [*_odd_users(dataset), _dense(dataset), _odd_times(dataset.timestamps)]
    return tuple(warning for warning in found if warning)


def _odd_users(dataset: Dataset) -> list[str]:
    """Placeholders for a user, and a user with most of the events."""
    lengths = dataset.sequences.lengths
    warnings = [
        f"the user {str(user)!r} has {int(length)} event(s) and looks like a missing user: delete"
        " these rows, or choose another column with the option user (--user)"
        for user, length in zip(dataset.users, lengths, strict=True)
        if str(user).lower() in NO_USER
    ]
    events, most = int(lengths.sum()), int(lengths.argmax())
    if events >= FEW_EVENTS and 2 * lengths[most] > events:
        warnings.append(
            f"the user {str(dataset.users[most])!r} has {int(lengths[most])} of {events} events:"
            " check that the column of the user is the right one (--user)"
        )
    return warnings


def _dense(dataset: Dataset) -> str:
    """A warning if there are more events than pairs of user and item."""
    events, pairs = len(dataset.sequences.items), len(dataset.users) * dataset.catalogue.num_items
    if events < FEW_EVENTS or events <= pairs:
        return ""
    return (
        f"{events} events are more than the {pairs} pairs of a user and an item: users have the"
        " same items again and again; check the columns of user and item"
    )


def _odd_times(seconds: NDArray[np.int64] | None) -> str:
    """A warning about times that are all the same, or that form two distant groups."""
    if seconds is None or len(seconds) < FEW_EVENTS:
        return ""
    distinct = np.unique(seconds)
    if len(distinct) == 1:
        return (
            "all events have the same time, so the order is that of the file: check the column of"
            " the time (--time)"
        )
    gaps = np.diff(distinct)
    widest = int(gaps.argmax())
    if gaps[widest] < LARGE_GAP or 2 * gaps[widest] < distinct[-1] - distinct[0]:
        return ""
    early = int((seconds <= distinct[widest]).sum())
    return (
        f"the times form two groups far apart, of {early} and {len(seconds) - early} event(s):"
        " correct or delete times that are placeholders or have another unit"
    )
