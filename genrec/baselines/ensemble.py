"""An ensemble: what several scorers say together, each as loud as validation users want it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.data.sequences import Sequences
from genrec.recommender import (
    MAX_SCORES,
    Scorer,
    batches,
    rows_at_once,
    scores_of,
    unseen_scores,
)

BATCH_SIZE = 512


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A weighted sum of the scores of several scorers.

    score_i = Σ_m θ_m · s_m,i

    With θ_m = w_m / T_m, where T_m calibrates member m, it is the weighted mean of the members'
    calibrated log-probabilities up to a constant per history (a logarithmic opinion pool [Genest &
    Zidek 1986]; a product of experts [Hinton 2002]).

    Attributes:
        members: the scorers, of the same items.
        factors: (M,) θ, not negative; a member with 0 is not asked.

    Raises:
        GenrecError: for another number of factors, or members of different catalogues.
    """

    members: tuple[Scorer, ...]
    factors: tuple[float, ...]

    makes_new_scores = True

    def __post_init__(self) -> None:
        sizes = {member.num_items for member in self.members}
        if len(sizes) != 1:
            raise GenrecError(f"members of an ensemble know different numbers of items: {sizes}")
        if len(self.factors) != len(self.members) or not any(self.factors):
            raise GenrecError(
                f"an ensemble of {len(self.members)} members has the weights {self.factors}: give"
                " one for each, and not only zeros"
            )
        if min(self.factors) < 0:
            raise GenrecError(f"weights of an ensemble are at least 0, not {self.factors}")

    @property
    def num_items(self) -> int:
        """V."""
        return self.members[0].num_items

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores; PAD has -inf."""
        total = torch.zeros(len(histories), self.num_items + 1)
        for member, factor in zip(self.members, self.factors, strict=True):
            if factor:
                total += factor * scores_of(member, histories).float().cpu()
        total[:, 0] = -torch.inf
        return total


def fit_factors(members: Sequence[Scorer], cases: Cases) -> NDArray[np.float64]:
    """The factors θ ≥ 0 under which the targets of validation users are most likely.

    θ = argmin −mean_n log softmax(Σ_m θ_m s_m,n)[y_n], over the items that are new to the user. The
    loss is convex in θ, a multinomial logit with one feature per member.

    Args:
        members: M scorers.
        cases: validation cases, never test cases. Cases whose target the user has seen are left
            out, and so are those beyond what fits into memory.

    Returns:
        (M,) θ.

    Raises:
        GenrecError: if no case is left.
    """
    features, allowed = _features(members, cases)
    scale = np.array([feature[allowed].std() for feature in features])
    features = [feature / size for feature, size in zip(features, scale, strict=True)]

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = sum(float(each) * feature for each, feature in zip(theta, features, strict=True))
        assert isinstance(logits, torch.Tensor)
        logits = logits.masked_fill(~allowed, -torch.inf)
        shares = torch.softmax(logits, dim=1)
        gradient = [float((shares * feature).sum(dim=1).mean()) for feature in features]
        return float(torch.logsumexp(logits, dim=1).mean()), np.array(gradient)

    start = np.full(len(members), 1 / len(members))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(members))
    theta: NDArray[np.float64] = found.x / scale
    return theta


def _features(members: Sequence[Scorer], cases: Cases) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Scores minus that of the target, one (N, V+1) table per member; and the items that count."""
    num_items = members[0].num_items
    cases = cases.take(np.arange(min(len(cases), max(1, MAX_SCORES // (num_items + 1)))))
    tables: list[torch.Tensor] = []
    for member in members:
        size = min(BATCH_SIZE, rows_at_once(num_items))
        parts = [unseen_scores(member, batch).cpu() for batch in batches(cases.histories, size)]
        tables.append(torch.cat(parts).double())
    targets = torch.from_numpy(cases.targets.astype(np.int64))[:, None]
    known = torch.stack([table.gather(1, targets)[:, 0] > -torch.inf for table in tables])
    rows = known.all(dim=0).nonzero()[:, 0]
    if not len(rows):
        raise GenrecError("no validation case has a target that is new to its user")
    allowed = torch.stack([table[rows] > -torch.inf for table in tables]).all(dim=0)
    features = []
    for table in tables:
        own = table[rows].gather(1, targets[rows])
        features.append((table[rows] - own).masked_fill(~allowed, 0.0))
    return features, allowed
