"""Finished runs side by side: means over seeds and paired differences by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.evaluation.runs import Measured, _minutes, against, over_seeds


def measured(recipe: str, seed: int, ndcg: list[float], dropout: float = 0.1) -> Measured:
    settings = {"seed": seed, "teacher": {"recipe": recipe, "dropout": dropout}}
    values = np.array(ndcg)
    return Measured(
        Path(f"runs/{recipe}-{seed}"),
        {"kind": "teacher", "settings": settings},
        {"ndcg@10": float(values.mean())},
        {"ndcg@10": values},
        minutes=None,
    )


def test_runs_that_differ_in_the_seed_alone_are_a_group():
    rows = over_seeds(
        [
            measured("sasrec", 0, [0.1, 0.3]),
            measured("gsasrec", 0, [0.9, 0.9]),
            measured("sasrec", 1, [0.3, 0.5]),
            measured("sasrec", 2, [0.5, 0.7], dropout=0.2),
        ]
    )
    assert len(rows) == 1
    assert rows[0]["name"] == "sasrec"
    assert rows[0]["seeds"] == [0, 1]
    assert rows[0]["mean"]["ndcg@10"] == pytest.approx(0.3)
    assert rows[0]["sd"]["ndcg@10"] == pytest.approx(0.1414214)  # of 0.2 and 0.4, n - 1


def test_policies_for_other_rewards_are_no_seeds_of_each_other():
    runs = []
    for seed, goal in ((0, "novelty=1"), (0, "diversity=1"), (1, "diversity=1")):
        run = measured("aligned", seed, [0.1, 0.3])
        runs.append(
            replace(run, description={**run.description, "kind": "aligned", "rewards": [goal]})
        )
    assert [row["seeds"] for row in over_seeds(runs)] == [[0, 1]]


def test_the_same_seed_again_is_no_other_seed():
    assert (
        over_seeds([measured("gsasrec", 0, [0.1, 0.3]), measured("gsasrec", 0, [0.1, 0.3])]) == []
    )


def test_minutes_are_those_of_all_parts_of_a_training(tmp_path: Path):
    assert _minutes(tmp_path) is None
    log = tmp_path / "metrics.jsonl"
    log.write_text("")
    assert _minutes(tmp_path) == 0
    log.write_text(
        "".join(f'{{"stage": "teacher", "seconds": {at}}}\n' for at in (10, 50, 90, 5, 30))
    )
    assert _minutes(tmp_path) == pytest.approx(2.0)  # 90 before an interruption, 30 after it
    (tmp_path / "supervised_warmup").mkdir()
    (tmp_path / "supervised_warmup" / "metrics.jsonl").write_text(
        '{"seconds": 20}\n{"seconds": 60}\n'
    )
    assert _minutes(tmp_path) == pytest.approx(3.0)  # an alignment's supervised warm-up


def test_p_values_are_corrected_for_the_number_of_runs():
    others = [measured("b", 0, [0.1, 0.7, 1.3]), measured("c", 0, [0.1, 0.7, 1.3])]
    rows = against([measured("a", 0, [0.0, 0.5, 1.0]), *others], k=10)
    assert [row["p"] for row in rows] == pytest.approx([2 * 0.0742] * 2, abs=2e-4)


def test_one_user_is_no_sample():
    with pytest.raises(ValueError, match="at least two cases, got 1"):
        against([measured("a", 0, [0.5]), measured("b", 0, [0.1])], k=10)


def test_differences_are_paired_and_taken_from_the_first():
    rows = against([measured("a", 0, [0.0, 0.5, 1.0]), measured("b", 0, [0.1, 0.7, 1.3])], k=10)
    assert [row["run"] for row in rows] == ["runs/b-0"]
    assert rows[0]["difference"] == pytest.approx(0.2)
    assert rows[0]["error"] == pytest.approx(0.1 / 3**0.5)
    assert rows[0]["p"] == pytest.approx(0.0742, abs=1e-4)  # t = 2 sqrt(3), two degrees of freedom


def test_what_a_run_does_not_depend_on_makes_no_other_group():
    """A teacher was made by the teacher's settings; what a configuration says of alignments is no
    part of it."""
    runs = [measured("sasrec", seed, [0.1, 0.3]) for seed in (0, 1)]
    settings = {**runs[1].description["settings"], "align": {"weight": 0.1}, "hold_back": 0}
    runs[1] = replace(runs[1], description={**runs[1].description, "settings": settings})
    assert [row["seeds"] for row in over_seeds(runs)] == [[0, 1]]
    other = {**settings, "hold_back": 1}
    runs[1] = replace(runs[1], description={**runs[1].description, "settings": other})
    assert over_seeds(runs) == []
