"""``genrec align --agent``: another trainer, the same kind of run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer
from typer.testing import CliRunner

from genrec.agents.gptrec.model import GPTRec
from genrec.cli import app
from genrec.pipeline import reinforcement
from genrec.pipeline.recommend import recommend_titles

COMMAND = [sys.executable, "-c", "from genrec.cli import app; app(prog_name='genrec')"]
TINY = """
dataset: log.csv
k: 4
teacher: {epochs: 1, hidden_size: 8, backbone: {blocks: 1}, max_length: 10}
student:
  {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 60, pool: 15, epochs: 1}
align: {warmup_lists: 20, updates: 2, histories: 4, group_size: 2, evaluate_every: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A log of 60 users who go through 40 items in order."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    rows = ["user,item,time"]
    for user in range(60):
        items = (rng.integers(40) + np.arange(rng.integers(5, 10))) % 40
        rows += [f"u{user:02},i{item:02},{1000 * t + user}" for t, item in enumerate(items)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    (folder / "log.items.csv").write_text(
        "\n".join(
            ["item,title,genres", *(f"i{i:02},Title {i:02},{'ABC'[i % 3]}" for i in range(40))]
        )
        + "\n"
    )
    (folder / "tiny.yaml").write_text(TINY)
    return folder


def test_a_run_trained_by_stable_baselines3_is_a_run_like_any(folder, monkeypatch):
    arguments = [
        "align",
        "-c",
        "tiny.yaml",
        "-r",
        "diversity=0.3",
        "--agent",
        "sb3",
        "-o",
        "sb3",
        "--json",
    ]
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    content = json.loads(done.stdout)
    assert (content["kind"], content["settings"]["align"]["agent"]) == ("aligned", "sb3")
    rows = [
        json.loads(line) for line in (folder / "sb3" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rows if row["stage"] == "align" and "reward" in row] == [1, 2]
    assert not list((folder / "sb3").glob("checkpoint*"))
    monkeypatch.chdir(folder)
    said = CliRunner().invoke(app, ["recommend", "sb3", "--history", "i01,i02", "-k", "3"])
    assert len(said.stdout.splitlines()) == 3
    again = CliRunner().invoke(
        app, ["align", "-c", "tiny.yaml", "-r", "diversity=0.3", "-o", "sb3"]
    )
    assert again.exit_code == 1
    assert "differs in align" in again.stderr  # the agent is part of what a run is


def test_a_run_trained_by_trl_is_a_run_like_any_and_a_language_model_with_its_tokenizer(folder):
    arguments = [
        "align",
        "-c",
        "tiny.yaml",
        "-r",
        "diversity=0.3",
        "--agent",
        "grpo",
        "-o",
        "grpo",
        "--json",
    ]
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    content = json.loads(done.stdout)
    assert (content["kind"], content["settings"]["align"]["agent"]) == ("aligned", "grpo")
    rows = [
        json.loads(line) for line in (folder / "grpo" / "metrics.jsonl").read_text().splitlines()
    ]
    updates = [row for row in rows if row["stage"] == "align" and "reward" in row]
    assert [row["step"] for row in updates] == [1, 2]
    for row in updates:  # TRL adds the terms as we do
        assert row["reward"] == pytest.approx(row["relevance"] + 0.3 * row["diversity"], abs=1e-5)
    assert not list((folder / "grpo").glob("checkpoint*"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "grpo")
    policy, item_ids, _ = GPTRec.from_pretrained(folder / "grpo")
    assert tokenizer(f"{item_ids[6]} <sep>")["input_ids"] == [7, policy.separator]
    assert recommend_titles(folder / "grpo", ["i01", "i02"], 3, device=torch.device("cpu"))


def test_an_unknown_agent_is_told_the_choices(folder, monkeypatch):
    monkeypatch.chdir(folder)
    said = CliRunner().invoke(
        app, ["align", "-c", "tiny.yaml", "-r", "diversity", "--agent", "a2c", "-o", "new"]
    )
    assert said.exit_code == 1
    assert "setting align.agent is 'a2c': unknown; choose one of ppo, sb3, grpo" in said.stderr


@pytest.mark.parametrize(
    ("agent", "module", "library", "extra"),
    [
        ("sb3", "sb3.trainer", "sb3_contrib", "sb3"),
        ("sb3", "sb3.trainer", "stable_baselines3", "sb3"),
        ("grpo", "trl.trainer", "trl", "trl"),
    ],
)
def test_a_missing_library_is_said_before_anything_is_trained(
    folder, monkeypatch, agent, module, library, extra
):
    monkeypatch.chdir(folder)
    for name in [
        name
        for name in sys.modules
        if name.startswith(f"{library}.") or name == f"genrec.agents.{module}"
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("genrec.agents.sb3.policy", "genrec.agents.sb3.vec_env"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, library, None)  # importing it raises ModuleNotFoundError
    said = CliRunner().invoke(
        app, ["align", "-c", "tiny.yaml", "-r", "diversity", "--agent", agent, "-o", "missing"]
    )
    assert said.exit_code == 1, said.output
    assert (
        f'--agent {agent} needs {library}, which is not installed: pip install "genrec[{extra}]"'
        in said.stderr
    )
    assert not (folder / "missing").exists()


@pytest.mark.parametrize(
    ("agent", "change", "message"),
    [
        (
            "ppo",
            "align.group_size=1",
            "raise align.group_size, or use the critic (align.baseline=critic)",
        ),
        ("sb3", "align.kl=0.1", "unknown setting align.kl of sb3"),
        ("grpo", "align.baseline=critic", "unknown setting align.baseline of grpo"),
        ("grpo", "align.minibatches=3", "TRL cuts 8 lists into equal minibatches"),
    ],
)
def test_what_a_trainer_cannot_do_is_reported_before_anything_is_trained(
    folder, monkeypatch, agent, change, message
):
    monkeypatch.chdir(folder)
    arguments = [
        "align",
        "-c",
        "tiny.yaml",
        "-r",
        "diversity",
        "--agent",
        agent,
        "-s",
        change,
        "-o",
        "cannot",
    ]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 1, said.output
    assert message in said.stderr
    assert not (folder / "cannot").exists()


def test_a_module_of_our_own_that_is_missing_is_no_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "genrec.agents.sb3.trainer", None)
    with pytest.raises(ModuleNotFoundError):
        reinforcement.trainer("sb3")
