"""Association rules between pairs of items: who used X also used Y."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.baselines import storage
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import Floats, pair_table, profiles
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

Measure = Literal["support", "confidence", "lift"]


@dataclass(frozen=True, eq=False)
class AssociationRules:
    """Adds up the strength of the rules X → i over the items X of the history.

    score_i = Σ_{X in history} m(X → i) + ε · p(i), with n_X the training users of X, n_Xi of both,
    U of anything, and m

    - support, n_Xi / U: how many users are behind the rule;
    - confidence, n_Xi / n_X: which share of the users of X has i as well;
    - lift, n_Xi · U / (n_X · n_i): how much more often than by chance.

    Support and confidence are from [Agrawal et al. 1993, §2], lift from [Brin et al. 1997, §3],
    where it is called interest. Sets of one item on either side, each user's items being one
    transaction. Lift says most of the rarest items; ``min_users`` keeps rules off that few users
    are behind. ε = 0.001 lets p(i), the training share of i, order the items without a rule.

    Attributes:
        rules: (V+1, V+1) sparse; row X holds m(X → ·).
        counts: (V+1,) training events of each item.
        measure: m.
    """

    rules: sparse.csr_matrix
    counts: NDArray[np.int64]
    measure: Measure = "confidence"

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        measure: Measure = "confidence",
        min_users: int = 2,
        rules: int = 500,
    ) -> "AssociationRules":
        """The rules with at least ``min_users`` training users behind them, the ``rules`` strongest
        of each item.

        Raises:
            GenrecError: for a measure that does not exist, or limits below 1.
        """
        catalogue = split.catalogue
        table = mine(
            split.train,
            catalogue.num_items,
            measure=measure,
            min_users=min_users,
            rules=rules,
        )
        return cls(table, catalogue.counts, measure)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        scores: Floats = (profiles(histories, self.num_items) @ self.rules).toarray()
        return torch.from_numpy(scores + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays = {"counts": self.counts, **storage.parts(self.rules)}
        storage.write(folder, "association_rules", {"measure": self.measure}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "association_rules")
        return cls(
            storage.joined(arrays, len(arrays["counts"])), arrays["counts"], settings["measure"]
        )


def mine(
    train: Sequences, num_items: int, *, measure: Measure, min_users: int, rules: int
) -> sparse.csr_matrix:
    """The strength of the rules between pairs of items.

    Args:
        train: training sequences, one per user.
        num_items: V.
        measure: support, confidence or lift.
        min_users: users behind a rule, at least.
        rules: kept for each item X, the strongest.

    Returns:
        (V+1, V+1) sparse; row X, column Y: the strength of X → Y.

    Raises:
        GenrecError: for a measure that does not exist, or limits below 1.

    >>> train = Sequences.from_lists([[1, 2], [1], [1], [2, 1]])
    >>> mine(train, 2, measure="confidence", min_users=1, rules=9).toarray().tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 1.0, 0.0]]
    """
    if measure not in get_args(Measure):
        raise GenrecError(
            f"unknown measure {measure!r} of a rule; choose one of {', '.join(get_args(Measure))}"
        )
    if min(min_users, rules) < 1:
        raise GenrecError(f"min_users is {min_users} and rules is {rules}; both must be at least 1")
    weight = partial(_strength, measure=measure, num_users=len(train), min_users=min_users)
    return pair_table(train, num_items, weight, rules)


def _strength(
    both: Floats,
    first: Floats,
    second: Floats,
    *,
    measure: Measure,
    num_users: int,
    min_users: int,
) -> Floats:
    """The measure of rules, from the users of both items, of the first and of the second."""
    frequent: Floats = np.where(both >= min_users, both, np.float32(0))
    if measure == "support":
        return frequent / np.float32(num_users)
    if measure == "confidence":
        return frequent / first
    return frequent * np.float32(num_users) / (first * second)
