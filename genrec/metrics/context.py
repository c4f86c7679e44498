"""The context that lists are evaluated in: histories, targets, catalogue, probabilities."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

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
    rows: Slates = field(default_factory=lambda: np.empty(0, np.int64))
    derived: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    progress: float = 1.0

    def __post_init__(self) -> None:
        # The attribute is frozen for users; the default depends on another attribute.
        if len(self.rows) == 0:
            object.__setattr__(self, "rows", np.arange(len(self.of_targets)))
        # Only sizes: a context is made again for every part of a batch.
        count, table = len(self.of_histories), self.of_probabilities
        if len(self.of_targets) != count:
            raise GenrecError(
                f"there are {len(self.of_targets)} targets for {count} histories: give one for each"
                " history, 0 where it is unknown"
            )
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
            self.derived["seen_keys"] = np.sort(keys)
        found: NDArray[np.int64] = self.derived["seen_keys"]
        return found

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
            self.derived["profiles"] = (each @ catalogue.vectors) / count
        return self.derived["profiles"]

    @property
    def profiles(self) -> Floats:
        """(n, D) mean vector of the items with features in each list's history."""
        chosen: Floats = self.of_profiles[self.rows]
        return chosen


def require_lists(slates: Slates, context: Context) -> None:
    """Check that lists can be what somebody is recommended.

    Args:
        slates: (n, K) lists.
        context: of these lists.

    Raises:
        GenrecError: for another number of lists, PAD or an index beyond the catalogue, an item that
            is twice in a list, or one of the history; it names the list and the item.
    """
    if slates.ndim != 2 or slates.dtype.kind not in "iu" or len(slates) != len(context):
        raise GenrecError(
            f"{slates.dtype} lists of shape {slates.shape} were given for {len(context)} histories:"
            f" give item indices of shape ({len(context)}, K)"
        )
    num_items = context.catalogue.num_items
    _refuse((slates < 1) | (slates > num_items), slates, f"is no item: items are 1 to {num_items}")
    order = np.sort(slates, axis=1)
    repeated = (order[:, 1:] == order[:, :-1]).any(axis=1)
    if repeated.any():
        row = int(repeated.argmax())
        values, counts = np.unique(slates[row], return_counts=True)
        raise GenrecError(
            f"list {row}, {slates[row].tolist()}, has item {values[counts.argmax()]} twice: the"
            " items of a list differ"
        )
    keys = context.rows[:, None] * (num_items + 1) + slates
    known = context.seen_keys
    places = np.minimum(np.searchsorted(known, keys), max(0, len(known) - 1))
    if len(known):
        _refuse(known[places] == keys, slates, "is in the history: leave out what was seen")


def _refuse(wrong: NDArray[np.bool_], slates: Slates, why: str) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise GenrecError(
            f"list {row}, {slates[row].tolist()}: {slates[row, column]} at position {column + 1}"
            f" {why}"
        )


Gains = Callable[[Slates, Context], Floats]
"""Slates (n, j), context -> (n, j): what each position adds, given the positions before it."""
