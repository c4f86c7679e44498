"""Results of an evaluation of finished runs on the test cases."""

from genrec.results.records import Metrics, Record, VersionedRecord


class RunRow(Record):
    """One run on the test cases.

    Attributes:
        run: its directory.
        name: recipe of a teacher, kind of any other run, with the weights that it is conditioned
            on.
        seed: of the run.
        metrics: means over the test cases.
        minutes: of training, without interruptions; None where the run keeps no log.
    """

    run: str
    name: str
    seed: int
    metrics: Metrics
    minutes: float | None


class SeedSummary(Record):
    """Runs that differ in nothing but the seed.

    Attributes:
        name: of the runs.
        seeds: one per run.
        mean: metric -> mean over the runs.
        std: metric -> standard deviation of the sample (n − 1).
    """

    name: str
    seeds: tuple[int, ...]
    mean: Metrics
    std: Metrics


class PairedDifference(Record):
    """A run compared with the first one, user by user.

    Attributes:
        run: its directory.
        difference: NDCG@K of the run minus that of the first.
        error: standard error of that difference.
        p: of a paired t-test, with Holm's correction over the runs.
    """

    run: str
    difference: float
    error: float
    p: float


class CalibrationRow(Record):
    """Calibration of one kind of probabilities of a teacher.

    Attributes:
        run: its directory.
        link: "own", the probability that the loss trains, or "calibrated", softmax(scores / T).
        sum_of_probabilities: mean over the cases of Σ_i p_i; 1 for a distribution over the items.
        metrics: "probability@K", the mean predicted probability of the first K items, and
            "precision@K", the observed share of hits among them, at several K.
    """

    run: str
    link: str
    sum_of_probabilities: float
    metrics: Metrics


class EvaluationResult(VersionedRecord):
    """What ``genrec evaluate --json`` prints.

    Attributes:
        dataset: its name or path.
        fingerprint: hash of the dataset.
        cases: number of test cases.
        k: list length.
        runs: one row per run.
        over_seeds: mean and standard deviation of runs that differ in nothing but the seed.
        against_first: every other run compared with the first.
        calibration: of the teachers, where it was asked for.
    """

    dataset: str
    fingerprint: str
    cases: int
    k: int
    runs: tuple[RunRow, ...]
    over_seeds: tuple[SeedSummary, ...] = ()
    against_first: tuple[PairedDifference, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
