"""The pages that teach, run from top to bottom: their files are written, their commands run, on
small settings."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genrec.cli import app

DOCS = Path(__file__).parents[1] / "docs"
TINY = [
    *(
        "teacher.epochs=1",
        "teacher.hidden_size=8",
        "teacher.max_length=10",
        "student.epochs=1",
        "student.hidden_size=16",
    ),
    *(
        "student.blocks=1",
        "student.heads=2",
        "student.max_length=10",
        "student.demonstrations=100",
        "student.pool=15",
    ),
    *(
        "align.warmup_lists=60",
        "align.updates=2",
        "align.histories=4",
        "align.group_size=2",
        "align.evaluate_every=2",
    ),
]
SMALLER = {
    "align": [part for change in TINY for part in ("--set", change)],
    "compare": ["--users", "20", "--set", "compare.weights=2"],
    "rewards": [],
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every code block, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def commands(block: str) -> Iterator[tuple[list[str], int]]:
    """The arguments of the genrec commands of a block, and the exit status that the page
    promises."""
    for line in block.splitlines():
        if line.startswith("genrec "):
            promised = re.search(r"# exit status (\d)", line)
            yield shlex.split(line, comments=True)[1:], int(promised.group(1)) if promised else 0


def run(page: str, folder: Path) -> list[list[str]]:
    """Follow a page in a folder; returns the commands."""
    done, output = [], ""
    for language, block in blocks(page):
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", block)
            assert name, f"{page}: a file begins with its name"
            (folder / name.group(1)).write_text(block)
        elif language == "text":
            printed = output.splitlines()
            assert [
                line for line in block.splitlines() if not any(p.startswith(line) for p in printed)
            ] == []
        else:
            for arguments, status in commands(block):
                result = CliRunner().invoke(app, [*arguments, *SMALLER[arguments[0]]])
                assert result.exit_code == status, result.output
                output = result.stdout
                done.append(arguments)
    return done


def test_write_a_reward(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("write-a-reward.md", tmp_path)
    assert [arguments[0] for arguments in done].count("rewards") == 7
    assert "fresh@10" in (tmp_path / "runs" / "fresh" / "comparison.json").read_text()


def test_train_your_own_agent(capsys):
    pytest.importorskip("sb3_contrib", reason="the last block needs sb3-contrib")
    namespace: dict[str, object] = {}
    for language, block in blocks("train-your-own-agent.md"):
        assert language == "python"
        exec(compile(block, "train-your-own-agent.md", "exec"), namespace)
    rendered = capsys.readouterr().out
    assert "list: 10 of 10 items" in rendered
    assert "'diversity@10': 0." in rendered
    earned = namespace["earned"]
    assert isinstance(earned, list)
    assert np.mean(earned[-5:]) > np.mean(earned[:5]) + 0.1


@pytest.mark.slow
def test_which_trainer_when(tmp_path, monkeypatch):
    for library in ("sb3_contrib", "trl"):
        pytest.importorskip(library, reason=f"the page needs {library}")
    monkeypatch.chdir(tmp_path)
    done = run("which-trainer-when.md", tmp_path)
    assert [
        arguments[arguments.index("--agent") + 1] for arguments in done if arguments[0] == "align"
    ] == [
        *("ppo", "sb3", "grpo"),
        *("ppo", "sb3", "grpo"),
    ]
