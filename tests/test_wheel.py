"""The wheel, installed outside the checkout, is the whole product. Runs where GENREC_WHEEL names a built wheel."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WHEEL = os.environ.get("GENREC_WHEEL", "")

pytestmark = pytest.mark.skipif(not WHEEL, reason="GENREC_WHEEL names no wheel: python -m build; .ci/run does it")


@pytest.fixture(scope="module")
def names() -> set[str]:
    return set(zipfile.ZipFile(WHEEL).namelist())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel, which borrows the dependencies of this one but not genrec."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(Path(WHEEL).resolve())], check=True, timeout=120)
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # A path named in a .pth file is searched, but its own .pth files (the editable genrec) are not read.
    Path(packages.stdout.strip(), "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def outside(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
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
    code = "import genrec.agents, genrec.configs, genrec.envs; print(genrec.agents.__file__, genrec.envs.__file__)"
    agents, envs = outside([str(installed / "python"), "-c", code], tmp_path).split()
    assert Path(agents).parent.name == "agents"
    assert all(Path(path).is_relative_to(installed.parent) for path in (agents, envs))


@pytest.mark.parametrize("room", ["agents", "envs", "configs"])
def test_no_bare_room_is_installed(room, installed, tmp_path):
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{room}') is not None)"
    outside([str(installed / "python"), "-c", code], tmp_path)


def test_configurations_are_readable(installed, tmp_path):
    code = "import importlib.resources as r; print(*(p.name for p in r.files('genrec.configs').iterdir()))"
    shipped = set(outside([str(installed / "python"), "-c", code], tmp_path).split())
    assert {path.name for path in (ROOT / "configs").glob("*.yaml")} <= shipped


def test_the_command_answers(installed, tmp_path):
    assert "Usage" in outside([str(installed / "genrec"), "--help"], tmp_path)
