"""Results of one run: its metadata, its plan, and the lines of its metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field

from genrec.results.records import Metrics, Record, RunFile, VersionedRecord, read_run_text

Kind = Literal["teacher", "student", "supervised_warmup", "aligned"]
"""What a run directory holds."""


Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""


class PopularityBaseline(Record):
    """A ranking by popularity on the validation cases of a teacher.

    Attributes:
        ndcg: NDCG@K of the ranking.
        teacher_is_above: whether the teacher's NDCG@K is significantly higher.
    """

    ndcg: float
    teacher_is_above: bool


class RunMetadata(RunFile):
    """``run.json``: what a finished run is, how it was made, and its validation metrics.

    Attributes:
        kind: which stage made the run.
        settings: all settings of the run, opaque here.
        fingerprint: hash of the dataset.
        train_fingerprint: hash of the events that the run was trained on.
        versions: of Python and the libraries that a result may depend on.
        machine: device, instructions, threads and precision, on which the last digits depend.
        files: name of each file that the run is loaded from -> its SHA-256 hash.
        val: metrics on the validation cases.
        temperature: T of a teacher's calibrated probabilities, softmax(scores / T).
        popularity: a ranking by popularity, to which a teacher is compared.
        teacher: relative path from the run directory to that of its teacher.
        student: relative path to the student of an aligned policy or its warm-up.
        supervised_warmup: relative path to the warm-up that an alignment started from.
        parents: "teacher", "student", "supervised_warmup" -> hash of the files of that run.
        rewards: complete specs of the rewards of an alignment.
    """

    file_name = "run.json"

    kind: Kind
    settings: dict[str, Any]
    fingerprint: str
    train_fingerprint: str
    versions: dict[str, str]
    machine: dict[str, str]
    files: dict[str, str]
    val: Metrics
    temperature: Temperature | None = None
    popularity: PopularityBaseline | None = None
    teacher: str | None = None
    student: str | None = None
    supervised_warmup: str | None = None
    parents: dict[str, str] = Field(default_factory=dict)
    rewards: tuple[str, ...] | None = None


class RunPlan(RunFile):
    """``plan.json``: everything that a stage depends on; equal plans make equal runs.

    Attributes:
        kind: of the stage.
        fingerprint: hash of the dataset.
        train_fingerprint: hash of the events to train on.
        settings: those settings that the stage reads, opaque here.
        teacher_weights: hash of the teacher's weights.
        student_weights: hash of the student's weights.
        rewards: complete specs of the rewards.
        reward_files: hash of each reward file that the specs name.
        demonstrations: how the lists of a supervised warm-up are made.
        bf16: whether the products of the stage run in bfloat16, as was decided when it started; it
            holds when the stage is resumed. None where there is nothing to decide.
    """

    file_name = "plan.json"

    kind: Kind
    fingerprint: str
    train_fingerprint: str
    settings: dict[str, Any]
    teacher_weights: str | None = None
    student_weights: str | None = None
    rewards: tuple[str, ...] | None = None
    reward_files: tuple[str, ...] | None = None
    demonstrations: str | None = None
    bf16: bool | None = None

    def differences(self, other: "RunPlan") -> list[str]:
        """Names of the values that differ from another plan's; settings by their own name.

        >>> old = RunPlan(kind="teacher", fingerprint="a", train_fingerprint="b", settings={"k": 5})
        >>> old.differences(old.model_copy(update={"fingerprint": "c", "settings": {"k": 6}}))
        ['fingerprint', 'k']
        """
        ours, theirs = self._flat(), other._flat()
        names = dict.fromkeys((*ours, *theirs))
        return [name for name in names if ours.get(name) != theirs.get(name)]

    def _flat(self) -> dict[str, Any]:
        """Value of each name, as JSON holds it: there a tuple and a list are the same."""
        content = self.model_dump(mode="json")
        settings = content.pop("settings")
        return {**content, **settings}


class MetricsLine(VersionedRecord):
    """One line of ``metrics.jsonl``: the metrics of one step of a training.

    Metrics stand beside the other keys, so that any reader of JSON lines gives one column each.

    Attributes:
        stage: which training: "teacher", "student" or "align".
        step: number of the epoch, step or update.
        seconds: since this process began the training.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: Metrics = Field(init=False)

    stage: str
    step: int
    seconds: float

    @classmethod
    def of(cls, metrics: Mapping[str, float], *, stage: str, step: int, seconds: float) -> Self:
        """Line of these metrics.

        >>> MetricsLine.of({"loss": 0.5}, stage="student", step=2, seconds=1.5).to_json(indent=None)
        '{"schema_version": 1, "stage": "student", "step": 2, "seconds": 1.5, "loss": 0.5}'
        """
        # the fixed keys come last: a metric called "step" must not replace the step
        return cls.model_validate({**metrics, "stage": stage, "step": step, "seconds": seconds})

    @property
    def metrics(self) -> Metrics:
        """Metric -> value."""
        return dict(self.__pydantic_extra__)


def read_metrics(path: Path) -> list[MetricsLine]:
    """All lines of a ``metrics.jsonl``.

    Raises:
        RunError: naming the first line that is broken or of another schema version.
    """
    remedy = RunFile.remedy.format(directory=path.parent)
    lines = read_run_text(path, remedy).splitlines()
    return [
        MetricsLine.parse(line, f"{path}, line {number}", remedy)
        for number, line in enumerate(lines, start=1)
    ]
