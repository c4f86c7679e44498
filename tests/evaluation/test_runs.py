"""Finished runs side by side: means over seeds and paired differences by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.config.errors import RunError
from genrec.evaluation.runs import Measured, _minutes, compare_with_first, summarize_seeds
from genrec.results import RunMetadata


def metadata(recipe: str, seed: int, dropout: float = 0.1) -> RunMetadata:
    settings = {
        "seed": seed,
        "k": 10,
        "split": "leave-one-out",
        "hold_back": 0,
        "teacher": {"recipe": recipe, "dropout": dropout},
        "student": {},
        "align": {},
    }
    return RunMetadata(
        kind="teacher",
        settings=settings,
        fingerprint="f",
        train_fingerprint="t",
        versions={},
        machine={},
        files={},
        val={},
    )


def measured(recipe: str, seed: int, ndcg: list[float], dropout: float = 0.1) -> Measured:
    values = np.array(ndcg)
    return Measured(
        run=Path(f"runs/{recipe}-{seed}"),
        metadata=metadata(recipe, seed, dropout),
        means={"ndcg@10": float(values.mean())},
        per_user={"ndcg@10": values},
        minutes=None,
    )


def changed(run: Measured, **changes: object) -> Measured:
    return replace(run, metadata=run.metadata.model_copy(update=changes))


def test_runs_that_differ_in_the_seed_alone_are_a_group():
    rows = summarize_seeds(
        [
            measured("sasrec", 0, [0.1, 0.3]),
            measured("gsasrec", 0, [0.9, 0.9]),
            measured("sasrec", 1, [0.3, 0.5]),
            measured("sasrec", 2, [0.5, 0.7], dropout=0.2),
        ]
    )
    assert len(rows) == 1
    assert rows[0].name == "sasrec"
    assert rows[0].seeds == (0, 1)
    assert rows[0].mean["ndcg@10"] == pytest.approx(0.3)
    assert rows[0].std["ndcg@10"] == pytest.approx(0.1414214)  # of 0.2 and 0.4, n - 1


def test_policies_for_other_rewards_are_no_seeds_of_each_other():
    runs = []
    for seed, goal in ((0, "novelty=1"), (0, "diversity=1"), (1, "diversity=1")):
        run = measured("aligned", seed, [0.1, 0.3])
        runs.append(changed(run, kind="aligned", rewards=(goal,)))
    assert [row.seeds for row in summarize_seeds(runs)] == [(0, 1)]


def test_the_same_seed_again_is_no_other_seed():
    runs = [measured("gsasrec", 0, [0.1, 0.3]), measured("gsasrec", 0, [0.1, 0.3])]
    assert summarize_seeds(runs) == []


def log_of(*seconds: float) -> str:
    """Lines of a ``metrics.jsonl`` at these times."""
    line = '{{"schema_version": 1, "stage": "teacher", "step": 1, "seconds": {}}}\n'
    return "".join(line.format(at) for at in seconds)


def test_minutes_are_those_of_all_parts_of_a_training(tmp_path: Path):
    assert _minutes(tmp_path) is None
    log = tmp_path / "metrics.jsonl"
    log.write_text("")
    assert _minutes(tmp_path) == 0
    log.write_text(log_of(10, 50, 90, 5, 30))
    assert _minutes(tmp_path) == pytest.approx(2.0)  # 90 before an interruption, 30 after it
    (tmp_path / "supervised_warmup").mkdir()
    (tmp_path / "supervised_warmup" / "metrics.jsonl").write_text(log_of(20, 60))
    assert _minutes(tmp_path) == pytest.approx(3.0)  # an alignment's supervised warm-up


def test_a_broken_line_of_a_log_is_named(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text(log_of(10) + '{"schema_ver')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2 is not valid JSON"):
        _minutes(tmp_path)


def test_p_values_are_corrected_for_the_number_of_runs():
    others = [measured("b", 0, [0.1, 0.7, 1.3]), measured("c", 0, [0.1, 0.7, 1.3])]
    rows = compare_with_first([measured("a", 0, [0.0, 0.5, 1.0]), *others], k=10)
    assert [row.p for row in rows] == pytest.approx([2 * 0.0742] * 2, abs=2e-4)


def test_one_user_is_no_sample():
    with pytest.raises(ValueError, match="at least two cases, got 1"):
        compare_with_first([measured("a", 0, [0.5]), measured("b", 0, [0.1])], k=10)


def test_differences_are_paired_and_taken_from_the_first():
    rows = compare_with_first(
        [measured("a", 0, [0.0, 0.5, 1.0]), measured("b", 0, [0.1, 0.7, 1.3])], k=10
    )
    assert [row.run for row in rows] == ["runs/b-0"]
    assert rows[0].difference == pytest.approx(0.2)
    assert rows[0].error == pytest.approx(0.1 / 3**0.5)
    assert rows[0].p == pytest.approx(0.0742, abs=1e-4)  # t = 2 sqrt(3), two degrees of freedom


def test_what_a_run_does_not_depend_on_makes_no_other_group():
    """Settings of the alignment are no part of what made a teacher."""
    first, second = (measured("sasrec", seed, [0.1, 0.3]) for seed in (0, 1))
    settings = {**second.metadata.settings, "align": {"weight": 0.1}}
    summaries = summarize_seeds([first, changed(second, settings=settings)])
    assert [row.seeds for row in summaries] == [(0, 1)]
    settings = {**settings, "hold_back": 1}
    assert summarize_seeds([first, changed(second, settings=settings)]) == []
