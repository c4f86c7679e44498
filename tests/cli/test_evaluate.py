"""``genrec evaluate``: metrics of finished runs, side by side."""

import json
import re
import shutil
from pathlib import Path

import pytest


def test_evaluate_measures_runs_of_all_kinds_and_draws_teachers(runs, run):
    result = run(
        "evaluate",
        "teacher",
        "student",
        "aligned",
        "--calibration",
        "calibration.png",
        "--json",
        "-q",
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [row["name"] for row in found["runs"]] == ["sasrec_softmax", "student", "aligned"]
    assert all(
        0 <= row["metrics"]["recall@1"] <= row["metrics"]["recall@10"] <= 1 and row["minutes"] > 0
        for row in found["runs"]
    )
    assert found["cases"] == 120
    assert [row["link"] for row in found["calibration"]] == ["own", "calibrated"]
    assert all(
        row["sum_of_probabilities"] == pytest.approx(1, abs=1e-4) for row in found["calibration"]
    )
    assert Path("calibration.png").read_bytes().startswith(b"\x89PNG")
    compared = json.loads(run("compare", "aligned", "--json", "-q").stdout)
    aligned = next(row for row in compared["rows"] if row["method"] == "aligned")
    assert found["runs"][2]["metrics"] == pytest.approx(
        {name: aligned["metrics"][name] for name in found["runs"][2]["metrics"]}, abs=1e-6
    )


def test_evaluate_prints_a_table_and_refuses_what_is_no_run(runs, run, mistake):
    shown = run("evaluate", "teacher", "--users", "20", "-q")
    assert shown.exit_code == 0
    assert "20 test users" in shown.stdout
    assert "sasrec_softmax" in shown.stdout
    refused = run("evaluate", "teacher", "nothing", "-q")
    assert refused.exit_code != 0
    assert "nothing/run.json does not exist" in refused.stderr
    unused = mistake("evaluate", "aligned", "--weight", "novelty=1", "-q")
    assert "--weight novelty: none of these runs was aligned for a range of it" in unused
    assert "draws the probabilities of teachers" in mistake(
        "evaluate", "student", "--calibration", "none.png", "-q"
    )
    assert not Path("none.png").exists()


def test_the_overconfidence_of_sampled_negatives_is_shown(runs, run):
    small = ["-s", "teacher.negatives.count=1", "-s", "teacher.epochs=1"]
    assert (
        run(
            "train-teacher", "-c", "tiny.yaml", "--recipe", "sasrec", *small, "-o", "sampled", "-q"
        ).exit_code
        == 0
    )
    found = json.loads(
        run("evaluate", "sampled", "--calibration", "own.png", "--json", "-q").stdout
    )
    sums = {row["link"]: row["sum_of_probabilities"] for row in found["calibration"]}
    assert sums["own"] > 10  # near 1/2 for each of more than 30 unseen items
    assert sums["calibrated"] == pytest.approx(1, abs=1e-4)


def test_evaluate_tells_runs_of_the_same_name_apart(runs, run):
    shutil.copytree("teacher", "copies/teacher", dirs_exist_ok=True)
    shown = run(
        "evaluate", "teacher", "copies/teacher", "--users", "20", "-q", "--calibration", "two.png"
    ).stdout
    assert re.search(r"^ copies/teacher +sasrec_softmax", shown, re.MULTILINE)
    assert "copies/teacher minus teacher: +.0000" in shown
    assert "\ncopies/teacher, calibrated probabilities: their sum is 1;" in shown
    assert "seeds 0" not in shown
