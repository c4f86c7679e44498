"""Calibration: a temperature that turns scores into probabilities, and curves that check it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.data.sequences import Sequences
from genrec.recommender import (
    Scorer,
    batches,
    require_choice,
    rows_at_once,
    scores_of,
    unseen_scores,
)

LOG_REACH = np.log(1e4)  # how far the temperature is searched from the scale of the scores


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: T; softmax(scores / T) is calibrated. T > 1 means that the scorer was over-confident,
            T < 1 that it was under-confident.
        loss: mean negative log-likelihood of the targets at T, in nats.
        loss_before: the same at T = 1.
        num_cases: number of cases used: those whose target is new to the user.
    """

    value: float
    loss: float
    loss_before: float
    num_cases: int


@dataclass(frozen=True)
class Calibrated:
    """A scorer with its temperature, which is still a scorer.

    Attributes:
        scorer: the scorer.
        temperature: T of ``fit_temperature``.
        batch_size: number of histories that are scored at once.
    """

    scorer: Scorer
    temperature: float
    batch_size: int = 512

    @property
    def num_items(self) -> int:
        """Number of items V."""
        return self.scorer.num_items

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) the scorer's own scores."""
        return scores_of(self.scorer, histories)

    def probabilities(self, histories: Sequences) -> NDArray[np.float32]:
        """(B, V+1) calibrated P(item | history); see ``probabilities``."""
        found = np.empty((len(histories), self.num_items + 1), np.float32)
        size = min(self.batch_size, rows_at_once(self.num_items))
        for rows, batch in zip(_parts(len(histories), size), batches(histories, size), strict=True):
            found[rows] = probabilities(self.scorer, batch, self.temperature)
        return found


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Observed precision and predicted probability of the first K items, for K = 1..L.

    Attributes:
        k: (L,) list lengths K.
        precision: (L,) observed: hits among the first K items / K, averaged over the cases.
        probability: (L,) predicted: probability of the first K items, averaged over items and
            cases.
    """

    k: NDArray[np.int64]
    precision: NDArray[np.float64]
    probability: NDArray[np.float64]


def fit_temperature(scorer: Scorer, cases: Cases, batch_size: int = 512) -> Temperature:
    """The temperature that minimises the negative log-likelihood of the targets.

    T = argmin_T −mean_n log softmax(s_n / T)[y_n], over the items that are new to the user [Guo et
    al. 2017, §4.2]. The loss is convex in 1/T, so that a bounded search over log T finds its
    minimum; T is searched within a factor of 10,000 of the standard deviation of the scores. One
    parameter cannot change the order of the items, and hence not NDCG.

    Memory: N·(V+1) float32 numbers for the scores of all cases, and little more.

    Args:
        scorer: scorer, whose scores may have any scale.
        cases: validation cases, never test cases. Cases whose target the user has already seen are
            left out.
        batch_size: number of histories that are scored at once.

    Raises:
        GenrecError: if no case is left, or an unseen target has score -inf.
    """
    cases = cases.take(np.flatnonzero(~_is_seen(cases)))
    if len(cases) == 0:
        raise GenrecError(
            "no validation case has a target that is new to its user; calibrate on other cases"
        )
    size = min(batch_size, rows_at_once(scorer.num_items))
    differences = _differences_from_targets(scorer, cases, size)
    parts = _parts(len(cases), max(1, 2**20 // differences.shape[1]))  # each fits into a cache
    middle = np.log(_mean_std(differences, parts))

    # The logarithm makes the search scale-free: scores of any size converge alike.
    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        losses = [torch.logsumexp(differences[rows] / temperature, dim=1) for rows in parts]
        return float(torch.cat(losses).double().mean())

    bounds = (middle - LOG_REACH, middle + LOG_REACH)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return Temperature(float(np.exp(found.x)), float(found.fun), loss(0.0), len(cases))


def probabilities(scorer: Scorer, histories: Sequences, temperature: float) -> NDArray[np.float32]:
    """P(item | history) = softmax(scores / T) over the items that are new to the user.

    Args:
        scorer: scorer, whose scores may have any scale.
        histories: B histories, scored at once.
        temperature: T > 0.

    Returns:
        (B, V+1) float32; rows sum to 1; PAD and seen items have 0.

    Raises:
        GenrecError: if T is not positive, or a user has seen every item.
    """
    if not temperature > 0:
        raise GenrecError(
            f"temperature {temperature} is not positive; use the one that fit_temperature found"
        )
    scores = unseen_scores(scorer, histories).float()
    require_choice(scores, 1)
    found: NDArray[np.float32] = torch.softmax(scores / temperature, dim=1).cpu().numpy()
    return found


def sigmoids(scorer: Scorer, histories: Sequences, batch_size: int = 512) -> NDArray[np.float32]:
    """The probabilities σ(score) of a scorer trained with BCE or gBCE, each item by itself.

    Rows need not sum to 1: after training with sampled negatives and BCE they may sum to hundreds
    [Petrov & Macdonald 2023].

    Args:
        scorer: scorer whose scores are logits.
        histories: B histories.
        batch_size: number of histories that are scored at once.

    Returns:
        (B, V+1) float32; PAD and seen items have 0.
    """
    found = np.empty((len(histories), scorer.num_items + 1), np.float32)
    size = min(batch_size, rows_at_once(scorer.num_items))
    for rows, batch in zip(_parts(len(histories), size), batches(histories, size), strict=True):
        found[rows] = unseen_scores(scorer, batch).float().sigmoid_().cpu().numpy()
    return found


def calibration_curve(
    predict: Callable[[Sequences], NDArray[np.floating]],
    cases: Cases,
    *,
    max_k: int = 100,
    batch_size: int = 512,
) -> CalibrationCurve:
    """Observed Precision@K and the predicted probability of the first K items.

    The two agree for a calibrated scorer. A scorer trained with sampled negatives is
    over-confident: the predicted probability is far above the observed precision [Petrov &
    Macdonald 2023].

    Args:
        predict: histories -> (B, V+1) probabilities, such as ``Calibrated.probabilities``.
        cases: test cases; the temperature was fitted on others.
        max_k: largest K, at most the number of items.
        batch_size: number of histories that are scored at once.

    Raises:
        GenrecError: if there are no cases.
    """
    if len(cases) == 0:
        raise GenrecError("no cases to check the calibration on")
    hits, expected = [], []
    for start in range(0, len(cases), batch_size):
        batch = cases.take(np.arange(start, min(start + batch_size, len(cases))))
        predicted = torch.from_numpy(predict(batch.histories))
        best, items = torch.topk(predicted, min(max_k, predicted.shape[1] - 1), dim=1)
        hits.append((items.numpy() == batch.targets[:, None]).sum(axis=0))
        expected.append(best.double().sum(dim=0).numpy())
    k = np.arange(1, len(hits[0]) + 1)
    total = k * len(cases)
    precision = np.sum(hits, axis=0).cumsum() / total
    probability = np.sum(expected, axis=0).cumsum() / total
    return CalibrationCurve(k, precision, probability)


def _parts(rows: int, size: int) -> list[slice]:
    """Slices of at most ``size`` rows that cover all rows."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _differences_from_targets(scorer: Scorer, cases: Cases, size: int) -> torch.Tensor:
    """(N, V+1) s − s_y for unseen items, -inf for others.

    The loss is −log softmax(s / T)[y] = logsumexp((s − s_y) / T). Taking the difference before the
    division avoids the cancellation of two large numbers.

    Raises:
        GenrecError: if a target has score -inf.
    """
    differences, impossible = torch.empty((len(cases), scorer.num_items + 1)), 0
    parts = _parts(len(cases), size)
    for rows, histories in zip(parts, batches(cases.histories, size), strict=True):
        scores = unseen_scores(scorer, histories).float().cpu()
        targets = torch.from_numpy(cases.targets[rows].astype(np.int64))
        of_targets = scores.gather(1, targets[:, None])
        impossible += int((~torch.isfinite(of_targets)).sum())
        torch.sub(scores, of_targets, out=differences[rows])
    if impossible:
        raise GenrecError(
            f"{impossible} unseen target(s) have score -inf; smooth the scorer so that no item is"
            " impossible"
        )
    return differences


def _is_seen(cases: Cases) -> NDArray[np.bool_]:
    """(N,) whether the target is in the history already."""
    rows = cases.histories.rows()
    repeats = cases.histories.items == cases.targets[rows]
    return np.bincount(rows[repeats], minlength=len(cases)) > 0


def _mean_std(scores: torch.Tensor, parts: Sequence[slice]) -> float:
    """Mean over the cases of the standard deviation of the finite scores; 1 where that is 0."""
    mean = float(torch.cat([_std(scores[rows]) for rows in parts]).mean())
    return mean if mean > 0 else 1.0


def _std(scores: torch.Tensor) -> torch.Tensor:
    """(B,) standard deviation of the finite scores of each row."""
    # Seen items are -inf; double precision because squares of float32 scores may cancel.
    finite = torch.isfinite(scores)
    count = finite.sum(dim=1).clamp(min=1)
    values = torch.where(finite, scores, 0.0).double()
    mean = values.sum(dim=1) / count
    return (torch.where(finite, (values - mean[:, None]) ** 2, 0.0).sum(dim=1) / count).sqrt()
