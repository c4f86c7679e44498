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
    derived: dict[str, Floats] = field(default_factory=dict, repr=False)
    progress: float = 1.0

    def __post_init__(self) -> None:
        # The attribute is frozen for users; the default depends on another attribute.
        if len(self.rows) == 0:
            object.__setattr__(self, "rows", np.arange(len(self.of_targets)))

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


Gains = Callable[[Slates, Context], Floats]
"""Slates (n, j), context -> (n, j): what each position adds, given the positions before it."""
