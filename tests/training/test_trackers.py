import importlib.util
import json
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from genrec.config.errors import GenrecError
from genrec.training.logger import RunLogger
from genrec.training.trackers import TRACKERS, JsonLines, TensorBoard, open_trackers

METRICS = {"loss": 0.5, "val/ndcg@10": 0.25}


def test_a_run_directory_always_gets_json_lines_and_tensorboard(tmp_path: Path):
    trackers = open_trackers(tmp_path, "teacher")
    assert [type(tracker) for tracker in trackers] == [JsonLines, TensorBoard]
    for tracker in trackers:
        tracker.log("teacher", 3, 12.3456, METRICS)
        tracker.close()
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    fields = {"schema_version": 1, "stage": "teacher", "step": 3, "seconds": 12.35}
    assert line == {**fields, **METRICS}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"teacher/loss", "teacher/val/ndcg@10"}
    (scalar,) = events.Scalars("teacher/val/ndcg@10")
    assert (scalar.step, scalar.value) == (3, 0.25)


def test_without_a_directory_there_is_no_tracker():
    assert open_trackers(None, "teacher") == []


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_tracker_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, name, None)  # importing it raises ModuleNotFoundError
    with pytest.raises(
        GenrecError, match=rf'tracker {name} is not installed: pip install "genrec\[{name}\]"'
    ):
        open_trackers(None, "teacher", [name])


def test_an_import_error_inside_a_tracker_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("import a_module_that_wandb_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_wandb_needs"):
        open_trackers(None, "teacher", ["wandb"])


@dataclass
class FakeWandB:
    """What genrec uses of wandb."""

    options: dict[str, Any] = field(default_factory=dict)
    logged: list[tuple[dict[str, float], int]] = field(default_factory=list)
    finished: bool = False
    problem: str = ""

    class Error(Exception):
        pass

    def init(self, **options: Any) -> "FakeWandB":
        if self.problem:
            raise self.Error(self.problem)
        self.options = options
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.finished = True


def test_weights_and_biases_gets_a_run_per_stage(tmp_path, monkeypatch):
    wandb = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    with RunLogger(tmp_path, "align", quiet=True, trackers=["wandb"]) as log:
        log.log_metrics(2, METRICS)
        log.log_metrics(3, {"loss": 0.4})
    assert wandb.options == {
        "project": "genrec",
        "dir": str(tmp_path),
        "name": str(tmp_path),
        "job_type": "align",
        "reinit": "create_new",
    }
    assert wandb.logged == [
        ({"align/loss": 0.5, "align/val/ndcg@10": 0.25}, 2),
        ({"align/loss": 0.4}, 3),
    ]
    assert wandb.finished
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    RunLogger(None, "align", trackers=["wandb"])
    assert (wandb.options["project"], wandb.options["dir"]) == ("mine", None)


def test_a_problem_of_weights_and_biases_is_an_error_for_the_user(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandB(problem="No API key configured."))
    with pytest.raises(GenrecError, match="tracker wandb: No API key configured"):
        open_trackers(None, "teacher", ["wandb"])


class FakeMLflow(types.ModuleType):
    """What genrec uses of mlflow: its client, with one experiment that may exist."""

    class MlflowException(Exception):
        pass

    def __init__(self, experiments: dict[str, str], problem: str = "") -> None:
        super().__init__("mlflow")
        self.experiments, self.problem = experiments, problem
        self.runs: list[tuple[str, str | None, dict[str, str]]] = []
        self.metrics: list[tuple[str, str, float, int]] = []
        self.terminated: list[str] = []
        self.entities = types.SimpleNamespace(Metric=lambda *parts: parts)

    def MlflowClient(self) -> "FakeMLflow":
        if self.problem:
            raise self.MlflowException(self.problem)
        return self

    def get_experiment_by_name(self, name: str) -> object | None:
        found = self.experiments.get(name)
        return types.SimpleNamespace(experiment_id=found) if found else None

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = f"new {name}"
        return self.experiments[name]

    def create_run(self, experiment: str, run_name: str | None, tags: dict[str, str]) -> object:
        self.runs.append((experiment, run_name, tags))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"run {len(self.runs)}"))

    def log_batch(self, run_id: str, metrics: list[tuple[str, float, int, int]]) -> None:
        self.metrics += [(run_id, name, value, step) for name, value, _, step in metrics]

    def set_terminated(self, run_id: str) -> None:
        self.terminated.append(run_id)


def test_mlflow_gets_a_run_per_stage(tmp_path, monkeypatch):
    mlflow = FakeMLflow({"mine": "7"})
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with RunLogger(tmp_path, "teacher", quiet=True, trackers=["mlflow"]) as log:
        log.log_metrics(4, METRICS)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    open_trackers(None, "align", ["mlflow"])
    assert mlflow.runs == [
        ("new genrec", str(tmp_path), {"stage": "teacher"}),
        ("7", None, {"stage": "align"}),
    ]
    assert mlflow.metrics == [
        ("run 1", "teacher/loss", 0.5, 4),
        ("run 1", "teacher/val/ndcg_at_10", 0.25, 4),
    ]
    assert mlflow.terminated == ["run 1"]


def test_a_problem_of_mlflow_is_an_error_for_the_user(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", FakeMLflow({}, problem="no store"))
    with pytest.raises(GenrecError, match="tracker mlflow: no store"):
        open_trackers(None, "teacher", ["mlflow"])


needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed"
)
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed"
)


@needs_wandb
def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with RunLogger(tmp_path, "teacher", quiet=True, trackers=["wandb"]) as log:
        log.log_metrics(1, METRICS)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"teacher/val/ndcg@10" in file.read_bytes()


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    with RunLogger(tmp_path / "run", "teacher", quiet=True, trackers=["mlflow"]) as log:
        log.log_metrics(1, METRICS)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("genrec").experiment_id])
    assert run.data.metrics == {"teacher/loss": 0.5, "teacher/val/ndcg_at_10": 0.25}
    assert run.info.run_name == str(tmp_path / "run")
    assert run.info.status == "FINISHED"


def test_metrics_of_lost_work_are_dropped_when_a_training_is_resumed(tmp_path: Path):
    """Neither metrics.jsonl nor TensorBoard shows a step twice."""
    log = RunLogger(tmp_path, "teacher", quiet=True)
    for step in (1, 2, 3):
        log.log_metrics(step, {"loss": float(step)})
    log.close()
    other = RunLogger(tmp_path, "align", quiet=True)
    other.log_metrics(3, {"loss": 7.0})
    other.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"schema_version": 1, "stage": "teac')  # killed while it was written
    resumed = RunLogger(tmp_path, "teacher", quiet=True)
    resumed.resume(1)
    for step in (2, 3):
        resumed.log_metrics(step, {"loss": 10.0 * step})
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"], line["loss"]) for line in lines] == [
        ("teacher", 1, 1.0),
        ("align", 3, 7.0),
        ("teacher", 2, 20.0),
        ("teacher", 3, 30.0),
    ]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(scalar.step, scalar.value) for scalar in events.Scalars("teacher/loss")]
    assert shown == [(1, 1.0), (2, 20.0), (3, 30.0)]


def test_a_training_that_starts_anew_drops_everything_of_its_stage(tmp_path: Path):
    for _ in range(2):
        log = RunLogger(tmp_path, "align", quiet=True)
        log.resume(-1)
        log.log_metrics(0, {"val/objective": 0.5})
        log.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
