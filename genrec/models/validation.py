"""Validation of a neural scorer in training: the best weights, patience, and whether the scorer has
learnt more than popularity.
"""

import logging
from collections.abc import Mapping
from typing import Any

from genrec.data.splits import Split
from genrec.metrics.ranking import evaluate
from genrec.models.popularity_floor import ADVICE, is_above, popularity_ndcg
from genrec.models.scorer import NeuralScorer
from genrec.recommender import TopK
from genrec.training.early_stopping import EarlyStopping

logger = logging.getLogger(__name__)


class ScorerValidation:
    """Validates a scorer on NDCG@K and compares it with popularity.

    Patience counts from the first validation that is significantly above popularity: a scorer can
    stay at the level of popularity for long before it improves.

    Args:
        split: its validation cases are used.
        k: K, length of the lists.
        patience: validations without a better NDCG@K after which the training stops.

    Attributes:
        stopping: the best validation, its weights, and the patience.
        above_popularity: whether any validation was significantly above popularity.
    """

    def __init__(self, split: Split, k: int, patience: int) -> None:
        self.split, self.k = split, k
        self.metric = f"ndcg@{k}"
        self.popularity = popularity_ndcg(split, k)
        self.stopping = EarlyStopping(self.metric, "max", patience)
        self.above_popularity = False

    def step(self, scorer: NeuralScorer, epoch: int) -> dict[str, float]:
        """Validate the scorer as it is after an epoch.

        Returns:
            The metrics under the names that are logged, popularity's NDCG@K among them.
        """
        measured = evaluate(TopK(scorer), self.split.valid, self.split.catalogue, k=self.k)
        # One validation above popularity is enough: from then on a decrease is overfitting, not the
        # plateau that some trainings start with.
        above = is_above(measured.per_user[self.metric], self.popularity)
        self.above_popularity = self.above_popularity or above
        metrics, stopping = measured.means, self.stopping
        stopping.step({"epoch": epoch, **metrics}, scorer, counts=self.above_popularity)
        if not self.above_popularity and stopping.validations == stopping.patience:
            logger.warning(
                f"validation {self.metric} is {metrics[self.metric]:.4f} after {epoch} epochs, that"
                f" of popularity {self.popularity.mean():.4f}. Some scorers stay at this level for"
                " long before they improve: training continues"
            )
        return {f"val/{name}": value for name, value in {**metrics, **self._floor()}.items()}

    def restore_best(self, scorer: NeuralScorer) -> dict[str, float]:
        """Load the best weights into the scorer.

        Returns:
            Metrics and epoch of the best validation, and popularity's NDCG@K.
        """
        if not self.above_popularity:
            best, floor = self.stopping.best_value, self.popularity.mean()
            logger.warning(
                f"this scorer is not significantly better than popularity on the"
                f" {len(self.popularity)} validation users: best {self.metric} {best:.4f} against"
                f" {floor:.4f}. {ADVICE}"
            )
        return self.stopping.restore_best(scorer) | self._floor()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the state of early stopping."""
        return {"above_popularity": self.above_popularity}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned."""
        self.above_popularity = state["above_popularity"]

    def _floor(self) -> dict[str, float]:
        """NDCG@K of popularity on the same cases."""
        return {f"popularity_{self.metric}": float(self.popularity.mean())}
