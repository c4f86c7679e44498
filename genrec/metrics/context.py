"""The context that lists are judged in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences

Floats = NDArray[np.floating[Any]]


Slates = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Context:
    """What n lists are judged against.

    Many lists may share a history (the lists of a group, the candidates of a re-ranker):
    per-history facts are held once, and ``rows`` says which history each list belongs to.

    Attributes:
        of_histories: H histories, whole, oldest item first.
        of_targets: (H,) the held-out item, 0 where it is unknown.
        catalogue: items, features and training counts.
        k: K, the length of a whole list, also while only its beginning is looked at.
        of_probabilities: (H, V+1) calibrated P(item | history) of the teacher, rows sum to 1; None
            unless asked for.
        rows: (n,) history of each list; by default list i belongs to history i.
        derived: per-history facts that were computed on demand, shared by all contexts of the same
            histories.
        progress: share of a training that is done, 0..1, for rewards that change on the way; 1
            outside training, so that metrics and re-rankers see the reward as it is in the end.
    """

    of_histories: Sequences
    of_targets: Slates
    catalogue: Catalogue
    k: int
    of_probabilities: Floats | None = None
    rows: Slates = field(default_factory=lambda: np.empty(0, np.int64))
    derived: dict[str, Floats] = field(default_factory=dict, repr=False)
    progress: float = 1.0

    def __post_init__(self) -> None:
        if len(self.rows) == 0:
            object.__setattr__(self, "rows", np.arange(len(self.of_targets)))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, lists: Slates) -> "Context":
        """The context of the lists at those positions, repeats allowed; per-history facts stay
        shared."""
        return replace(self, rows=self.rows[lists])

    @property
    def targets(self) -> Slates:
        """(n,) the held-out item of each list's history, 0 where unknown."""
        chosen: Slates = self.of_targets[self.rows]
        return chosen

    @property
    def histories(self) -> Sequences:
        """The history of each list."""
        return self.of_histories.take(self.rows)

    @property
    def of_times(self) -> NDArray[np.int64]:
        """(M,) seconds, when the events of ``of_histories`` happened, aligned with their items.

        The history ends with the last event before the list; when the list is asked for, and so
        when the target happened, is not known.

        Raises:
            GenrecError: if the log does not say when.
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
        """(H, D) mean vector of the known items of each history; zeros for a history of unknown
        items."""
        if "profiles" not in self.derived:
            histories, catalogue = self.of_histories, self.catalogue
            known = catalogue.known[histories.items].astype(np.float32)
            shape = (len(histories), catalogue.num_items + 1)
            each = sparse.csr_matrix((known, histories.items, histories.offsets), shape=shape)
            count = np.maximum(np.asarray(each.sum(axis=1)), 1)
            self.derived["profiles"] = (each @ catalogue.vectors) / count
        return self.derived["profiles"]

    @property
    def profiles(self) -> Floats:
        """(n, D) mean vector of each list's history."""
        chosen: Floats = self.of_profiles[self.rows]
        return chosen


Gains = Callable[[Slates, Context], Floats]
"""Slates (n, j) and their context -> (n, j): what each position adds, given the positions before
it."""
