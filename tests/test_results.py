"""Typed results: what is written is read back, and everything else is refused with one message."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.config.errors import RunError
from genrec.results import (
    SCHEMA_VERSION,
    Comparison,
    EvaluationResult,
    MetricsLine,
    PopularityBaseline,
    RunMetadata,
    RunPlan,
    RunRow,
    read_metrics,
)

TEACHER = RunMetadata(
    kind="teacher",
    settings={"seed": 0, "read": {"user": None}},
    fingerprint="f",
    train_fingerprint="t",
    versions={"python": "3.11"},
    machine={"device": "cpu"},
    files={"scorer.json": "0" * 64},
    val={"ndcg@10": 0.1 + 0.2, "update": 40},
    temperature=1.25,
    popularity=PopularityBaseline(ndcg=0.05, teacher_is_above=True),
)
PLAN = RunPlan(
    kind="aligned",
    fingerprint="f",
    train_fingerprint="t",
    settings={"k": 10, "align": {"clip": (0.1, 0.2)}},
    rewards=["diversity=0.3"],
    reward_files=[],
)


def change(path: Path, **changes: object) -> None:
    """Change the top of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_metadata_is_read_back_to_the_digit(tmp_path):
    TEACHER.write(tmp_path)
    found = RunMetadata.read(tmp_path)
    assert found == TEACHER
    assert found.val["ndcg@10"] == 0.1 + 0.2
    assert found.val["update"] == 40
    assert isinstance(found.val["update"], int)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["schema_version"] == SCHEMA_VERSION == 1
    assert content["val"] == {"ndcg@10": 0.30000000000000004, "update": 40}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_plan_equals_itself_after_reading(tmp_path):
    """Also where a tuple has become a list."""
    PLAN.write(tmp_path)
    assert PLAN.differences(RunPlan.read(tmp_path)) == []


def test_differences_of_plans_are_named():
    settings = {"k": 5, "align": {"clip": [0.1, 0.2]}, "split": "leave-one-out"}
    other = PLAN.model_copy(update={"settings": settings, "rewards": ("novelty=1",)})
    assert PLAN.differences(other) == ["rewards", "k", "split"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ('{"schema_version": 1', "is not valid JSON"),
        ("[1]", "holds no JSON object"),
        ('{"kind": "teacher"}', r"another version of genrec \(schema version none, not 1\)"),
        ('{"schema_version": 2}', r"another version of genrec \(schema version 2, not 1\)"),
        ('{"schema_version": 1}', r"kind: Field required \(and 7 more\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_a_remedy(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    remedy = f"remove {tmp_path} and run its command again"
    with pytest.raises(RunError, match=rf"{tmp_path}/run\.json .*{message}.*{remedy}"):
        RunMetadata.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "policy"}, "kind: Input should be 'teacher', 'student'"),
        ({"val": {"ndcg@10": "0.3"}}, "val.ndcg@10: .*'0.3' is not a number"),
        ({"val": {"ndcg@10": True}}, "val.ndcg@10: .*True is not a number"),
        ({"temperature": "1"}, "temperature: Input should be a valid number"),
        ({"popularity": {"ndcg": 0.1}}, "popularity.teacher_is_above: Field required"),
        ({"valid": {}}, "valid: Extra inputs are not permitted"),
    ],
)
def test_wrong_content_is_named(tmp_path, changes, message):
    TEACHER.write(tmp_path)
    change(tmp_path / "run.json", **changes)
    with pytest.raises(RunError, match=message):
        RunMetadata.read(tmp_path)


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(RunError, match=r"run\.json does not exist: is .* a genrec run directory\?"):
        RunMetadata.read(tmp_path)
    PLAN.write(tmp_path)
    with pytest.raises(RunError, match="is not finished; the command that started it resumes it"):
        RunMetadata.read(tmp_path)
    run = tmp_path / "sweep" / "weight-0.1" / "seed-0"
    run.mkdir(parents=True)
    TEACHER.write(run)
    with pytest.raises(RunError, match=f"is a sweep; give one of its runs, such as {run}"):
        RunMetadata.read(tmp_path / "sweep")


def test_a_run_without_a_comparison_is_explained(tmp_path):
    TEACHER.write(tmp_path)
    with pytest.raises(RunError, match=f"run `genrec compare {tmp_path}` first"):
        Comparison.read(tmp_path)


def test_a_comparison_of_an_older_format_is_refused(tmp_path):
    (tmp_path / "comparison.json").write_text('{"rows": [], "reward": "x", "k": 10}')
    with pytest.raises(RunError, match=f"run the comparison of {tmp_path} again"):
        Comparison.read(tmp_path)
    (tmp_path / "comparison.json").write_text('{"schema_version": 1, "rows": []}')
    with pytest.raises(RunError, match=r"another version of genrec \(schema version 1, not 2\)"):
        Comparison.read(tmp_path)
    (tmp_path / "comparison.json").write_text('{"schema_version": 2, "rows": []}')
    with pytest.raises(RunError, match=r"comparison\.json cannot be used: reward: Field required"):
        Comparison.read(tmp_path)


def test_metrics_stand_beside_the_other_keys_of_a_line(tmp_path):
    line = MetricsLine.of({"val/ndcg@10": 0.25, "n": 7}, stage="teacher", step=3, seconds=1.5)
    text = line.to_json(indent=None)
    assert json.loads(text) == {
        "schema_version": 1,
        "stage": "teacher",
        "step": 3,
        "seconds": 1.5,
        "val/ndcg@10": 0.25,
        "n": 7,
    }
    (tmp_path / "metrics.jsonl").write_text(f"{text}\n{text}\n")
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert found == [line, line]
    assert found[0].metrics == {"val/ndcg@10": 0.25, "n": 7}


def test_a_metric_that_is_not_a_number_is_refused(tmp_path):
    line = '{"schema_version": 1, "stage": "s", "step": 1, "seconds": 1, "loss": "high"}'
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunError, match=r"line 1 cannot be used: loss: .*'high' is not a number"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_an_evaluation_is_read_back():
    row = RunRow(run="runs/a", name="sasrec", seed=0, metrics={"ndcg@10": 0.1}, minutes=None)
    result = EvaluationResult(dataset="demo", fingerprint="f", cases=1, k=10, runs=[row])
    assert EvaluationResult.parse(result.to_json(), "stdin", remedy="evaluate again") == result


def test_results_load_no_heavy_library():
    heavy = "{'torch', 'transformers', 'gymnasium', 'numpy', 'scipy', 'pandas'}"
    code = (
        "import sys; from genrec.results import Comparison, RunMetadata, EvaluationResult;"
        f" loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
