"""A log of 120 users, a finished chain of runs on it, and ways to call the command line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from genrec.cli import app

COMMAND = [sys.executable, "-c", "from genrec.cli import app; app(prog_name='genrec')"]
TINY = """
dataset: log.csv
teacher: {epochs: 2, hidden_size: 8, backbone: {blocks: 1}, max_length: 10}
student:
  {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 100, pool: 15, epochs: 1}
align: {warmup_lists: 60, updates: 2, histories: 4, group_size: 2, evaluate_every: 1}
compare: {weights: 2}
"""


def _write_log(folder: Path, seed: int) -> None:
    """120 users who mostly go through 40 items in order, and the items' genres."""
    rng = np.random.default_rng(seed)
    rows = ["user,item,time"]
    for user in range(120):
        items = (
            rng.integers(40) + np.cumsum(rng.choice([1, 1, 1, 2, 5], rng.integers(5, 10)))
        ) % 40
        rows += [
            f"u{user:03},i{item:02},{1000 * t + user}"
            for t, item in enumerate(dict.fromkeys(items.tolist()))
        ]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    genres = [
        f"i{i:02},Title {i:02},{('Action', 'Drama', 'Comedy')[i % 3]}{'|Old' * (i > 20)}"
        for i in range(40)
    ]
    (folder / "log.items.csv").write_text("\n".join(["item,title,genres", *genres]) + "\n")
    (folder / "tiny.yaml").write_text(TINY)


def _process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    _write_log(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def chain(folder) -> dict[str, subprocess.CompletedProcess[str]]:
    """The four stages, each a process."""
    reward = ("-r", "diversity=0.3")
    return {
        "teacher": _process(folder, "train-teacher", "-c", "tiny.yaml", "-o", "teacher"),
        "student": _process(
            folder, "pretrain", "--teacher", "teacher", "-o", "student", "--set", "student.epochs=2"
        ),
        "aligned": _process(
            *(
                folder,
                "align",
                *reward,
                "--teacher",
                "teacher",
                "--student",
                "student",
                "-o",
                "aligned",
                "--json",
            )
        ),
        "compare": _process(folder, "compare", "aligned", "--json"),
    }


@pytest.fixture
def runs(chain, folder, monkeypatch) -> Path:
    """The folder of the finished chain, as the working directory."""
    monkeypatch.chdir(folder)
    return folder


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _mistake(*arguments: str) -> str:
    """The one line on stderr of a command that must fail with exit status 1."""
    result = _run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # anything else would be a traceback
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.stderr.splitlines()[-1] == errors[0]
    return errors[0]


@pytest.fixture(scope="session")
def write_log() -> Callable[[Path, int], None]:
    """Writes the log, its items and its settings into a directory; (directory, random seed)."""
    return _write_log


@pytest.fixture(scope="session")
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command as a process; (working directory, *arguments)."""
    return _process


@pytest.fixture(scope="session")
def run() -> Callable[..., Result]:
    """Runs a command in this process."""
    return _run


@pytest.fixture(scope="session")
def mistake() -> Callable[..., str]:
    """The error of a command that must fail with exit status 1 and one line."""
    return _mistake


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The command line as a process, before its arguments."""
    return COMMAND
