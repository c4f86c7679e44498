"""From scores to probabilities: one temperature, fitted on validation cases, and the check that it
worked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Cases
from genrec.recommender import Scorer, batches, mask_seen, require_choice, rows_at_once

RANGE = 1e4


@dataclass(frozen=True)
class Temperature:
    """Outcome of a fit.

    Attributes:
        value: T; softmax(scores / T) is calibrated. Above 1 the scorer was over-confident, below 1
            too timid.
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
        chances = np.empty((len(histories), self.num_items + 1), np.float32)
        size = min(self.batch_size, rows_at_once(self.num_items))
        for rows, batch in zip(_parts(len(histories), size), batches(histories, size), strict=True):
            chances[rows] = probabilities(self.scorer, batch, self.temperature)
        return chances


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
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

    T = argmin_T −mean_n log softmax(s_n / T)[y_n], over the items that are new to the user [Guo et
    al. 2017, §4.2]. The loss is convex in 1/T, so that a bounded search over log T finds its
    minimum; T is searched within a factor of 10,000 of the spread of the scores. One parameter: the
    order of the items cannot change, hence neither can NDCG.

    Memory: N·(V+1) float32 for the scores of all cases, and little beside them.

    Args:
        scorer: scores of any scale.
        cases: validation cases, never test cases. Cases whose target the user has already seen are
            left out.
        batch_size: histories scored at once.

    Raises:
        GenrecError: if no case is left, or an unseen target has score -inf.
    """
    cases = cases.take(np.flatnonzero(~_is_seen(cases)))
    if len(cases) == 0:
        raise GenrecError(
            "no validation case has a target that is new to its user; calibrate on other cases"
        )
    behind = _behind(scorer, cases, min(batch_size, rows_at_once(scorer.num_items)))
    few = list(
        _parts(len(cases), max(1, 2**20 // behind.shape[1]))
    )  # the rows that stay in a cache
    middle, reach = np.log(_spread(behind, few)), np.log(RANGE)

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        return float(
            torch.cat([torch.logsumexp(behind[rows] / temperature, dim=1) for rows in few])
            .double()
            .mean()
        )

    found = minimize_scalar(
        loss, bounds=(middle - reach, middle + reach), method="bounded", options={"xatol": 1e-4}
    )
    return Temperature(float(np.exp(found.x)), float(found.fun), loss(0.0), len(cases))


def probabilities(scorer: Scorer, histories: Sequences, temperature: float) -> NDArray[np.float32]:
    """P(item | history) = softmax(scores / T) over the items that are new to the user.

    Args:
        scorer: scores of any scale.
        histories: B histories, scored at once.
        temperature: T > 0.

    Returns:
        (B, V+1) float32; rows sum to 1; PAD and seen items have 0.

    Raises:
        GenrecError: if T is not positive, or a user has seen everything.
    """
    if not temperature > 0:
        raise GenrecError(
            f"temperature {temperature} is not positive; use the one that fit_temperature found"
        )
    scores = mask_seen(scorer.score(histories), histories).float()
    require_choice(scores, 1)
    chances: NDArray[np.float32] = torch.softmax(scores / temperature, dim=1).cpu().numpy()
    return chances


def sigmoids(scorer: Scorer, histories: Sequences, batch_size: int = 512) -> NDArray[np.float32]:
    """(B, V+1) σ(score): what a scorer trained with BCE or gBCE says of each item by itself; 0 for
    PAD and seen items.

    Rows need not sum to 1: with sampled negatives and BCE they promise hundreds of items [Petrov &
    Macdonald 2023].
    """
    chances = np.empty((len(histories), scorer.num_items + 1), np.float32)
    size = min(batch_size, rows_at_once(scorer.num_items))
    for rows, batch in zip(_parts(len(histories), size), batches(histories, size), strict=True):
        chances[rows] = mask_seen(scorer.score(batch), batch).float().sigmoid_().cpu().numpy()
    return chances


def calibration_curve(
    chances: Callable[[Sequences], NDArray[np.floating]],
    cases: Cases,
    max_k: int = 100,
    batch_size: int = 512,
) -> CalibrationCurve:
    """Precision@K against the mean predicted probability of the first K items [Petrov & Macdonald
    2023].

    The two agree for a calibrated scorer; a scorer trained with sampled negatives promises far more
    than it keeps.

    Args:
        chances: histories -> (B, V+1) probabilities, such as ``Calibrated.probabilities``.
        cases: test cases; the temperature was fitted on others.
        max_k: K = 1..max_k, at most the number of items.
        batch_size: histories at once.

    Raises:
        GenrecError: if there are no cases.
    """
    if len(cases) == 0:
        raise GenrecError("no cases to check the calibration on")
    hits, promised = [], []
    for start in range(0, len(cases), batch_size):
        batch = cases.take(np.arange(start, min(start + batch_size, len(cases))))
        predicted = torch.from_numpy(chances(batch.histories))
        best, items = torch.topk(predicted, min(max_k, predicted.shape[1] - 1), dim=1)
        hits.append((items.numpy() == batch.targets[:, None]).sum(axis=0))
        promised.append(best.double().sum(dim=0).numpy())
    k = np.arange(1, len(hits[0]) + 1)
    total = k * len(cases)
    return CalibrationCurve(
        k, np.sum(hits, axis=0).cumsum() / total, np.sum(promised, axis=0).cumsum() / total
    )


def _parts(rows: int, size: int) -> list[slice]:
    """Slices of ``size`` rows."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _behind(scorer: Scorer, cases: Cases, size: int) -> torch.Tensor:
    """(N, V+1) s − s_y of unseen items, -inf for others: −log softmax(s / T)[y] = logsumexp((s −
    s_y) / T), and nothing cancels.

    Raises:
        GenrecError: if a target has score -inf.
    """
    behind, impossible = torch.empty((len(cases), scorer.num_items + 1)), 0
    for rows, histories in zip(
        _parts(len(cases), size), batches(cases.histories, size), strict=True
    ):
        scores = mask_seen(scorer.score(histories), histories).float().cpu()
        of_targets = scores.gather(
            1, torch.from_numpy(cases.targets[rows].astype(np.int64))[:, None]
        )
        impossible += int((~torch.isfinite(of_targets)).sum())
        torch.sub(scores, of_targets, out=behind[rows])
    if impossible:
        raise GenrecError(
            f"{impossible} unseen target(s) have score -inf; smooth the scorer so that no item is"
            " impossible"
        )
    return behind


def _is_seen(cases: Cases) -> NDArray[np.bool_]:
    """(N,) whether the target is already in the history."""
    rows = cases.histories.rows()
    repeats = cases.histories.items == cases.targets[rows]
    return np.bincount(rows[repeats], minlength=len(cases)) > 0


def _spread(scores: torch.Tensor, parts: Sequence[slice]) -> float:
    """Mean over the cases of the standard deviation of the finite scores; 1 where they are all
    equal."""
    spread = float(torch.cat([_deviations(scores[rows]) for rows in parts]).mean())
    return spread if spread > 0 else 1.0


def _deviations(scores: torch.Tensor) -> torch.Tensor:
    """(B,) standard deviation of the finite scores of each row."""
    finite = torch.isfinite(scores)
    count = finite.sum(dim=1).clamp(min=1)
    values = torch.where(finite, scores, 0.0).double()
    mean = values.sum(dim=1) / count
    return (torch.where(finite, (values - mean[:, None]) ** 2, 0.0).sum(dim=1) / count).sqrt()
