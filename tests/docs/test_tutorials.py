"""Pages that teach, run from top to bottom on small settings: files, commands and their output."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genrec.cli import app

DOCS = Path(__file__).parents[2] / "docs"
TEACHER = ["teacher.epochs=1", "teacher.hidden_size=8", "teacher.max_length=10"]
STUDENT = [
    *("student.epochs=1", "student.hidden_size=16", "student.blocks=1", "student.heads=2"),
    *("student.max_length=10", "student.demonstrations=100", "student.pool=15"),
]
ALIGN = [
    *("align.warmup_lists=60", "align.updates=2", "align.histories=4", "align.group_size=2"),
    "align.evaluate_every=2",
]


def overrides(settings: list[str]) -> list[str]:
    return [part for change in settings for part in ("--set", change)]


def smaller(words: list[str]) -> list[str]:
    """Arguments that make a command of a page quick."""
    teacher = [] if "--teacher" in words or "./recent.py:RecentPopularity" in words else TEACHER
    settings = {
        "align": [*teacher, *STUDENT, *ALIGN],
        "sweep": [*teacher, *STUDENT, *ALIGN],
        "train-teacher": teacher,
        "pretrain": STUDENT,
        "compare": ["compare.weights=2", "compare.policy_weights=2"],
    }
    found = overrides(settings.get(words[0], []))
    return [*found, "--users", "20"] if words[0] in ("compare", "evaluate", "sweep") else found


SKIPPED = ("/elsewhere/",)  # places that a reader has to replace


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every code block, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def lines_of(block: str) -> Iterator[tuple[list[str], int, str]]:
    """Words of the commands of a block, the exit status that the page announces, and the file
    that their output goes to."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith(("genrec ", "python ")) and not any(each in line for each in SKIPPED):
            announced = re.search(r"# exit status (\d)", line)
            command, _, file = line.partition(" > ")
            status = int(announced.group(1)) if announced else 0
            yield shlex.split(command, comments=True), status, file


def execute(words: list[str], status: int, file: str, folder: Path) -> str:
    """Run a command in the folder; returns what it printed."""
    if words[0] == "python":
        run = [sys.executable, *words[1:]]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout
    result = CliRunner().invoke(app, [*words[1:], *smaller(words[1:])])
    assert result.exit_code == status, f"{' '.join(words)}\n{result.output}"
    if file:
        (folder / file).write_text(result.stdout)
    return result.stdout


def follow(page: str, folder: Path) -> list[list[str]]:
    """Follow a page in a folder; returns the arguments of its genrec commands."""
    done, output = [], ""
    for language, block in blocks(page):
        name = re.match(r"# (\w+\.py)\n", block)
        if language == "python" and name:
            (folder / name.group(1)).write_text(block)
        elif language == "python":
            exec(compile(block, page, "exec"), {})
        elif language == "text":
            printed = output.splitlines()
            lines = block.splitlines()
            missing = [line for line in lines if not any(p.startswith(line) for p in printed)]
            assert missing == [], f"{page} announces other output than {output}"
        elif language == "bash":
            for words, status, file in lines_of(block):
                output = execute(words, status, file, folder)
                done += [words[1:]] if words[0] == "genrec" else []
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder with the runs of the first tutorial."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        follow("tutorials/five-minutes.md", folder)
    return folder


@pytest.mark.slow
def test_five_minutes(demo):
    assert (demo / "runs" / "demo" / "comparison.png").exists()
    assert (demo / "runs" / "range" / "comparison.json").exists()


def test_your_own_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow("tutorials/your-own-data.md", tmp_path)
    lists = (tmp_path / "lists.tsv").read_text().splitlines()
    assert lists[0] == "user\trank\titem\ttitle"
    assert len(lists) == 1 + 60 * 10


@pytest.mark.slow
def test_your_own_teacher(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    follow("tutorials/your-own-teacher.md", tmp_path)
    assert (tmp_path / "runs" / "from-recent" / "comparison.json").exists()
    ndcg, total = (float(line) for line in capsys.readouterr().out.splitlines())
    assert 0 < ndcg < 0.1
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["recommend", "compare-methods", "sweeps", "resume-and-move-runs"])
def test_how_to(page, demo, monkeypatch):
    monkeypatch.chdir(demo)
    assert follow(f"how-to/{page}.md", demo)


def test_write_a_reward(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = follow("write-a-reward.md", tmp_path)
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
    done = follow("which-trainer-when.md", tmp_path)
    agents = [words[words.index("--agent") + 1] for words in done if words[0] == "align"]
    assert agents == ["ppo", "sb3", "grpo", "ppo", "sb3", "grpo"]
