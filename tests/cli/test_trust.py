"""A run directory, a checkpoint or a YAML file from a stranger: no command runs what it names."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from genrec.config.writing import digest
from genrec.results import RunMetadata, RunPlan

EVIL = """
from pathlib import Path

Path({marker!r}).write_text("executed")


def fresh(slates, context):
    return slates * 0.0


class Teacher:
    pass
"""


@pytest.fixture
def marker(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that appears if the code of the stranger runs."""
    marker = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(EVIL.format(marker=str(marker)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return marker


@pytest.fixture(params=["file", "module"])
def place(marker: Path, request: pytest.FixtureRequest) -> str:
    return str(marker.with_name("evil.py")) if request.param == "file" else "evil"


def forge(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a run with other metadata, whose checksums are right."""
    shutil.copytree(source, target)
    metadata = RunMetadata.read(target)
    files = {name: digest(target / name) for name in metadata.files}
    metadata.model_copy(update={"files": files, **changes}).write(target)
    return target


def forged_policy(runs: Path, place: str) -> Path:
    """An aligned run for a reward of the stranger's."""
    target = runs / "forged"
    shutil.rmtree(target, ignore_errors=True)
    specs = ("relevance=1", f"{place}:fresh=0.3")
    forge(runs / "aligned", target, rewards=specs)
    hashes = (digest(Path(place)),) if place.endswith(".py") else ()
    plan = RunPlan.read(target).model_copy(update={"rewards": specs, "reward_files": hashes})
    plan.write(target)
    metadata = RunMetadata.read(target)
    files = {**metadata.files, "plan.json": digest(target / "plan.json")}
    metadata.model_copy(update={"files": files}).write(target)
    return target


def forged_teacher(runs: Path, name: str, **scorer: object) -> Path:
    """A teacher whose description names code of the stranger's."""
    target = runs / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(runs / "teacher", target)
    content = json.loads((target / "scorer.json").read_text()) | scorer
    (target / "scorer.json").write_text(json.dumps(content))
    metadata = RunMetadata.read(target)
    settings = {
        **metadata.settings,
        **({"teacher": scorer["config"]} if "config" in scorer else {}),
    }
    files = {each: digest(target / each) for each in metadata.files}
    metadata.model_copy(update={"files": files, "settings": settings}).write(target)
    return target


def refused(mistake, marker: Path, *arguments: str) -> None:
    found = mistake(*arguments)
    assert "it is code, and was not run" in found
    assert "genrec" in found
    assert found.endswith("--trust")
    assert not marker.exists()


def test_a_reward_of_a_policy(runs, mistake, marker, place):
    run = forged_policy(runs, place)
    refused(mistake, marker, "compare", str(run), "--quiet")


def test_reading_a_policy_needs_no_reward(runs, run, marker, place):
    """Its lists are the policy's alone: nothing of the reward is asked for."""
    forged = forged_policy(runs, place)
    assert run("recommend", str(forged), "--history", "i01,i02", "--quiet").exit_code == 0
    assert run("evaluate", str(forged), "--users", "10", "--quiet").exit_code == 0
    assert not marker.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "stranger", "--history", "i01,i02"),
        ("evaluate", "stranger"),
        ("pretrain", "--teacher", "stranger", "-o", "new"),
        ("align", "-r", "diversity", "--teacher", "stranger", "-o", "new"),
        ("sweep", "-r", "diversity", "--weights", "0,1", "--teacher", "stranger", "-o", "new"),
    ],
)
def test_a_teacher_of_the_strangers(runs, mistake, marker, place, arguments):
    forged_teacher(runs, "stranger", kind="external", recipe=f"{place}:Teacher")
    refused(mistake, marker, *arguments, "--quiet")


@pytest.mark.parametrize("axis", ["backbone", "loss"])
def test_a_part_of_a_teacher(runs, mistake, marker, place, axis):
    config = json.loads((runs / "teacher" / "scorer.json").read_text())["config"]
    forged_teacher(runs, "stranger", config={**config, axis: {"name": f"{place}:Teacher"}})
    if axis == "backbone":
        refused(mistake, marker, "recommend", "stranger", "--history", "i01", "--quiet")
    refused(
        mistake, marker, *("train-teacher", "-o", "new", "--quiet", "-c", settings_of("stranger"))
    )


def settings_of(run: str) -> str:
    """The settings of a run as a YAML file."""
    content = json.loads(Path(run, "run.json").read_text())["settings"]
    Path("settings.yaml").write_text(json.dumps(content))
    return "settings.yaml"


@pytest.mark.parametrize(
    "settings",
    [
        "teacher: {{recipe: '{place}:Teacher'}}",
        "teacher: {{loss: '{place}:fresh'}}",
        "teacher: {{recipe: markov}}\ncompare: {{rerankers: ['{place}:fresh']}}",
    ],
)
def test_a_configuration_file(runs, run, marker, place, settings):
    text = settings.format(place=place)
    Path("stranger.yaml").write_text(f"dataset: log.csv\n{text}\n")
    shutil.rmtree("new", ignore_errors=True)
    found = run("train-teacher", "-c", "stranger.yaml", "-o", "new", "--quiet")
    assert found.exit_code == (0 if "rerankers" in text else 1)
    assert not marker.exists()


def test_hugging_face_code_of_a_policy(runs, run, marker, place):
    """``auto_map`` and kernels are what transformers would load from a configuration."""
    target = runs / "mapped"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(runs / "aligned", target)
    config = json.loads((target / "config.json").read_text())
    config |= {
        "auto_map": {"AutoModelForCausalLM": "evil.Teacher", "AutoConfig": "evil.Teacher"},
        "attn_implementation": "stranger/kernel",
        "_attn_implementation": "stranger/kernel",
        "quantization_config": {"quant_method": "evil"},
    }
    (target / "config.json").write_text(json.dumps(config))
    shutil.copy(marker.with_name("evil.py"), target)
    metadata = RunMetadata.read(target)
    files = {**metadata.files, "config.json": digest(target / "config.json")}
    metadata.model_copy(update={"files": files}).write(target)
    expected = run("recommend", "aligned", "--history", "i01,i02", "--quiet")
    found = run("recommend", str(target), "--history", "i01,i02", "--quiet")
    assert (found.exit_code, found.stdout) == (0, expected.stdout)
    assert not marker.exists()


def test_aligning_and_comparing_with_ones_own_reward_stay_two_commands(runs, run, marker, place):
    """The file is named once; it may be named again by a run, as long as it stays the same."""
    marker.with_name("evil.py").write_text(
        "def fresh(slates, context):\n    return slates * 0.01\n"
    )
    shutil.rmtree("own", ignore_errors=True)
    parts = ("--teacher", "teacher", "--student", "student")
    made = run("align", "-r", f"{place}:fresh=0.3", *parts, "-o", "own", "--quiet")
    assert made.exit_code == 0, made.output
    found = run("compare", "own", "--quiet", "--users", "10")
    assert found.exit_code == 0, found.output


def test_trust_runs_it(runs, run, marker, place):
    forged = forged_policy(runs, place)
    found = run("compare", str(forged), "--quiet", "--users", "10", "--trust")
    assert found.exit_code == 0, found.output
    assert marker.exists()
