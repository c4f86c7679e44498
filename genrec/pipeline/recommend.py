"""Lists from a finished run, raw ids in and raw ids out: for one history, or for users of a log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import Dataset, Sequences
from genrec.pipeline.item_index import ItemIndex, TitledList
from genrec.pipeline.loading import open_recommender

USERS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class UserHistories:
    """Users of a log and their histories in the item indices of a run.

    Attributes:
        users: (N,) raw ids.
        histories: N sequences, none of them empty, with times where the log has them.
        unknown_events: events with items that the run does not know; they are left out.
        unknown_users: users without any known item; they are left out.
    """

    users: NDArray[np.str_]
    histories: Sequences
    unknown_events: int
    unknown_users: int


def user_histories(run: Path, dataset: Dataset) -> UserHistories:
    """The users of a log, with those items that the log and the run know by the same raw id.

    Raises:
        GenrecError: if no user has an item that the run knows.
    """
    known_items, log = ItemIndex.of(run), dataset.sequences
    indices = known_items.indices()
    raw_ids = dataset.catalogue.item_ids
    table = np.array([indices.get(str(raw), 0) for raw in raw_ids], dtype=np.int32)
    items = table[log.items]
    known = items > 0
    counts = np.bincount(log.rows()[known], minlength=len(log))
    if not counts.any():
        raise GenrecError(
            f"no user of {dataset.name} has an item that {run} knows: the run has ids such as"
            f" {known_items.examples}, the log {', '.join(raw_ids[1:6])}"
        )
    times = None if log.times is None else log.times[known]
    has_items = counts > 0
    every = Sequences(np.concatenate([[0], np.cumsum(counts)]), items[known], times)
    return UserHistories(
        users=dataset.users[has_items],
        histories=every.take(has_items),
        unknown_events=int((~known).sum()),
        unknown_users=int((~has_items).sum()),
    )


def recommend_titles(
    run: Path,
    history: Sequence[str],
    k: int,
    *,
    device: torch.device,
    beams: int = 1,
    weights: Mapping[str, float] | None = None,
) -> TitledList:
    """The list that a run recommends after a history of raw ids; needs no dataset.

    Args:
        run: run directory.
        history: raw item ids, oldest first.
        k: length of the list.
        device: of the model.
        beams: see ``open_recommender``.
        weights: see ``open_recommender``.

    Raises:
        GenrecError: naming ids that are not in the catalogue.
    """
    items = ItemIndex.of(run)
    indices = items.indices()
    if unknown := [raw for raw in history if raw not in indices]:
        raise GenrecError(
            f"unknown item id(s) {', '.join(unknown[:10])}; this catalogue has ids such as"
            f" {items.examples}"
        )
    histories = Sequences.from_lists([[indices[raw] for raw in history]])
    recommender = open_recommender(run, device, beams=beams, weights=weights)
    return items.titled(recommender.recommend(histories, k)[0])


def recommend_users(
    run: Path,
    users: UserHistories,
    k: int,
    *,
    device: torch.device,
    beams: int = 1,
    weights: Mapping[str, float] | None = None,
) -> Iterator[tuple[str, TitledList]]:
    """(user, list) for every user of a log, a few hundred at a time.

    No list has an item of its user's history.

    Args:
        run: run directory.
        users: as ``user_histories`` gives them.
        k: length of the lists.
        device: of the model.
        beams: see ``open_recommender``.
        weights: see ``open_recommender``.
    """
    items = ItemIndex.of(run)
    recommender = open_recommender(run, device, beams=beams, weights=weights)
    for start in range(0, len(users.users), USERS_AT_ONCE):
        rows = np.arange(start, min(start + USERS_AT_ONCE, len(users.users)))
        slates = recommender.recommend(users.histories.take(rows), k)
        for user, slate in zip(users.users[rows], slates, strict=True):
            yield str(user), items.titled(slate)
