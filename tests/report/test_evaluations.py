"""An evaluation of runs in a terminal."""

import io

from rich.console import Console

from genrec import report
from genrec.results import (
    CalibrationRow,
    EvaluationResult,
    PairedDifference,
    RunRow,
    SeedSummary,
)

METRICS = {"ndcg@10": 0.1, "recall@1": 0.05, "recall@10": 0.2}
RESULT = EvaluationResult(
    dataset="demo",
    fingerprint="f",
    cases=2000,
    k=10,
    runs=[
        RunRow(run="runs/a", name="sasrec", seed=0, metrics=METRICS, minutes=1.25),
        RunRow(run="runs/b", name="sasrec", seed=1, metrics=METRICS, minutes=None),
    ],
    over_seeds=[SeedSummary(name="sasrec", seeds=[0, 1], mean=METRICS, std=METRICS)],
    against_first=[PairedDifference(run="runs/b", difference=-0.01, error=0.002, p=0.04)],
    calibration=[
        CalibrationRow(
            run="runs/a",
            link="own",
            sum_of_probabilities=12.5,
            metrics={"precision@10": 0.07, "probability@10": 0.8},
        )
    ],
)


def test_one_row_per_run():
    console = Console(width=120, file=io.StringIO())
    console.print(report.evaluation_table(RESULT))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["runs/a", "sasrec", "0", "0.1000", "0.0500", "0.2000", "1.2"] in lines
    assert ["runs/b", "sasrec", "1", "0.1000", "0.0500", "0.2000", "–"] in lines
    assert "demo · 2,000 test users · lists of 10" in console.file.getvalue()


def test_sentences_about_seeds_differences_and_calibration():
    assert report.evaluation_sentences(RESULT) == [
        "sasrec, seeds 0, 1: ndcg@10 0.1000 ± 0.1000, recall@1 0.0500 ± 0.0500,"
        " recall@10 0.2000 ± 0.2000 (mean ± standard deviation)",
        "runs/b minus runs/a: -.0100 ± .0020 NDCG@10, p = .04",
        "runs/a, own probabilities: their sum is 12.5; first 10 items: predicted .8000,"
        " observed .0700",
    ]
