"""Goals of an aligned run: its rewards apart from accuracy, and their mix with accuracy."""

from dataclasses import dataclass

from genrec.rewards import ACCURACY, Relevance, Reward, Terminal, WeightedSum, checked


@dataclass(frozen=True, eq=False)
class Goals:
    """Rewards of a run, accuracy apart from the others.

    Attributes:
        terms: every reward but accuracy, and its weight.
        accuracy: weight of the accuracy reward.
    """

    terms: tuple[tuple[Reward, float], ...]
    accuracy: float

    @classmethod
    def of(cls, reward: WeightedSum) -> "Goals":
        """Goals of a run that was aligned for this weighted sum."""
        terms = tuple((term, weight) for term, weight in reward.terms if term.name not in ACCURACY)
        accuracy = sum(weight for term, weight in reward.terms if term.name in ACCURACY)
        return cls(terms, accuracy)

    @property
    def name(self) -> str:
        """Name of the first goal, whose metric is one axis of the trade-off; "ndcg" without any."""
        return self.terms[0][0].name if self.terms else "ndcg"

    @property
    def weighted_sum(self) -> WeightedSum:
        """Weighted sum of the goals, every answer checked."""
        return _checked_sum(self.terms)

    @property
    def has_terminal(self) -> bool:
        """Whether a goal is zero up to the last position of a list."""
        return any(isinstance(term, Terminal) for term, _ in self.terms)

    def mixed_with_accuracy(self, share: float) -> WeightedSum:
        """Reward (1 − share) · accuracy + share · goals, accuracy being expected NDCG.

        Args:
            share: 0 to 1; at 1/2 the weights have the ratio that they have in the run.
        """
        goals = tuple((term, share * weight) for term, weight in self.terms)
        return _checked_sum(((Relevance(), (1 - share) * self.accuracy), *goals))


def _checked_sum(terms: tuple[tuple[Reward, float], ...]) -> WeightedSum:
    return WeightedSum(tuple((checked(term), weight) for term, weight in terms))
