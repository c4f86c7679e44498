"""Random lists that a reward is tried on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.metrics.context import Context, Floats, Slates
from genrec.recommender import TopK


def sample_lists(
    cases: Cases,
    catalogue: Catalogue,
    *,
    k: int,
    count: int,
    probabilities: Callable[[Sequences], Floats] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.int64], Context]:
    """Random lists of unseen items; every other list contains the held-out item of its case.

    Args:
        cases: histories and held-out items.
        catalogue: catalogue of a Split, which has training counts.
        k: K, length of the lists.
        count: n, number of lists; the cases are used in turn, four lists for each or more.
        probabilities: histories (H) -> (H, V+1), for a reward that needs them.
        seed: random seed of the lists.

    Returns:
        Slates (n, K) and their context.

    Raises:
        GenrecError: if every case leaves fewer than k items.
    """
    # Cases whose histories leave too few items would make every list fail.
    roomy = np.flatnonzero(catalogue.num_items - cases.histories.distinct() >= k)
    if not len(roomy):
        raise GenrecError(
            f"no case leaves {k} of {catalogue.num_items} items for a list; ask for shorter lists"
        )
    cases = cases.take(roomy[: max(1, count // 4)])
    context = Context(
        cases.histories,
        cases.targets,
        catalogue,
        k,
        of_probabilities=probabilities(cases.histories) if probabilities else None,
        rows=np.arange(count) % len(cases),
    )
    scorer = _RandomScorer(catalogue.num_items, torch.Generator().manual_seed(seed))
    slates = TopK(scorer).recommend(context.histories, k)
    # Random lists hardly ever contain the target, and a reward that reads it would go untested.
    _plant_targets(slates, context)
    return slates, context


def _plant_targets(slates: Slates, context: Context) -> None:
    """Put the held-out item into every other list, at the first place, the second, and so on.

    An item that is in the user's history or in the list already is not put there.
    """
    histories, targets = context.histories, context.targets
    owner = histories.rows()
    known = np.bincount(owner[histories.items == targets[owner]], minlength=len(slates)) > 0
    known |= (targets == 0) | (slates == targets[:, None]).any(axis=1)
    chosen = np.flatnonzero(~known & (np.arange(len(slates)) % 2 == 0))
    slates[chosen, chosen // 2 % slates.shape[1]] = targets[chosen]


@dataclass(frozen=True, eq=False)
class _RandomScorer:
    """A scorer whose scores are random numbers."""

    num_items: int
    generator: torch.Generator

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) uniform random numbers."""
        return torch.rand((len(histories), self.num_items + 1), generator=self.generator)
