"""The lowest versions that pyproject.toml declares: installs them and tries genrec with them.

    make lowest    # or: python tests/lowest_versions.py [DIRECTORY]

In a new virtual environment every direct dependency, and those of the extras for users, get the
version of their lower bound; what these depend on gets the newest version that fits. Then a part of
the tests and a small alignment run. Old versions may warn about newer ones: here warnings are
no errors. DIRECTORY is where the environment is made, and stays; without it a temporary one is.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("mlflow", "sb3", "trl", "wandb")
TOOLS = ("hypothesis", "ir-measures", "pytest")
TESTS = (
    "tests/agents/gptrec",
    "tests/agents/sb3",
    "tests/agents/trl",
    "tests/config",
    "tests/data/test_formats.py",
    "tests/data/test_interactions.py",
    "tests/envs",
    "tests/models/test_transformer.py",
    "tests/report",
    "tests/training/test_trackers.py",
)
SMALL = """
dataset: demo
teacher: {recipe: sasrec, hidden_size: 8, max_length: 10, epochs: 1}
student: {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 100, epochs: 1}
align: {warmup_lists: 60, updates: 2, histories: 4, group_size: 2, evaluate_every: 2}
compare: {weights: 2}
"""


def main() -> None:
    """Install and try; the exit status of the first command that fails is that of this one."""
    if sys.argv[1:]:
        sys.exit(run_in(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(run_in(Path(directory)))


def run_in(directory: Path) -> int:
    """The first exit status that is not 0, else 0."""
    requirements = lowest_requirements((ROOT / "pyproject.toml").read_text())
    print("\n".join(requirements), flush=True)
    venv.create(directory / "venv", with_pip=True, clear=True)
    settings = directory / "small.yaml"
    settings.write_text(SMALL)
    for command in commands(directory / "venv" / "bin", requirements, settings):
        print(f"\n$ {' '.join(command)}", flush=True)
        status = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
        if status.returncode:
            return status.returncode
    return 0


def commands(binaries: Path, requirements: Iterable[str], settings: Path) -> Iterator[list[str]]:
    """Install, test, align, compare."""
    genrec = f".[{','.join(EXTRAS)}]"
    yield [str(binaries / "pip"), "install", "--quiet", "-e", genrec, *requirements]
    yield [str(binaries / "python"), "-m", "pytest", "-W", "default", "--disable-warnings", *TESTS]
    run = str(settings.parent / "run")
    yield [str(binaries / "genrec"), "align", "-c", str(settings), "-r", "diversity", "-o", run]
    yield [str(binaries / "genrec"), "compare", run, "--users", "50"]


def lowest_requirements(pyproject: str) -> list[str]:
    """``name==version`` for the lower bound of every direct dependency and of the test tools.

    >>> lowest_requirements('''
    ... [project]
    ... dependencies = ["torch>=2.13"]
    ... [project.optional-dependencies]
    ... dev = ["pytest>=9.2", "ruff>=0.17"]
    ... mlflow = ["mlflow>=3.16"]
    ... sb3 = ["sb3-contrib>=2.6"]
    ... trl = ["trl>=1.16,<2"]
    ... wandb = ["wandb>=0.20"]
    ... ''')
    ['mlflow==3.16', 'pytest==9.2', 'sb3-contrib==2.6', 'torch==2.13', 'trl==1.16', 'wandb==0.20']
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    direct = [*project["dependencies"]]
    for name in EXTRAS:
        direct += extras[name]
    tools = [each for each in extras["dev"] if split(each)[0] in TOOLS]
    return sorted({"==".join(split(each)) for each in [*direct, *tools]})


def split(requirement: str) -> tuple[str, str]:
    """Name and lower bound of a requirement, ValueError without one.

    >>> split("trl>=1.16,<2")
    ('trl', '1.16')
    """
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<[\w.]+)?", requirement)
    if not found:
        raise ValueError(f"{requirement} must be a name, '>=' and a version, then at most '<'")
    return found[1], found[2]


if __name__ == "__main__":
    main()
