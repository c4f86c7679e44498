"""The README's commands and code: every command parses, every Python block runs, the slow tier runs
the demo."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from genrec.cli import app
from genrec.data import leave_one_out, load
from genrec.metrics.context import Context
from genrec.rewards import checked, resolve

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands() -> list[tuple[str, str]]:
    found = [
        (page.name, line.strip())
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip().startswith("genrec ")
    ]
    for config in CONFIGS:
        first = config.read_text().splitlines()[0]
        assert first.startswith("# genrec "), f"{config.name}: the first comment is the command"
        found += [(config.name, part.strip()) for part in first[2:].split("&&")]
    return found


@pytest.mark.parametrize(("place", "line"), commands())
def test_commands_parse(place: str, line: str):
    words = shlex.split(line.split(" > ")[0], comments=True)[1:]
    command = typer.main.get_command(app)
    while words and not words[0].startswith("-") and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]  # type: ignore[attr-defined]
        words = words[1:]
    assert not hasattr(command, "commands"), f"{place}: {line} names no command"
    command.make_context(line, words)  # raises for an unknown option or a missing argument


def test_the_reward_of_the_readme_is_a_reward(tmp_path: Path):
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if "@reward" in block]
    (tmp_path / "my_reward.py").write_text(source)
    reward = checked(resolve(f"{tmp_path / 'my_reward.py'}:long_tail"))
    split = leave_one_out(load("demo").dataset)
    counts = split.catalogue.counts
    rarest, commonest = np.argsort(counts[1:])[:10] + 1, np.argsort(counts[1:])[-10:] + 1
    context = Context(
        split.test.histories.take([0, 1]), split.test.targets[:2], split.catalogue, 10
    )
    assert reward(np.stack([rarest, commonest]), context).sum(axis=1).tolist() == pytest.approx(
        [1.0, 0.0]
    )


def test_the_python_of_the_readme_runs(tmp_path: Path):
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if "@reward" not in block]
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert 0.4 < float(run.stdout) < 0.5


@pytest.mark.slow
def test_the_demo_of_the_readme(tmp_path: Path):
    genrec = [sys.executable, "-m", "genrec"]
    for line in blocks(ROOT / "README.md", "bash")[1].splitlines():
        subprocess.run([*genrec, *shlex.split(line)[1:]], cwd=tmp_path, check=True)
    assert (tmp_path / "runs/demo/comparison.png").stat().st_size > 10_000
