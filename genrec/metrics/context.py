"""The context that lists are evaluated in: histories, targets, catalogue, probabilities."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences

Floats = NDArray[np.floating[Any]]
"""An array of floating-point numbers."""
Slates = NDArray[np.integer[Any]]
"""Item indices (n, j): the first j positions of n lists, best first."""

A = TypeVar("A", bound=np.generic)
_ONE_EACH: NDArray[np.int64] = np.empty(0, np.int64)  # rows that were not given


@dataclass(frozen=True, eq=False)
class Context:
    """What n lists are evaluated against.

    Many lists may belong to one history: the lists of a group in a rollout, or the candidates of a
    re-ranker. What is known per history is therefore kept once per history, in the attributes
    whose names start with ``of_``, and ``rows`` says which history each list belongs to. A reward
    usually reads the facts per list, ``histories``, ``targets``, ``probability(items)`` and
    ``profiles``; one that computes something costly per history reads the ``of_`` attributes, keeps
    its result in ``derived`` and selects ``result[context.rows]``.

    Raises:
        GenrecError: if the sizes of histories, targets and probabilities do not fit each other.

    Attributes:
        of_histories: H histories, complete, oldest item first.
        of_targets: (H,) held-out item of each history, 0 where it is unknown.
        catalogue: items, their features and training counts.
        k: K, the length of a whole list, also while only its first positions are evaluated.
        of_probabilities: (H, V+1) calibrated P(item | history) of the teacher, rows sum to 1; None
            where nothing needs them.
        rows: (n,) index of each list's history; by default list i belongs to history i.
        derived: results per history that were computed on demand, shared by all contexts that
            ``take`` makes of this one.
        progress: share of the training that is done, 0 to 1, for rewards that change during it; 1
            outside training, so that metrics and re-rankers see the reward in its final form.
    """

    of_histories: Sequences
    of_targets: Slates
    catalogue: Catalogue
    k: int
    _: KW_ONLY
    of_probabilities: Floats | None = None
    rows: Slates = field(default_factory=lambda: _ONE_EACH)
    derived: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    progress: float = 1.0

    def __post_init__(self) -> None:
        # The attribute is frozen for users; the default depends on another attribute.
        if self.rows is _ONE_EACH:
            object.__setattr__(self, "rows", np.arange(len(self.of_targets)))
        # Only sizes: a context is made again for every part of a batch.
        count, table = len(self.of_histories), self.of_probabilities
        if np.shape(self.of_targets) != (count,):
            raise GenrecError(
                f"there are targets of shape {np.shape(self.of_targets)} for {count} histories:"
                " give one for each history, 0 where it is unknown"
            )
        if np.ndim(self.rows) != 1:
            raise GenrecError(f"rows have the shape {np.shape(self.rows)}: give one per list")
        if table is not None and table.shape != (count, self.catalogue.num_items + 1):
            raise GenrecError(
                f"of_probabilities has the shape {table.shape}, not"
                f" {(count, self.catalogue.num_items + 1)}: one row per history, and a column for"
                " every item and for PAD (0)"
            )
        if self.k < 1:
            raise GenrecError(f"k is {self.k}: a list has at least one item")

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, lists: Slates) -> "Context":
        """The context of the lists at those positions, which may repeat.

        What is known per history is shared, not copied.
        """
        return replace(self, rows=self.rows[lists])

    @property
    def targets(self) -> Slates:
        """(n,) held-out item of each list's history, 0 where it is unknown."""
        chosen: Slates = self.of_targets[self.rows]
        return chosen

    @property
    def histories(self) -> Sequences:
        """The history of each list, n in all."""
        return self.of_histories.take(self.rows)

    @property
    def of_times(self) -> NDArray[np.int64]:
        """(M,) times of the M events of ``of_histories``, in seconds, aligned with their items.

        A history ends with the last event before the list. The time at which the list is requested,
        and that of the target, are not known.

        Raises:
            GenrecError: if the log has no times.
        """
        return self.of_histories.known_times()

    def probability(self, items: Slates) -> Floats:
        """(n, j) the teacher's calibrated P(item | history) of items (n, j).

        Raises:
            GenrecError: if this context carries no probabilities.
        """
        if self.of_probabilities is None:
            raise GenrecError(
                "this reward needs P(item | history): declare needs={'probabilities'} and give a"
                " teacher"
            )
        chosen: Floats = self.of_probabilities[self.rows[:, None], items]
        return chosen

    @property
    def seen_keys(self) -> NDArray[np.int64]:
        """(M,) ascending: row · (V+1) + item of every item in ``of_histories``."""
        if "seen_keys" not in self.derived:
            histories = self.of_histories
            keys = histories.rows() * (self.catalogue.num_items + 1) + histories.items
            self.derived["seen_keys"] = read_only_view(np.sort(keys))
        found: NDArray[np.int64] = self.derived["seen_keys"]
        return found

    @property
    def shared(self) -> list[NDArray[Any]]:
        """The arrays that all lists share, into which nobody may write."""
        catalogue, histories = self.catalogue, self.of_histories
        arrays = [
            catalogue.features,
            catalogue.counts,
            catalogue.user_counts,
            catalogue.popularity,
            catalogue.vectors,
            catalogue.known,
            histories.offsets,
            histories.items,
            self.of_targets,
            self.rows,
        ]
        optional = (histories.times, self.of_probabilities)
        return arrays + [array for array in optional if array is not None]

    @property
    def of_profiles(self) -> Floats:
        """(H, D) mean vector of the items with features in each history; 0 where there are none."""
        if "profiles" not in self.derived:
            histories, catalogue = self.of_histories, self.catalogue
            known = catalogue.known[histories.items].astype(np.float32)
            shape = (len(histories), catalogue.num_items + 1)
            each = sparse.csr_matrix((known, histories.items, histories.offsets), shape=shape)
            # Items without features do not count, and a history without any has the zero vector.
            count = np.maximum(np.asarray(each.sum(axis=1)), 1)
            self.derived["profiles"] = read_only_view((each @ catalogue.vectors) / count)
        return self.derived["profiles"]

    @property
    def profiles(self) -> Floats:
        """(n, D) mean vector of the items with features in each list's history."""
        chosen: Floats = self.of_profiles[self.rows]
        return chosen


def read_only(context: Context) -> Context:
    """The same context with arrays that raise ValueError where they are written into.

    Views are made, and no array is switched to read-only: other threads may use it.
    """
    histories, table = context.of_histories, context.of_probabilities
    return replace(
        context,
        of_histories=Sequences(
            read_only_view(histories.offsets),
            read_only_view(histories.items),
            None if histories.times is None else read_only_view(histories.times),
        ),
        of_targets=read_only_view(context.of_targets),
        catalogue=_read_only_catalogue(context.catalogue),
        of_probabilities=None if table is None else read_only_view(table),
        rows=read_only_view(context.rows),
    )


def read_only_view(array: NDArray[A]) -> NDArray[A]:
    """The same numbers in an array that raises ValueError where it is written into."""
    view = array.view()
    view.setflags(write=False)
    return view


_READ_ONLY: WeakKeyDictionary[Catalogue, Catalogue] = WeakKeyDictionary()
_MADE_READ_ONLY: WeakSet[Catalogue] = WeakSet()  # the values


def _read_only_catalogue(catalogue: Catalogue) -> Catalogue:
    """One read-only catalogue for each, since what a reward derives from it may be kept with it."""
    if catalogue in _MADE_READ_ONLY:
        return catalogue
    found = _READ_ONLY.get(catalogue)
    if found is None:
        found = replace(
            catalogue,
            features=read_only_view(catalogue.features),
            counts=read_only_view(catalogue.counts),
            user_counts=read_only_view(catalogue.user_counts),
            vectors=read_only_view(catalogue.vectors),
        )
        for computed in (found.popularity, found.known, found.feature_counts):
            computed.setflags(write=False)
        _READ_ONLY[catalogue] = found
        _MADE_READ_ONLY.add(found)
    return found


def require_lists(slates: Slates, context: Context) -> None:
    """Check that lists can be what somebody is recommended.

    Args:
        slates: (n, K) lists.
        context: of these lists.

    Raises:
        GenrecError: for another number of lists or a wider one, PAD or an index beyond the
            catalogue, an item that is twice in a list, or one of the history; it names the list and
            the item. Also for histories or targets with an item that is not in the catalogue.
    """
    _require_facts(context)
    num_items, count = context.catalogue.num_items, len(context)
    require_items(slates, num_items)
    if len(slates) != count or slates.shape[1] > context.k:
        raise GenrecError(
            f"lists of shape {slates.shape} were given for {count} histories and K = {context.k}:"
            f" give one list of K items for each, in the order of the histories"
        )
    keys = context.rows[:, None] * (num_items + 1) + slates
    known = context.seen_keys
    places = np.minimum(np.searchsorted(known, keys), max(0, len(known) - 1))
    if len(known):
        _refuse(known[places] == keys, slates, "is in the history: leave out what was seen")


def require_items(slates: Slates, num_items: int | None = None) -> None:
    """Check that lists are made of different items.

    Args:
        slates: (n, K) lists.
        num_items: V, where it is known.

    Raises:
        GenrecError: for another number of axes or no integers, PAD or an index beyond the
            catalogue, or an item that is twice in a list; it names the list and the item.
    """
    shape, kind = np.shape(slates), getattr(slates, "dtype", type(slates).__name__)
    if len(shape) != 2 or np.dtype(getattr(slates, "dtype", object)).kind not in "iu":
        raise GenrecError(
            f"{kind} lists of shape {shape} were given: give an array of item indices of shape"
            " (n, K)"
        )
    last = np.iinfo(slates.dtype).max if num_items is None else num_items
    items = "1, 2, ..." if num_items is None else f"1 to {num_items}"
    _refuse((slates < 1) | (slates > last), slates, f"is no item: items are {items}, 0 is padding")
    order = np.sort(slates, axis=1)
    repeated = (order[:, 1:] == order[:, :-1]).any(axis=1)
    if repeated.any():
        row = int(repeated.argmax())
        values, counts = np.unique(slates[row], return_counts=True)
        raise GenrecError(
            f"list {row}, {slates[row].tolist()}, has item {values[counts.argmax()]} twice: the"
            " items of a list differ"
        )


def _require_facts(context: Context) -> None:
    """Raise GenrecError for rows, histories or targets that nothing can be measured against."""
    rows, histories, num_items = context.rows, context.of_histories, context.catalogue.num_items
    wrong = (rows < 0) | (rows >= len(histories))
    if wrong.any():
        raise GenrecError(
            f"list {wrong.argmax()} belongs to history {rows[wrong.argmax()]}, but there are"
            f" {len(histories)}: rows count from 0"
        )
    targets = context.of_targets
    wrong = (targets < 0) | (targets > num_items)
    if wrong.any():
        raise GenrecError(
            f"the target of history {wrong.argmax()} is {targets[wrong.argmax()]}: items are 1 to"
            f" {num_items}, and 0 says that it is unknown"
        )
    if "seen_keys" in context.derived:  # their items were checked before
        return
    wrong = (histories.items < 1) | (histories.items > num_items)
    if wrong.any():
        event = int(wrong.argmax())
        raise GenrecError(
            f"history {histories.rows()[event]} has item {histories.items[event]}: items are 1 to"
            f" {num_items}"
        )


def _refuse(wrong: NDArray[np.bool_], slates: Slates, why: str) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise GenrecError(
            f"list {row}, {slates[row].tolist()}: {slates[row, column]} at position {column + 1}"
            f" {why}"
        )


Gains = Callable[[Slates, Context], Floats]
"""Slates (n, j), context -> (n, j): what each position adds, given the positions before it."""
