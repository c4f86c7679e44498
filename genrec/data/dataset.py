"""An interaction log inside genrec: ragged user sequences and the catalogue of items."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What is known of the V items; row i of every array is item i, row 0 is PAD.

    Attributes:
        item_ids: (V+1,) raw ids as strings, "" at 0.
        titles: (V+1,) what to print for an item; its raw id where no title is known.
        features: (V+1, F) bool multi-hot, for instance genres; F is 0 where none are known.
        feature_names: the F names.
        counts: (V+1,) number of *training* events of each item; zeros before a split.
        user_counts: (V+1,) number of distinct training users of each item; zeros before a split.
        num_users: number of training users.
        vectors: (V+1, D) float32 rows of unit length with entries >= 0, between which all distances
            are measured: normalised features or, where the catalogue has none, training
            co-occurrences. A zero row is an item of which nothing is known.
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
        """V, without PAD."""
        return len(self.item_ids) - 1

    @cached_property
    def popularity(self) -> NDArray[np.float64]:
        """(V+1,) share of all training events that are of this item; sums to 1."""
        return self.counts / max(1, int(self.counts.sum()))

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(V+1,) whether anything is known of each item, so that distances from it mean
        something."""
        flags: NDArray[np.bool_] = np.asarray(self.vectors.any(axis=1))
        return flags

    @cached_property
    def index(self) -> dict[str, int]:
        """Raw item id -> index."""
        return {str(raw): i for i, raw in enumerate(self.item_ids) if i}

    def indices(self, raw_ids: list[str]) -> NDArray[np.int32]:
        """Indices of raw item ids.

        Raises:
            GenrecError: naming the ids that are not in the catalogue.
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
    """A catalogue, with counts still zero, from raw ids in index order (first id = index 1).

    Args:
        item_ids: raw ids of items 1..V.
        titles: raw id -> title.
        features: raw id -> names of its features, for instance genres.
    """
    known = features or {}
    names = tuple(sorted({name for raw in item_ids for name in known.get(raw, [])}))
    column = {name: i for i, name in enumerate(names)}
    multi_hot = np.zeros((len(item_ids) + 1, len(names)), dtype=bool)
    for row, raw in enumerate(item_ids, start=1):
        multi_hot[row, [column[name] for name in known.get(raw, [])]] = True
    size = len(item_ids) + 1
    return Catalogue(
        item_ids=np.array(["", *item_ids], dtype=np.str_),
        titles=np.array(["", *[(titles or {}).get(raw, raw) for raw in item_ids]], dtype=np.str_),
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
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Dataset:
    """An interaction log: one sequence a user, oldest event first.

    Attributes:
        name: what the user called it.
        users: (U,) raw user ids.
        sequences: U item sequences.
        timestamps: (M,) int64 seconds, aligned with ``sequences.items``; None where the source has
            only an order. They are the ``times`` of the sequences, and so of all that is cut from
            them.
        catalogue: the items.
    """

    name: str
    users: NDArray[np.str_]
    sequences: Sequences
    timestamps: NDArray[np.int64] | None
    catalogue: Catalogue

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", replace(self.sequences, times=self.timestamps))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over events, their times, items and features: datasets with the same one
        are one benchmark."""
        digest = hashlib.sha256()
        times = [] if self.timestamps is None else [self.timestamps]
        parts = (self.sequences.offsets, self.sequences.items, self.catalogue.features, *times)
        for array in parts:
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update("\n".join(self.catalogue.item_ids.tolist()).encode())
        return digest.hexdigest()[:16]

    def statistics(self) -> dict[str, float]:
        """Users, items, interactions, lengths and density of the log."""
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
