"""An interaction log in genrec: ragged user sequences and the catalogue of items."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences


@dataclass(frozen=True, eq=False, kw_only=True)
class Catalogue:
    """Everything known about the V items; row i of every array is item i, row 0 is PAD.

    Attributes:
        item_ids: (V+1,) raw ids as strings, "" at 0.
        titles: (V+1,) title of each item; its raw id where no title is known.
        features: (V+1, F) bool multi-hot, for instance genres; F is 0 where none are known.
        feature_names: the F names.
        counts: (V+1,) number of *training* events per item; zeros before a split.
        user_counts: (V+1,) number of distinct training users per item; zeros before a split.
        num_users: number of training users.
        vectors: (V+1, D) float32 rows of unit length with entries >= 0, for distances between
            items: normalised features or, where the catalogue has none, training co-occurrences.
            An item about which nothing is known has a zero row.
    """

    item_ids: NDArray[np.str_]
    titles: NDArray[np.str_]
    features: NDArray[np.bool_]
    feature_names: tuple[str, ...]
    counts: NDArray[np.int64]
    user_counts: NDArray[np.int64]
    num_users: int
    vectors: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        """V, the number of items without PAD."""
        return len(self.item_ids) - 1

    @cached_property
    def popularity(self) -> NDArray[np.float64]:
        """(V+1,) share of each item in all training events; sums to 1."""
        return self.counts / max(1, int(self.counts.sum()))

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(V+1,) whether an item's vector is not zero, so that distances from it are meaningful."""
        flags: NDArray[np.bool_] = np.asarray(self.vectors.any(axis=1))
        return flags

    @cached_property
    def feature_counts(self) -> NDArray[np.int64]:
        """(V+1,) number of features of each item."""
        counts: NDArray[np.int64] = self.features.sum(axis=1, dtype=np.int64)
        return counts

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each raw item id."""
        return {str(raw): i for i, raw in enumerate(self.item_ids) if i}

    def indices(self, raw_ids: list[str]) -> NDArray[np.int32]:
        """Indices of raw item ids.

        Raises:
            GenrecError: naming the ids that the catalogue does not contain.
        """
        unknown = [raw for raw in raw_ids if raw not in self.index]
        if unknown:
            sample = ", ".join(str(raw) for raw in self.item_ids[1:6])
            raise GenrecError(
                f"unknown item id(s) {', '.join(unknown[:10])}; this catalogue has ids such as"
                f" {sample}"
            )
        return np.array([self.index[raw] for raw in raw_ids], dtype=np.int32)


def make_catalogue(
    item_ids: list[str],
    titles: dict[str, str] | None = None,
    features: dict[str, list[str]] | None = None,
) -> Catalogue:
    """A catalogue with counts of zero from raw ids in index order (the first id has index 1).

    Args:
        item_ids: raw ids of items 1..V.
        titles: from raw id to title.
        features: from raw id to the names of its features, for instance genres.
    """
    known = features or {}
    names = tuple(sorted({name for raw in item_ids for name in known.get(raw, [])}))
    column = {name: i for i, name in enumerate(names)}
    multi_hot = np.zeros((len(item_ids) + 1, len(names)), dtype=bool)
    for row, raw in enumerate(item_ids, start=1):
        multi_hot[row, [column[name] for name in known.get(raw, [])]] = True
    size = len(item_ids) + 1
    shown = [(titles or {}).get(raw, raw) for raw in item_ids]
    return Catalogue(
        item_ids=np.array(["", *item_ids], dtype=np.str_),
        titles=np.array(["", *shown], dtype=np.str_),
        features=multi_hot,
        feature_names=names,
        counts=np.zeros(size, np.int64),
        user_counts=np.zeros(size, np.int64),
        num_users=0,
        vectors=unit_rows(multi_hot.astype(np.float32)),
    )


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; zero rows stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    # Zero rows are divided by 1 in place of 0.
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """An interaction log: one sequence per user, oldest event first.

    Attributes:
        name: name of the log, for messages and reports.
        users: (U,) raw user ids.
        sequences: U item sequences.
        timestamps: (M,) int64 seconds, aligned with ``sequences.items``; None where the source has
            only an order. They become the ``times`` of the sequences, and thereby of every history
            taken from them.
        catalogue: the items.
    """

    name: str
    users: NDArray[np.str_]
    sequences: Sequences
    timestamps: NDArray[np.int64] | None
    catalogue: Catalogue

    def __post_init__(self) -> None:
        # The times belong to the sequences, so that histories cut from them keep their times.
        object.__setattr__(self, "sequences", replace(self.sequences, times=self.timestamps))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over events, times, items and features.

        Results on datasets with the same fingerprint can be compared.
        """
        digest = hashlib.sha256()
        times = [] if self.timestamps is None else [self.timestamps]
        parts = (self.sequences.offsets, self.sequences.items, self.catalogue.features, *times)
        for array in parts:
            digest.update(np.ascontiguousarray(array).tobytes())
        # The same indices of other items are another dataset; other titles are not.
        digest.update("\n".join(self.catalogue.item_ids.tolist()).encode())
        return digest.hexdigest()[:16]

    def statistics(self) -> dict[str, float]:
        """Numbers of users, items and events, lengths of sequences, and density of the log."""
        lengths = self.sequences.lengths
        users, items, events = len(self.users), self.catalogue.num_items, int(lengths.sum())
        return {
            "users": users,
            "items": items,
            "interactions": events,
            "mean length": float(lengths.mean()),
            "median length": float(np.median(lengths)),
            "shortest": int(lengths.min()),
            "longest": int(lengths.max()),
            "density": events / (users * items),
            "features": len(self.catalogue.feature_names),
        }
