"""The examples run, and print what they should."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def earned(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> float:
    monkeypatch.setattr(sys, "argv", [name, "--lists", "100"])
    runpy.run_path(str(EXAMPLES / f"{name}_agent.py"), run_name="__main__")
    found = re.search(rf"a {name} list earns (\d\.\d+), the mean of 100", capsys.readouterr().out)
    assert found
    return float(found.group(1))


def test_a_greedy_agent_earns_more_than_a_random_one(monkeypatch, capsys):
    """0.3 of a diversity near 0.85 is what random lists earn; hits come on top of it."""
    random, greedy = (earned(name, monkeypatch, capsys) for name in ("random", "greedy"))
    assert 0.2 < random < 0.3
    assert greedy > random + 0.25


def test_the_tests_of_the_plugin_pass():
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        command,
        cwd=EXAMPLES / "reward-plugin",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed, 1 skipped" in run.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_script_names_its_command(script):
    assert f"    python examples/{script.name}\n" in script.read_text()
