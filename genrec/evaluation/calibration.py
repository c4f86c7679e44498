"""Calibration of teachers on the test cases: predicted against observed probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.data import Sequences
from genrec.metrics.calibration import Calibrated, CalibrationCurve, calibration_curve, sigmoids
from genrec.models.choices import BCEConfig, GBCEConfig
from genrec.models.scorer import NeuralScorer
from genrec.pipeline.loading import calibrated
from genrec.pipeline.provenance import settings_in
from genrec.pipeline.workspace import Workspace
from genrec.recipes import NeuralTeacher
from genrec.recommender import batches, rows_at_once
from genrec.results import CalibrationRow

CASES_TO_SUM = 1024  # enough for the mean of Σ_i p_i


@dataclass(frozen=True, eq=False)
class TeacherCalibration:
    """Calibration of one kind of probabilities of a teacher.

    Attributes:
        run: directory of the teacher.
        link: "own" or "calibrated", see ``measure_calibration``.
        curve: observed precision against predicted probability.
        sum_of_probabilities: mean over the cases of Σ_i p_i, 1 for a distribution over the items.
    """

    run: Path
    link: str
    curve: CalibrationCurve
    sum_of_probabilities: float

    def row(self, k: int) -> CalibrationRow:
        """The curve at 1, K and 100 items, as far as it reaches."""
        metrics = {}
        for name, values in (
            ("precision", self.curve.precision),
            ("probability", self.curve.probability),
        ):
            for length in (1, k, 100):
                if length <= len(values):
                    metrics[f"{name}@{length}"] = float(values[length - 1])
        return CalibrationRow(
            run=str(self.run),
            link=self.link,
            sum_of_probabilities=self.sum_of_probabilities,
            metrics=metrics,
        )


def measure_calibration(
    workspace: Workspace, run: Path, *, users: int | None = None
) -> list[TeacherCalibration]:
    """Calibration of a teacher's probabilities on the test cases.

    "own" is the probability that the loss trains: σ(score) for BCE and gBCE, softmax(scores) for
    the others; only neural teachers have it. "calibrated" is softmax(scores / T) with the T of the
    validation cases.

    Args:
        workspace: settings and data.
        run: directory of a teacher.
        users: number of test cases, drawn with the seed; None for all.

    Raises:
        RunError: if the directory holds no teacher made on the same data.
    """
    teacher = calibrated(run, workspace)
    links: dict[str, Callable[[Sequences], NDArray[np.float32]]] = {}
    if isinstance(teacher.scorer, NeuralScorer):
        links["own"] = _own_link(teacher.scorer, run)
    links["calibrated"] = teacher.probabilities
    cases = workspace.split.test.sample(users, workspace.settings.seed)
    some = cases.take(np.arange(min(len(cases), CASES_TO_SUM))).histories
    size, found = min(512, rows_at_once(teacher.num_items)), []
    for name, link in links.items():
        sums = np.concatenate([link(batch).sum(axis=1) for batch in batches(some, size)])
        curve = calibration_curve(link, cases, batch_size=size)
        calibration = TeacherCalibration(
            run=run, link=name, curve=curve, sum_of_probabilities=float(sums.mean())
        )
        found.append(calibration)
    return found


def _own_link(scorer: NeuralScorer, run: Path) -> Callable[[Sequences], NDArray[np.float32]]:
    config = settings_in(run).teacher
    if isinstance(config, NeuralTeacher) and isinstance(config.loss, BCEConfig | GBCEConfig):
        return partial(sigmoids, scorer)
    return Calibrated(scorer, 1.0).probabilities
