"""Mistakes of the user: one line that names the value, the place and what to do."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from genrec.cli.errors import reports_errors
from genrec.config.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "recommend aligned",
            "give either --history, for one list, or --dataset, for a list for every user of a log",
        ),
        (
            "recommend aligned --history i01 -d log.csv",
            "give either --history, for one list, or --dataset",
        ),
        (
            "recommend aligned -d log.csv -s k=3",
            "--set k=3: only how --dataset is read can be changed here, read.user=",
        ),
        (
            "recommend aligned --history i01 -s read.user=user",
            "--set read.user=user: only how --dataset is read",
        ),
        ("recommend aligned -d absent.csv", "there is no file, folder or dataset 'absent.csv'"),
        (
            "recommend aligned -d log.csv -s read.user=who",
            "no column 'who'; the columns are user, item, time",
        ),
        (
            "recommend aligned --history i01,nope,i02,none",
            r"unknown item id\(s\) nope, none; .* ids such as i\d\d",
        ),
        (
            "recommend nowhere --history i01",
            "nowhere/run.json does not exist: is nowhere a genrec run directory",
        ),
        ("recommend aligned --history i01 -k 39", "this policy writes lists of at most 20 items"),
        (
            "align -r diversty --teacher teacher --student student -o new",
            "unknown reward 'diversty'. Did you mean",
        ),
        ("align -r diversity=lots -o new", "weight 'lots' of reward 'diversity' is not a number"),
        ("align -r ./absent.py:fresh -o new", "reward file absent.py does not exist"),
        (
            "align -r novelty --teacher teacher --student student -o aligned",
            "differs in rewards: choose another directory",
        ),
        (
            "align -r diversity=0.3 --student student -o aligned -s align.clip=0.1",
            "differs in align",
        ),
        (
            "align -r diversity -o new --teacher student",
            "student is a student run; a teacher run is needed",
        ),
        ("align -o new --student student -s align.accuracy=none", "no reward is left: name one"),
        (
            "train-teacher -c tiny.yaml -s teacher.epoch=2 -o new",
            "unknown setting teacher.epoch of sasrec_softmax; did you mean epochs",
        ),
        (
            "train-teacher -c tiny.yaml --recipe sasrek -o new",
            "setting teacher.recipe is 'sasrek'",
        ),
        ("train-teacher -d absent.csv -o new", "there is no file, folder or dataset 'absent.csv'"),
        (
            "train-teacher -c absent.yaml -o new",
            "no configuration absent.yaml; give a path or one of the shipped",
        ),
        (
            "train-teacher -c tiny.yaml -o teacher -s teacher.epochs=3",
            "teacher holds a finished run that differs in",
        ),
        (
            "train-teacher -c tiny.yaml -o new --device tpu",
            "device 'tpu' is not available here; choose auto or one of",
        ),
        (
            "train-teacher -c tiny.yaml -o new -s teacher.learning_rate=1"
            " -s teacher.weight_decay=10 -s teacher.tokens_per_step=100",
            "the loss is .* lower the learning rate",
        ),
        ("pretrain --teacher nowhere -o new", "nowhere/run.json does not exist"),
        (
            "pretrain --teacher teacher -d demo -o new",
            r"teacher was made on .*log.csv \(fingerprint .* but demo has",
        ),
        (
            "align -r diversity --student student -o new -s hold_back=1",
            "teacher was made with hold_back=0, not 1: it may",
        ),
        (
            "pretrain --teacher teacher -o new -s hold_back=-1",
            "setting hold_back is -1: input should be greater than or equal",
        ),
        (
            "train-teacher -c tiny.yaml -o teacher -s hold_back=1",
            "differs in train_fingerprint, hold_back: choose another",
        ),
        ("compare student", "student is a student run; a run of `genrec align` is needed here"),
        ("compare aligned -d demo", "made on .*log.csv .*: give the dataset it was made on"),
        ("compare aligned -s k=5", "only compare.* can be changed here"),
    ],
)
def test_mistakes_are_one_line(runs, arguments, message, mistake):
    assert re.search(message, mistake(*arguments.split()))


def test_another_log_is_refused(runs, tmp_path, mistake, write_log):
    write_log(tmp_path, seed=1)
    text = mistake(
        "align",
        "-r",
        "diversity",
        "-d",
        str(tmp_path / "log.csv"),
        "--student",
        "student",
        "-o",
        "new",
    )
    assert re.search(
        r"teacher was made on .*log.csv \(fingerprint [0-9a-f]{16}\), but .*: give the dataset",
        text,
    )


def invoke(error: Exception, *arguments: str) -> Result:
    """A command that raises an error where --count is 4."""
    single = typer.Typer()

    @single.command()
    @reports_errors
    def command(count: int = 3) -> None:
        """Fail."""
        if count == 4:
            raise error

    return CliRunner().invoke(single, list(arguments))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("bad 3"), "error: bad 3\n"),
        (FileNotFoundError(2, "no file", "f"), "error: [Errno 2] no file: 'f'\n"),
    ],
)
def test_an_error_of_the_user_is_one_line(error, text):
    assert invoke(error, "--count", "3").exit_code == 0
    result = invoke(error, "--count", "4")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)
    assert invoke(error, "--count", "x").exit_code == 2  # the signature is kept


@pytest.mark.parametrize("bug", [TypeError("a bug"), ValueError("a bug")])
def test_a_bug_shows_its_traceback_and_where_to_report_it(bug):
    result = invoke(bug, "--count", "4")
    assert result.exit_code == 70
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert f"{type(bug).__name__}: a bug\nThis is a bug: " in result.stderr


@pytest.mark.parametrize(
    ("option", "variable", "shown"),
    [([], "", False), (["--debug"], "", True), ([], "1", True)],
)
def test_debug_shows_the_traceback_of_a_users_error(
    command, tmp_path: Path, option: list[str], variable: str, shown: bool
):
    asked = [*command, *option, "train-teacher", "-s", "teacher.epoch=2", "-o", "new"]
    environment = {**os.environ, "GENREC_DEBUG": variable}
    result = subprocess.run(
        asked, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1
    assert ("Traceback" in result.stderr) == shown
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: unknown setting teacher.epoch of sasrec_softmax; did you mean")
