"""What the validations of a training say: which weights are best, when it is over, and whether
anything was learnt."""

from typing import Any

from genrec.data.splits import Split
from genrec.metrics.ranking import evaluate
from genrec.models.popularity_floor import ADVICE, is_above, popularity_ndcg
from genrec.models.scorer import NeuralScorer
from genrec.recommender import TopK
from genrec.training.checkpoint import Tensors
from genrec.training.logger import Logbook


class Watch:
    """Validates a scorer and remembers its best weights.

    Patience counts from the first validation that is above popularity: before it a training may
    still take off.

    Args:
        split: its validation cases.
        k: length of the lists that are validated.
        patience: validations without a better NDCG@K before a training is over.
        log: receives the warnings.

    Attributes:
        best: weights of the best validation.
        progress: what a checkpoint keeps: metrics and epoch of the best validation, how many there
            were since then and in all, and whether one of them was above popularity.
    """

    def __init__(self, split: Split, k: int, patience: int, log: Logbook) -> None:
        self.split, self.k, self.patience, self.log = split, k, patience, log
        self.ndcg = f"ndcg@{k}"
        self.popular = popularity_ndcg(split, k)
        self.best: Tensors = {}
        self.progress: dict[str, Any] = {
            "best": {},
            "since_best": 0,
            "risen": False,
            "validations": 0,
        }

    @property
    def floor(self) -> dict[str, float]:
        """NDCG@K of popularity on the same cases."""
        return {f"popularity {self.ndcg}": float(self.popular.mean())}

    @property
    def best_ndcg(self) -> float:
        """NDCG@K of the best validation, 0 before the first."""
        return float(self.progress["best"].get(self.ndcg, 0.0))

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return bool(self.progress["since_best"] >= self.patience)

    def look(self, scorer: NeuralScorer, epoch: int) -> dict[str, float]:
        """Validate the scorer as it is after an epoch; what the log says of it."""
        found = evaluate(TopK(scorer), self.split.valid, self.split.catalogue, k=self.k)
        measured, progress = found.means, self.progress
        progress["validations"] += 1
        progress["risen"] |= is_above(found.per_user[self.ndcg], self.popular)
        progress["since_best"] += progress["risen"]
        if measured[self.ndcg] > progress["best"].get(self.ndcg, -1.0):
            self.best = {name: value.clone() for name, value in scorer.state_dict().items()}
            progress |= {"best": {"epoch": epoch, **measured}, "since_best": 0}
        if not progress["risen"] and progress["validations"] == self.patience:
            self.log.warn(
                f"validation {self.ndcg} {measured[self.ndcg]:.4f} after {epoch} epochs, popularity"
                " has"
                f" {self.popular.mean():.4f}. Some teachers stay at this level for long before they"
                " learn: going on"
            )
        return self.floor | {f"valid {name}": value for name, value in measured.items()}

    def finish(self, scorer: NeuralScorer) -> dict[str, float]:
        """Leave the scorer with its best weights; the best validation's metrics, its epoch and
        popularity's NDCG@K."""
        if not self.progress["risen"]:
            self.log.warn(
                f"this teacher is not clearly better than popularity on the {len(self.popular)}"
                " validation users: best"
                f" {self.ndcg} {self.best_ndcg:.4f} against {self.popular.mean():.4f}. {ADVICE}"
            )
        scorer.load_state_dict(self.best)
        scorer.eval()
        return dict(self.progress["best"]) | self.floor
