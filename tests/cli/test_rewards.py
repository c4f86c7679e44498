"""``genrec rewards list`` and ``check``."""

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genrec.cli import app
from genrec.config import components

REWARDS = '''
import numpy as np


def fresh(slates, context):
    """The later half of the catalogue is fresh."""
    return (slates > context.catalogue.num_items // 2) / context.k


def best(slates, context):
    return slates / slates.max(axis=1, keepdims=True)


def lucky(slates, context):
    return context.probability(slates)
'''


CHEAP = """
import csv
from pathlib import Path

import numpy as np

with Path(__file__).with_name("prices.csv").open() as file:
    PRICES = {row["item"]: float(row["price"]) for row in csv.DictReader(file)}


def cheap(slates, context):
    price = np.array([PRICES.get(str(raw), 50.0) for raw in context.catalogue.item_ids])
    return (1 - price[slates] / 100) / context.k
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_reward.py").write_text(REWARDS)
    (tmp_path / "broken_plugin.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("broken", "broken_plugin:x", "genrec.rewards"),
        EntryPoint("fresh", "my_reward:fresh", "g"),
    ]
    monkeypatch.delitem(sys.modules, "my_reward", raising=False)
    monkeypatch.setattr(components, "entry_points", lambda group: points)
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["rewards", *arguments])


def test_the_list_reports_a_broken_plugin_and_goes_on(folder):
    result = run("list")
    assert result.exit_code == 0
    assert (
        "fresh\tmy_reward:fresh\t-\tThe later half of the catalogue is fresh."
        in result.stdout.splitlines()
    )
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("warning: plugin 'broken' of broken_plugin:x is left out: ")
    assert warning.endswith("ModuleNotFoundError: No module named 'a_module_that_is_not_there'")


def test_the_list_for_machines(folder):
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["relevance"]["needs"] == ["probabilities"]
    assert "a_module_that_is_not_there" in rows["broken"]["error"]
    assert rows["fresh"]["error"] is None


def test_a_plugin_that_prints_and_breaks_over_several_lines_leaves_the_answer_readable(folder):
    Path("broken_plugin.py").write_text("print('loud')\nraise ValueError('two\\n\\tlines')\n")
    Path("my_reward.py").write_text("print('loud')\n" + REWARDS.replace("The later", "The\tlater"))
    sys.modules.pop("my_reward", None)
    result = run("list")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [len(row) for row in rows] == [4] * 9
    assert rows[-2][3].endswith("ValueError: two lines")
    assert rows[-1][3] == "The later half of the catalogue is fresh."
    assert "loud" in result.stderr
    sys.modules.pop("my_reward", None)
    assert json.loads(run("check", "./my_reward.py:fresh", "--lists", "20", "--json").stdout)[
        "passed"
    ]


def test_a_reward_that_is_in_order(folder):
    result = run("check", "fresh=0.3", "--lists", "50")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "reward fresh, needs nothing, on 50 lists of 10 items from demo"
    assert [line.split()[0] for line in lines[1:11]] == ["ok"] * 10
    assert lines[-1].startswith("1,000 lists take ")
    assert result.stderr == ""


def test_what_is_wrong_is_shown_on_its_list(folder):
    result = run("check", "./my_reward.py:best", "--lists", "50", "--set", "k=4")
    assert result.exit_code == 1
    at = next(i for i, line in enumerate(result.stdout.splitlines()) if "WRONG" in line)
    wrong, *items = result.stdout.splitlines()[at : at + 5]
    assert wrong.split()[:2] == ["WRONG", "causal"]
    assert [line.split(". item ")[0].strip() for line in items] == ["1", "2", "3", "4"]
    assert all(" item-" in line and line.endswith(")") for line in items)  # raw id, title, genres
    assert result.stderr == "error: reward 'best' does not keep its contract: causal\n"


def test_the_check_for_machines(folder):
    result = run("check", "./my_reward.py:best", "--lists", "50", "--json")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["name"], content["passed"], content["lists"], content["k"]) == (
        "best",
        False,
        50,
        10,
    )
    (wrong,) = [check for check in content["checks"] if check["passed"] is False]
    assert len(wrong["list"]) == 10
    assert set(wrong["list"][0]) == {"item", "id", "title"}
    assert content["milliseconds_per_1000_lists"] > 0


def test_probabilities_are_given_where_they_are_declared(folder):
    assert run("check", "relevance", "--lists", "20").exit_code == 0
    result = run("check", "./my_reward.py:lucky", "--lists", "20")
    assert result.exit_code == 1
    assert "declare needs={'probabilities'}" in result.stdout


def test_on_a_log_of_ones_own(folder):
    rows = [f"v{user},s{(user + step) % 30},{step}" for user in range(40) for step in range(6)]
    Path("log.csv").write_text("\n".join(["visitor,sku,ts", *rows]) + "\n")
    columns = ("--set", "read.user=visitor", "--set", "read.item=sku", "--set", "read.time=ts")
    result = run("check", "diversity", "-d", "log.csv", "--lists", "20", *columns)
    assert result.exit_code == 0, result.output


def test_a_target_that_is_not_there(folder):
    result = run("check", "diversty")
    assert result.exit_code == 1
    assert "Did you mean 'diversity'?" in result.stderr


HANGS = """
import json


def hang(slates, context):
    while True:
        json.dumps([1] * 1000)
"""
NATIVE = """
import re


def hang(slates, context):
    re.match("(a+)+$", "a" * 40 + "b")
"""


@pytest.mark.parametrize(
    ("source", "name", "lines"),
    [(HANGS, "'hang'", "[67]"), ("while True:\n    pass\n", r"'\./genrec/mine\.py:hang'", "[12]")],
    ids=["reward", "file"],
)
def test_a_reward_that_does_not_return_is_named_with_its_line(
    process, tmp_path, source, name, lines
):
    """The line is that of the user's file, not of a library that it calls."""
    folder = tmp_path / "genrec"  # a folder of this name is not the package
    folder.mkdir()
    (folder / "mine.py").write_text(source)
    found = process(tmp_path, "rewards", "check", "./genrec/mine.py:hang", "--time-limit", "1")
    assert found.returncode == 1
    expected = rf"error: reward {name} did not return within 1 s: line {lines} of .*mine\.py\n"
    assert re.fullmatch(expected, found.stderr)
    assert found.stdout == ""


@pytest.mark.slow
def test_native_code_that_does_not_return_is_ended_too(process, tmp_path):
    """It keeps the interpreter, so that nothing but its traceback can be printed."""
    (tmp_path / "mine.py").write_text(NATIVE)
    found = process(tmp_path, "rewards", "check", "./mine.py:hang", "--time-limit", "1")
    assert found.returncode == 1
    assert re.search(r'File ".*mine\.py", line 6 in hang', found.stderr)


def test_a_reward_that_cannot_know_the_items_is_wrong(process, tmp_path):
    """Its prices are those of another catalogue, so that every item is middling."""
    (tmp_path / "cheap.py").write_text(CHEAP)
    (tmp_path / "prices.csv").write_text("item,price\n1,10\n2,99\n")
    found = process(tmp_path, "rewards", "check", "./cheap.py:cheap")
    assert found.returncode == 1
    assert re.search(r"WRONG varies +all 1000 lists earn 0\.5: nothing can be learnt", found.stdout)
    assert found.stderr.splitlines()[-1].endswith("does not keep its contract: varies")
