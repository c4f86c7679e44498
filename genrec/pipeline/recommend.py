"""Lists from a finished run, raw ids in and raw ids out: after one history, or for every user of a
log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import Dataset, Sequences
from genrec.pipeline.loading import open_recommender
from genrec.training.run_directory import read_json

AT_ONCE = 512  # users whose lists are written before the first of them is given

Titled = list[tuple[str, str]]  # (raw id, title) of the items of a list, best first


@dataclass(frozen=True, eq=False)
class ItemIndex:
    """The items that a run knows.

    Attributes:
        ids: raw ids of items 1..V.
        titles: of the same.
    """

    ids: list[str]
    titles: list[str]

    @classmethod
    def of(cls, run: Path) -> "ItemIndex":
        """Those of a run folder."""
        content = read_json(run / "items.json")
        return cls(content["ids"], content["titles"])

    @property
    def examples(self) -> str:
        """A few ids, for messages."""
        return ", ".join(self.ids[:5])

    def index(self) -> dict[str, int]:
        """Raw id -> item index."""
        return {raw: i for i, raw in enumerate(self.ids, start=1)}

    def titled(self, slate: NDArray[np.integer]) -> Titled:
        """What a list of item indices means."""
        return [(self.ids[i - 1], self.titles[i - 1]) for i in slate]


@dataclass(frozen=True, eq=False)
class UserHistories:
    """Users of a log, and what they have had of a run's catalogue.

    Attributes:
        users: (N,) raw ids.
        histories: N sequences of the run's item indices, none of them empty, with times where the
            log has them.
        unknown_events: of items that the run does not know; they are left out.
        unknown_users: who had no other items; they are left out.
    """

    users: NDArray[np.str_]
    histories: Sequences
    unknown_events: int
    unknown_users: int


def recommend_titles(
    run: Path,
    history: Sequence[str],
    k: int,
    device: torch.device,
    beams: int = 1,
    weights: Mapping[str, float] | None = None,
) -> Titled:
    """(raw id, title) of the k items that a run recommends after a history of raw ids; needs no
    dataset.

    Beams and weights are those of ``open_recommender``.

    Raises:
        GenrecError: naming ids that are not in the catalogue.
    """
    items = ItemIndex.of(run)
    index = items.index()
    unknown = [raw for raw in history if raw not in index]
    if unknown:
        raise GenrecError(
            f"unknown item id(s) {', '.join(unknown[:10])}; this catalogue has ids such as"
            f" {items.examples}"
        )
    histories = Sequences.from_lists([[index[raw] for raw in history]])
    return items.titled(open_recommender(run, device, beams, weights).recommend(histories, k)[0])


def user_histories(run: Path, dataset: Dataset) -> UserHistories:
    """The users of a log in the words of a run: its item indices, for items that both know by the
    same raw id.

    Raises:
        GenrecError: if no user has an item that the run knows.
    """
    known_items, log = ItemIndex.of(run), dataset.sequences
    index = known_items.index()
    table = np.array([index.get(str(raw), 0) for raw in dataset.catalogue.item_ids], dtype=np.int32)
    items = table[log.items]
    known = items > 0
    counts = np.bincount(log.rows()[known], minlength=len(log))
    if not counts.any():
        raise GenrecError(
            f"no user of {dataset.name} has an item that {run} knows: ids there are such as"
            f" {known_items.examples}, and here"
            f" {', '.join(dataset.catalogue.item_ids[1:6])}"
        )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times = None if log.times is None else log.times[known]
    some = counts > 0
    histories = Sequences(offsets, items[known], times).take(some)
    return UserHistories(dataset.users[some], histories, int((~known).sum()), int((~some).sum()))


def recommend_users(
    run: Path,
    asked: UserHistories,
    k: int,
    device: torch.device,
    beams: int = 1,
    weights: Mapping[str, float] | None = None,
) -> Iterator[tuple[str, Titled]]:
    """(user, list) for every user of a log, a few hundred at a time; no list has an item of
    its history.

    Beams and weights are those of ``open_recommender``.
    """
    index, recommender = ItemIndex.of(run), open_recommender(run, device, beams, weights)
    for start in range(0, len(asked.users), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(asked.users)))
        slates = recommender.recommend(asked.histories.take(rows), k)
        for user, slate in zip(asked.users[rows], slates, strict=True):
            yield str(user), index.titled(slate)
