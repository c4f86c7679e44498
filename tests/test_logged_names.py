"""docs/logged-metrics.md explains every name that a training logs, and no other name."""

import json
import re
from pathlib import Path

import pytest
import torch

from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.pipeline import stages
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace

PAGE = Path(__file__).parents[1] / "docs" / "logged-metrics.md"
ENTRY = re.compile(
    r"^- \*\*`([^`]+)`\*\* \(([^)]+)\)", re.MULTILINE
)  # name, and the agents or the unit
TERMS = ("relevance", "diversity")
AGENTS = {"ppo", "sb3", "grpo"}
SECTIONS = (
    "In every line",
    "Metrics of lists",
    "Teacher",
    "Student and supervised warm-up",
    "Alignment",
    "Only grpo",
)


def explained(section: str) -> dict[str, str]:
    """Name -> text of the parentheses after it, for the entries of a section of the page."""
    (text,) = re.findall(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    found = ENTRY.findall(text)
    assert len(dict(found)) == len(found) == text.count("- **`")
    return dict(found)


def explained_for(agent: str) -> set[str]:
    """The names of an alignment that an agent logs, by the parentheses after them."""
    entries = {
        name: set(re.findall(r"\w+", text.partition(";")[0]))
        for name, text in explained("Alignment").items()
    }
    assert all(agents and agents <= AGENTS for agents in entries.values())
    own = set(explained("Only grpo")) if agent == "grpo" else set()
    return own | {name for name, agents in entries.items() if agent in agents}


def logged(directory: Path, stage: str) -> set[str]:
    """Names of logged metrics as the page writes them: K for the list length, TERM for a reward."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {stage}
    names = {name.replace("@4", "@K") for row in rows for name in row}
    return {re.sub(rf"\b({'|'.join(TERMS)})\b", "TERM", name) for name in names}


def aligned(directory: Path, agent: str, run: Path | None = None) -> Path:
    """An alignment of two updates in which everything is on that can be logged."""
    align = {
        "agent": agent,
        "warmup_lists": 60,
        "updates": 2,
        "histories": 4,
        "group_size": 2,
        "evaluate_every": 2,
    }
    align |= {
        "ppo": {"baseline": "critic", "kl": 0.1, "kl_target": 0.05},
        "grpo": {"kl": 0.1, "entropy": 0.01},
    }.get(agent, {})
    content = {
        "k": 4,
        "teacher": {"hidden_size": 8, "backbone": {"blocks": 1}, "max_length": 8, "epochs": 2},
        "student": {
            "hidden_size": 16,
            "blocks": 1,
            "heads": 2,
            "max_length": 8,
            "demonstrations": 60,
            "pool": 12,
            "epochs": 1,
        },
        "align": align,
    }
    workspace = Workspace(
        settings_of(content),
        leave_one_out(demo(num_users=100, num_items=60, seed=1)),
        torch.device("cpu"),
        quiet=True,
    )
    parts = {name: run / name for name in ("teacher", "student")} if run else {}
    return stages.align(workspace, ["diversity"], **parts, out=directory)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return aligned(tmp_path_factory.mktemp("runs") / "ppo", "ppo")


@pytest.fixture(scope="module")
def everywhere() -> set[str]:
    return set(explained("In every line"))


@pytest.fixture(scope="module")
def measures() -> set[str]:
    return set(explained("Metrics of lists"))


def test_teacher(run, everywhere, measures):
    expected = everywhere | (measures - {"val/TERM@K"}) | set(explained("Teacher"))
    assert logged(run / "teacher", "teacher") == expected


@pytest.mark.parametrize("directory", ["student", "supervised_warmup"])
def test_student_and_supervised_warmup(run, everywhere, measures, directory):
    own = set(explained("Student and supervised warm-up"))
    expected = everywhere | (measures - {"val/TERM@K"}) | own
    assert logged(run / directory, "student") == expected


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_alignment(agent, run, everywhere, measures, tmp_path):
    if agent != "ppo":
        pytest.importorskip(
            {"sb3": "sb3_contrib", "grpo": "trl"}[agent],
            reason="the agent's library is not installed",
        )
    directory = run if agent == "ppo" else aligned(tmp_path / agent, agent, run)
    expected = everywhere | measures | explained_for(agent)
    assert logged(directory, "align") == expected


def test_every_entry_of_the_page_is_in_a_section_that_is_compared():
    assert len(ENTRY.findall(PAGE.read_text())) == sum(
        len(explained(section)) for section in SECTIONS
    )
