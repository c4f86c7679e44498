"""Help, and the commands that need no run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

VERBS = [
    "train-teacher",
    "pretrain",
    "align",
    "compare",
    "sweep",
    "evaluate",
    "recommend",
    "rewards list",
    "rewards check",
    "doctor",
]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb, process):
    result = process(Path(), *verb.split(), "-h")
    assert result.returncode == 0
    assert result.stderr == ""
    assert f"genrec {verb} " in result.stdout.split("Examples:")[1]


def test_help_imports_no_model_library():
    slow = {"torch", "pandas", "transformers", "matplotlib"}
    code = f"import sys, genrec.cli; print({slow} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "set()\n"
    )


def test_rewards_list(run):
    result = run("rewards", "list")
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names[:5] == ["ndcg", "relevance", "diversity", "novelty", "popularity"]
    rows = {row["name"]: row for row in json.loads(run("rewards", "list", "--json").stdout)}
    assert (rows["ndcg"]["needs"], rows["relevance"]["needs"]) == (["targets"], ["probabilities"])
    assert rows["diversity"]["origin"] == "built-in"
    assert rows["diversity"]["error"] is None


def test_doctor(folder, monkeypatch, run):
    monkeypatch.chdir(folder)
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["devices"].endswith("cpu")
    assert run("doctor").exit_code == 0
