import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from genrec.cli.data import app

COLUMNS = ("--user", "buyer", "--item", "thing")
TIME = ("--time", "day")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "buyer;thing;day\nu;b;2020-01-02\nu;a;2020-01-01\nv;;2020-01-01\nv;b;2020-01-05\n"
    )
    return path


def test_list_names_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path))
    (tmp_path / "ml-1m").mkdir()
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == [
        "demo",
        "ml-100k",
        "ml-1m",
        "ml-20m",
        "ml-latest-small",
    ]
    assert [row["where"] for row in rows[:3]] == [
        "built in",
        "to download",
        str(tmp_path / "ml-1m"),
    ]
    assert run("list").stdout.splitlines()[1].startswith("demo\tbuilt in\t2,000 users")


def test_describe_reports_statistics_and_dropped_rows(log):
    result = run("describe", log, *COLUMNS, *TIME)
    assert result.exit_code == 0
    assert "users\t2\n" in result.stdout
    assert "interactions\t3\n" in result.stdout
    assert "1 row(s) without a user or an item dropped" in result.stderr
    quiet = run("describe", log, *COLUMNS, "--quiet")
    assert quiet.stderr.startswith("warning: 2 items are few")


def test_describe_as_json(log):
    result = run("describe", log, *COLUMNS, *TIME, "--json")
    document = json.loads(result.stdout)
    assert document["name"] == "log"
    assert document["statistics"]["items"] == 2
    assert document["report"]["missing_ids"] == 1
    assert document["report"]["order"] == "time"


def test_convert(log, tmp_path):
    out = tmp_path / "out.txt"
    result = run("convert", log, out, *COLUMNS, *TIME, "--separator=;")
    assert result.stdout.split() == [str(out), str(tmp_path / "out.items.csv")]
    assert out.read_text() == "1 2\n1 1\n2 1\n"
    assert (
        tmp_path / "out.items.csv"
    ).read_text() == "item_id,raw_id,title,genres\n1,b,b,\n2,a,a,\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["describe", "no-such-thing"],
            "there is no file, folder or dataset 'no-such-thing'. Built in: demo",
        ),
        (["describe", "demo", "--min-user-events", "3"], "demo is built in and takes no options"),
        (["fetch", "ml-2m"], "no dataset 'ml-2m' is known"),
        (["fetch", "ml-1m", "--base", "ftp://x", "--cache", "{tmp}"], "must start with http"),
        (["convert", "demo", "{tmp}/x.json"], "must end in .txt"),
    ],
)
def test_errors_are_one_line_and_status_1(tmp_path, arguments, message):
    result = run(*[argument.format(tmp=tmp_path) for argument in arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("command", [[], ["list"], ["fetch"], ["describe"], ["convert"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_an_example(command, flag):
    result = run(*command, flag)
    assert result.exit_code == 0
    assert not command or f"genrec data {command[0]}" in result.stdout


def test_help_imports_neither_pandas_nor_torch():
    code = (
        "import sys; from genrec.cli import data;"
        " print(sorted({'pandas', 'torch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
