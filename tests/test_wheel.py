"""The wheel, installed outside the checkout, is the whole product. Runs where GENREC_WHEEL names a
built wheel."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WHEEL = os.environ.get("GENREC_WHEEL", "")

BROKEN = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "broken-reward"
version = "6.5"
[project.entry-points."genrec.rewards"]
broken = "broken_reward:anything"
[tool.setuptools]
py-modules = ["broken_reward"]
"""
TINY = """
dataset: demo
teacher: {recipe: popularity}
student:
  {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 100, pool: 15, epochs: 1}
align: {warmup_lists: 60, updates: 2, histories: 4, group_size: 2, evaluate_every: 2}
"""

pytestmark = pytest.mark.skipif(
    not WHEEL, reason="GENREC_WHEEL names no wheel: python -m build; .ci/run does it"
)


@pytest.fixture(scope="module")
def names() -> set[str]:
    return set(zipfile.ZipFile(WHEEL).namelist())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel, which borrows the dependencies of this one
    but not genrec."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, str(Path(WHEEL).resolve())], check=True, timeout=120)
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # A path named in a .pth file is searched, but its own .pth files (the editable genrec) are not
    # read.
    Path(packages.stdout.strip(), "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def plugged(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same environment with the example's reward plugin, and a plugin that cannot be imported
    beside it."""
    good = tmp_path_factory.mktemp("plugins") / "good"
    shutil.copytree(ROOT / "examples" / "reward-plugin", good)
    broken = good.parent / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "broken_reward.py").write_text("import a_module_that_is_not_there\n")
    pip = [sys.executable, "-m", "pip", "--python", str(installed / "python"), "install", "--quiet"]
    for folder in (good, broken):
        offline = ["--no-deps", "--no-index", "--no-build-isolation", str(folder)]
        subprocess.run([*pip, *offline], check=True, timeout=120)
    return installed


def process(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def outside(command: list[str], folder: Path) -> str:
    run = process(command, folder)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_source_comes_along(names):
    expected = {"genrec/py.typed"}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "genrec").rglob("*.py")}
    for folder in ("agents", "configs", "envs"):
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".yaml"}]
        expected |= {str("genrec" / path.relative_to(ROOT)) for path in files}
    assert expected - names == set()


def test_nothing_else_is_installed(names):
    assert {name.split("/")[0].split("-")[0] for name in names} == {"genrec"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_rooms_are_imported_from_the_wheel(installed, tmp_path):
    code = (
        "import genrec.agents, genrec.configs, genrec.envs;"
        " print(genrec.agents.__file__, genrec.envs.__file__)"
    )
    agents, envs = outside([str(installed / "python"), "-c", code], tmp_path).split()
    assert Path(agents).parent.name == "agents"
    assert all(Path(path).is_relative_to(installed.parent) for path in (agents, envs))


@pytest.mark.parametrize("room", ["agents", "envs", "configs"])
def test_no_bare_room_is_installed(room, installed, tmp_path):
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{room}') is not None)"
    outside([str(installed / "python"), "-c", code], tmp_path)


def test_configurations_are_readable(installed, tmp_path):
    code = (
        "import importlib.resources as r;"
        " print(*(path.name for path in r.files('genrec.configs').iterdir()))"
    )
    shipped = set(outside([str(installed / "python"), "-c", code], tmp_path).split())
    assert {path.name for path in (ROOT / "configs").glob("*.yaml")} <= shipped


def test_the_command_answers(installed, tmp_path):
    assert "Usage" in outside([str(installed / "genrec"), "--help"], tmp_path)


def test_a_plugin_beside_the_wheel_aligns_and_a_broken_one_does_no_harm(plugged, tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    genrec = str(plugged / "genrec")
    listed = process([genrec, "rewards", "list", "--json"], tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert (
        "warning: plugin 'broken' of broken-reward 6.5 (broken_reward:anything) is left out"
        in listed.stderr
    )
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["genre-coverage"]["origin"].startswith("genrec-genre-coverage 0.1.0 ")
    assert "No module named 'a_module_that_is_not_there'" in rows["broken"]["error"]

    outside([genrec, "rewards", "check", "genre-coverage", "--lists", "50"], tmp_path)
    outside(
        [genrec, "align", "-c", "tiny.yaml", "-r", "genre-coverage=0.5", "-o", "run", "--quiet"],
        tmp_path,
    )
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["rewards"] == ["relevance=1", "genre-coverage=0.5"]
    assert 0 < run["val"]["genre-coverage@10"] <= 1

    refused = process([genrec, "align", "-c", "tiny.yaml", "-r", "broken", "-o", "other"], tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: reward 'broken' of broken-reward 6.5 (broken_reward:anything) cannot be"
    )
    assert not (tmp_path / "other").exists()


def test_the_plugins_own_tests_pass_where_it_is_installed(plugged, tmp_path):
    tests = tmp_path / "tests"
    shutil.copytree(ROOT / "examples" / "reward-plugin" / "tests", tests)
    assert "5 passed" in outside(
        [str(plugged / "python"), "-m", "pytest", "-q", str(tests)], tmp_path
    )
