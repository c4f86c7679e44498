"""From scores to probabilities: one temperature, fitted on validation cases, and the check that it worked."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from genrec.data.sequences import Sequences
from genrec.data.splits import Cases
from genrec.recommender import Scorer, batches, mask_seen, require_choice

RANGE = 1e4


@dataclass(frozen=True)
class Temperature:
    """Outcome of a fit.

    Attributes:
        value: T; softmax(scores / T) is calibrated. Above 1 the scorer was over-confident, below 1 too timid.
        loss: mean negative log-likelihood of the targets at T, in nats.
        loss_before: the same at T = 1.
        num_cases: cases that counted: those whose target is new to the user.
    """

    value: float
    loss: float
    loss_before: float
    num_cases: int


@dataclass(frozen=True)
class Calibrated:
    """A scorer together with its temperature; still a scorer."""

    scorer: Scorer
    temperature: float
    batch_size: int = 512

    @property
    def num_items(self) -> int:
        """V."""
        return self.scorer.num_items

    def score(self, histories: Sequences) -> torch.Tensor:
        """The scorer's scores, unchanged."""
        return self.scorer.score(histories)

    def probabilities(self, histories: Sequences) -> NDArray[np.float32]:
        """(B, V+1) calibrated P(item | history); see ``probabilities``."""
        rows = [np.empty((0, self.num_items + 1), np.float32)]
        rows += [probabilities(self.scorer, batch, self.temperature) for batch in batches(histories, self.batch_size)]
        return np.concatenate(rows)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Promised against kept, for K = 1..len(k).

    Attributes:
        k: (L,) list lengths.
        precision: (L,) hits among the first K items / K, averaged over the cases.
        probability: (L,) predicted probability of the first K items, averaged over items and cases.
    """

    k: NDArray[np.int64]
    precision: NDArray[np.float64]
    probability: NDArray[np.float64]


def fit_temperature(scorer: Scorer, cases: Cases, batch_size: int = 512) -> Temperature:
    """The temperature under which the scores are the best probabilities of the targets.

    T = argmin_T −mean_n log softmax(s_n / T)[y_n], over the items that are new to the user [Guo et al. 2017, §4.2]. The
    loss is convex in 1/T, so that a bounded search over log T finds its minimum; T is searched within a factor of
    10,000 of the spread of the scores. One parameter: the order of the items cannot change, hence neither can NDCG.

    Memory: N·(V+1) float32 for the scores of all cases.

    Args:
        scorer: scores of any scale.
        cases: validation cases, never test cases. Cases whose target the user has already seen are left out.
        batch_size: histories scored at once.

    Raises:
        ValueError: if no case is left, or an unseen target has score -inf.
    """
    scores = _unseen_scores(scorer, cases.histories, batch_size)
    targets = torch.from_numpy(cases.targets.astype(np.int64))[:, None]
    repeated = torch.from_numpy(_is_seen(cases))
    scores, targets = scores[~repeated], targets[~repeated]
    target_scores = scores.gather(1, targets)[:, 0]
    if len(target_scores) == 0:
        raise ValueError("no validation case has a target that is new to its user; calibrate on other cases")
    if not torch.isfinite(target_scores).all():
        count = int((~torch.isfinite(target_scores)).sum())
        raise ValueError(f"{count} unseen target(s) have score -inf; smooth the scorer so that no item is impossible")

    middle, reach = np.log(_spread(scores)), np.log(RANGE)
    behind = scores - target_scores[:, None]  # so that nothing cancels: −log softmax = logsumexp((s − s_y) / T)

    def loss(log_temperature: float) -> float:
        return float(torch.logsumexp(behind / float(np.exp(log_temperature)), dim=1).double().mean())

    found = minimize_scalar(loss, bounds=(middle - reach, middle + reach), method="bounded", options={"xatol": 1e-4})
    return Temperature(float(np.exp(found.x)), float(found.fun), loss(0.0), len(target_scores))


def probabilities(scorer: Scorer, histories: Sequences, temperature: float) -> NDArray[np.float32]:
    """P(item | history) = softmax(scores / T) over the items that are new to the user.

    Args:
        scorer: scores of any scale.
        histories: B histories, scored at once.
        temperature: T > 0.

    Returns:
        (B, V+1) float32; rows sum to 1; PAD and seen items have 0.

    Raises:
        ValueError: if T is not positive, or a user has seen everything.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not positive; use the one that fit_temperature found")
    scores = mask_seen(scorer.score(histories), histories).float()
    require_choice(scores, 1)
    chances: NDArray[np.float32] = torch.softmax(scores / temperature, dim=1).cpu().numpy()
    return chances


def sigmoids(scorer: Scorer, histories: Sequences, batch_size: int = 512) -> NDArray[np.float32]:
    """(B, V+1) σ(score): what a scorer trained with BCE or gBCE says of each item by itself; 0 for PAD and seen items.

    Rows need not sum to 1: with sampled negatives and BCE they promise hundreds of items [Petrov & Macdonald 2023].
    """
    rows = [torch.empty((0, scorer.num_items + 1))]
    rows += [mask_seen(scorer.score(batch), batch).float().cpu().sigmoid() for batch in batches(histories, batch_size)]
    chances: NDArray[np.float32] = torch.cat(rows).numpy()
    return chances


def precision_against_probability(
    chances: Callable[[Sequences], NDArray[np.floating]], cases: Cases, max_k: int = 100, batch_size: int = 512
) -> Reliability:
    """Precision@K against the mean predicted probability of the first K items [Petrov & Macdonald 2023].

    The two agree for a calibrated scorer; a scorer trained with sampled negatives promises far more than it keeps.

    Args:
        chances: histories -> (B, V+1) probabilities, such as ``Calibrated.probabilities``.
        cases: test cases; the temperature was fitted on others.
        max_k: K = 1..max_k, at most the number of items.
        batch_size: histories at once.

    Raises:
        ValueError: if there are no cases.
    """
    if len(cases) == 0:
        raise ValueError("no cases to check the calibration on")
    hits, promised = [], []
    for start in range(0, len(cases), batch_size):
        batch = cases.take(np.arange(start, min(start + batch_size, len(cases))))
        predicted = torch.from_numpy(chances(batch.histories))
        best, items = torch.topk(predicted, min(max_k, predicted.shape[1] - 1), dim=1)
        hits.append((items.numpy() == batch.targets[:, None]).sum(axis=0))
        promised.append(best.double().sum(dim=0).numpy())
    k = np.arange(1, len(hits[0]) + 1)
    total = k * len(cases)
    return Reliability(k, np.sum(hits, axis=0).cumsum() / total, np.sum(promised, axis=0).cumsum() / total)


def _unseen_scores(scorer: Scorer, histories: Sequences, batch_size: int) -> torch.Tensor:
    parts = [torch.empty((0, scorer.num_items + 1))]
    parts += [mask_seen(scorer.score(batch), batch).float().cpu() for batch in batches(histories, batch_size)]
    return torch.cat(parts)


def _is_seen(cases: Cases) -> NDArray[np.bool_]:
    """(N,) whether the target is already in the history."""
    rows = cases.histories.rows()
    repeats = cases.histories.items == cases.targets[rows]
    return np.bincount(rows[repeats], minlength=len(cases)) > 0


def _spread(scores: torch.Tensor) -> float:
    """Mean over the cases of the standard deviation of the finite scores; 1 where they are all equal."""
    finite = torch.isfinite(scores)
    count = finite.sum(dim=1).clamp(min=1)
    values = torch.where(finite, scores, 0.0).double()
    mean = values.sum(dim=1) / count
    squares = torch.where(finite, (values - mean[:, None]) ** 2, 0.0).sum(dim=1) / count
    spread = float(squares.sqrt().mean())
    return spread if spread > 0 else 1.0
