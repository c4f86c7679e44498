"""The commands on a log of 120 users: the whole chain as processes, the rest in this one."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genrec.cli import app

COMMAND = [sys.executable, "-c", "from genrec.cli import app; app(prog_name='genrec')"]
TINY = """
dataset: log.csv
teacher: {epochs: 2, hidden_size: 8, blocks: 1, max_length: 10}
student: {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 100, pool: 15, epochs: 1}
align: {warmup_lists: 60, updates: 2, histories: 4, group_size: 2, evaluate_every: 1}
compare: {weights: 2}
"""
COLUMNS = {
    *(
        "ndcg@10",
        "recall@1",
        "recall@10",
        "diversity@10",
        "novelty@10",
        "popularity@10",
    ),
    *("coverage@10", "objective"),
}
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


def write_log(folder: Path, seed: int) -> None:
    """120 users who mostly go through 40 items in order, and the items' genres."""
    rng = np.random.default_rng(seed)
    rows = ["user,item,time"]
    for user in range(120):
        items = (
            rng.integers(40) + np.cumsum(rng.choice([1, 1, 1, 2, 5], rng.integers(5, 10)))
        ) % 40
        rows += [
            f"u{user:03},i{item:02},{1000 * t + user}"
            for t, item in enumerate(dict.fromkeys(items.tolist()))
        ]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    genres = [
        f"i{i:02},Title {i:02},{('Action', 'Drama', 'Comedy')[i % 3]}{'|Old' * (i > 20)}"
        for i in range(40)
    ]
    (folder / "log.items.csv").write_text("\n".join(["item,title,genres", *genres]) + "\n")
    (folder / "tiny.yaml").write_text(TINY)


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_log(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def chain(folder) -> dict[str, subprocess.CompletedProcess[str]]:
    """The four stages, each a process."""
    reward = ("-r", "diversity=0.3")
    return {
        "teacher": process(folder, "train-teacher", "-c", "tiny.yaml", "-o", "teacher"),
        "student": process(
            folder, "pretrain", "--teacher", "teacher", "-o", "student", "--set", "student.epochs=2"
        ),
        "aligned": process(
            *(
                folder,
                "align",
                *reward,
                "--teacher",
                "teacher",
                "--student",
                "student",
                "-o",
                "aligned",
                "--json",
            )
        ),
        "compare": process(folder, "compare", "aligned", "--json"),
    }


@pytest.fixture
def runs(chain, folder, monkeypatch) -> Path:
    """The folder of the finished chain, as the working directory."""
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def mistake(*arguments: str) -> str:
    """The one line on stderr of a command that must fail with exit status 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # anything else would be a traceback
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.stderr.splitlines()[-1] == errors[0]
    return errors[0]


def test_every_stage_succeeds(chain):
    for name, result in chain.items():
        assert result.returncode == 0, (name, result.stderr)
        assert "Traceback" not in result.stderr
    assert chain["teacher"].stdout.startswith("teacher in teacher: validation ndcg@10 0.")
    assert chain["student"].stdout.startswith("student in student: validation check loss ")
    assert "log.items.csv" in chain["teacher"].stderr
    assert "student: GPTRec learns the lists of teacher, in student" in chain["student"].stderr


def test_json_alone_is_on_stdout(chain):
    aligned = json.loads(chain["aligned"].stdout)
    assert (aligned["run"], aligned["kind"]) == ("aligned", "aligned")
    assert aligned["rewards"] == ["relevance=1", "diversity=0.3"]
    assert len(json.loads(chain["compare"].stdout)["rows"]) == 3 + 8 * 2 + 2 * 3 + 3


def test_run_folders(runs):
    for kind, weights in (("teacher", "scorer"), ("student", "model"), ("aligned", "model")):
        content = json.loads((runs / kind / "run.json").read_text())
        assert content["kind"] == kind
        assert Path(content["settings"]["dataset"]).is_absolute()
        assert re.fullmatch(r"[0-9a-f]{16}", content["fingerprint"])
        assert "torch" in content["versions"]
        assert (runs / kind / f"{weights}.safetensors").exists()
        assert [
            json.loads(line)["stage"]
            for line in (runs / kind / "metrics.jsonl").read_text().splitlines()
        ]
    # the student's settings come from its teacher's run, and --set changes them
    settings = json.loads((runs / "student" / "run.json").read_text())["settings"]
    assert (settings["student"]["epochs"], settings["student"]["hidden_size"]) == (2, 16)
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pt", ".pth", ".pkl", ".bin", ".part")]
    assert not [path for path in files if path.name.startswith("checkpoint")]


def test_comparison_files(runs):
    content = json.loads((runs / "aligned" / "comparison.json").read_text())
    assert all(set(row["metrics"]) >= COLUMNS for row in content["rows"])
    assert {row["method"] for row in content["rows"]} >= {
        "popularity",
        "markov",
        "teacher",
        "mmr",
        "sog",
        "greedy",
    }
    assert content["cases"] == 120
    assert (runs / "aligned" / "comparison.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "## Side effects" in (runs / "aligned" / "comparison.md").read_text()


def test_the_table(runs):
    result = run("compare", "aligned", "--users", "20")
    assert result.exit_code == 0
    assert {"popularity", "teacher", "aligned", "greedy"} <= {
        line.split()[0] for line in result.stdout.splitlines() if line.split()
    }
    assert len(result.stdout.splitlines()) < 50
    assert "picture: aligned/comparison.png" in result.stderr
    assert "all tables: aligned/comparison.md" in result.stderr
    assert run("compare", "aligned", "--quiet").stderr == ""


def test_recommend(runs):
    result = run("recommend", "aligned", "--history", "i01,i02", "-k", "3")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [rank for rank, _, _ in lines] == ["1", "2", "3"]
    assert all(title == f"Title {raw[1:]}" and raw not in ("i01", "i02") for _, raw, title in lines)
    for folder in ("teacher", "student", "aligned"):
        rows = json.loads(
            run("recommend", folder, "--history", "i01, i02", "-k", "3", "--json").stdout
        )
        assert [row["rank"] for row in rows] == [1, 2, 3]
    assert [[str(row["rank"]), row["id"], row["title"]] for row in rows] == lines


def test_recommend_for_every_user_of_a_log(runs):
    """Filters of the run do not apply; the items that it does not know are said once."""
    (runs / "today.csv").write_text(
        "user,item,time\nann,i01,1\nann,i02,2\nbob,i07,5\nbob,zz,6\ncyd,zz,1\n"
    )
    result = run("recommend", "aligned", "--dataset", "today.csv", "-k", "3")
    assert result.exit_code == 0, result.stderr
    names, *lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert names == ["user", "rank", "item", "title"]
    assert [line[:2] for line in lines] == [
        [user, rank] for user in ("ann", "bob") for rank in "123"
    ]
    assert "\n".join("\t".join(line[1:]) for line in lines[:3]) == (
        run("recommend", "aligned", "--history", "i01,i02", "-k", "3").stdout.strip()
    )
    assert (
        "2 event(s) of items that the run does not know are left out, and 1 user(s)"
        in result.stderr
    )
    asked = ("recommend", "aligned", "-d", "today.csv", "-k", "3")
    rows = [json.loads(line) for line in run(*asked, "--json").stdout.splitlines()]
    assert [row["user"] for row in rows] == ["ann", "bob"]
    assert [[str(item["rank"]), item["id"], item["title"]] for item in rows[1]["items"]] == [
        line[1:] for line in lines[3:]
    ]
    renamed = (runs / "today.csv").read_text().replace("user,", "visitor_code,")
    (runs / "today.csv").write_text(renamed)
    assert run(*asked, "--set", "read.user=visitor_code").stdout == result.stdout


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
            "differs in rewards: choose another folder",
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
            "unknown setting teacher.epoch; did you mean epochs",
        ),
        (
            "train-teacher -c tiny.yaml --recipe sasrek -o new",
            "unknown recipe 'sasrek'; choose one of",
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
            "train-teacher -c tiny.yaml -o new -s teacher.learning_rate=1e30",
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
            "hold_back is -1: input should be greater than or equal",
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
def test_mistakes_are_one_line(runs, arguments, message):
    assert re.search(message, mistake(*arguments.split()))


def test_another_log_is_refused(runs, tmp_path):
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


def test_the_same_again_does_nothing_and_says_so(runs):
    before = (runs / "aligned" / "model.safetensors").stat().st_mtime_ns
    result = run(
        "align",
        "-r",
        "diversity=0.3",
        "--teacher",
        "teacher",
        "--student",
        "student",
        "-o",
        "aligned",
    )
    assert result.exit_code == 0
    assert "aligned: aligned is finished, nothing to do" in result.stderr
    assert (runs / "aligned" / "model.safetensors").stat().st_mtime_ns == before


def test_a_reward_in_a_file(runs, tmp_path):
    (runs / "my_reward.py").write_text(
        "from genrec.rewards import reward\n\n\n"
        "@reward\n"
        "def fresh(slates, context):\n"
        '    """Items of an odd number."""\n'
        "    return (slates % 2) / context.k\n"
    )
    result = run(
        "align",
        "-r",
        "./my_reward.py:fresh=0.3",
        "--student",
        "student",
        "-o",
        "fresh",
        "-q",
        "--json",
    )
    assert result.exit_code == 0, result.output
    assert "fresh@10" in json.loads(result.stdout)["val"]
    result = run("compare", "fresh", "--json", "-q")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["weights"] == {"relevance": 1, "fresh": 0.3}
    for row in (each["metrics"] for each in content["rows"]):
        assert 0 <= row["fresh@10"] <= 1
        assert row["objective"] == pytest.approx(row["ndcg@10"] + 0.3 * row["fresh@10"])
    greedy = {
        row["weight"]: row["metrics"]["fresh@10"]
        for row in content["rows"]
        if row["method"] == "greedy"
    }
    assert greedy[1.0] > greedy[0.0] + 0.2


def test_less_popular_lists(runs):
    """The reward is negative, the column stays the mean share of the list's items."""
    assert (
        run("align", "-r", "popularity=0.2", "--student", "student", "-o", "rare", "-q").exit_code
        == 0
    )
    content = json.loads(run("compare", "rare", "--json", "-q").stdout)
    assert content["reward"] == "popularity"
    assert "popularity-sort" in {row["method"] for row in content["rows"]}
    rows = [row["metrics"] for row in content["rows"]]
    by_popularity = rows[0]
    for row in rows:
        assert 0 < row["popularity@10"] <= by_popularity["popularity@10"]
        assert row["objective"] < row["ndcg@10"]
    # objective = ndcg - 0.2 * popularity / constant, the same constant for every row
    scales = [(row["ndcg@10"] - row["objective"]) / row["popularity@10"] for row in rows]
    assert scales == pytest.approx([scales[0]] * len(scales))


def test_evaluate_measures_runs_of_all_kinds_and_draws_teachers(runs):
    result = run(
        "evaluate",
        "teacher",
        "student",
        "aligned",
        "--calibration",
        "reliability.png",
        "--json",
        "-q",
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [row["name"] for row in found["runs"]] == ["sasrec_softmax", "student", "aligned"]
    assert all(
        0 <= row["metrics"]["recall@1"] <= row["metrics"]["recall@10"] <= 1 and row["minutes"] > 0
        for row in found["runs"]
    )
    assert found["cases"] == 120
    assert [row["link"] for row in found["calibration"]] == ["own", "calibrated"]
    assert all(
        row["sum_of_probabilities"] == pytest.approx(1, abs=1e-4) for row in found["calibration"]
    )
    assert Path("reliability.png").read_bytes().startswith(b"\x89PNG")
    compared = json.loads(run("compare", "aligned", "--json", "-q").stdout)
    aligned = next(row for row in compared["rows"] if row["method"] == "aligned")
    assert found["runs"][2]["metrics"] == pytest.approx(
        {name: aligned["metrics"][name] for name in found["runs"][2]["metrics"]}, abs=1e-6
    )


def test_evaluate_prints_a_table_and_refuses_what_is_no_run(runs):
    shown = run("evaluate", "teacher", "--users", "20", "-q")
    assert shown.exit_code == 0
    assert "20 test users" in shown.stdout
    assert "sasrec_softmax" in shown.stdout
    refused = run("evaluate", "teacher", "nothing", "-q")
    assert refused.exit_code != 0
    assert "nothing/run.json does not exist" in refused.stderr
    unheard = mistake("evaluate", "aligned", "--weight", "novelty=1", "-q")
    assert "--weight novelty: none of these runs was aligned for a range of it" in unheard
    assert "draws the probabilities of teachers" in mistake(
        "evaluate", "student", "--calibration", "none.png", "-q"
    )
    assert not Path("none.png").exists()


def test_what_negatives_make_a_teacher_promise_is_shown(runs):
    small = ["-s", "teacher.num_negatives=1", "-s", "teacher.epochs=1"]
    assert (
        run(
            "train-teacher", "-c", "tiny.yaml", "--recipe", "sasrec", *small, "-o", "sampled", "-q"
        ).exit_code
        == 0
    )
    found = json.loads(
        run("evaluate", "sampled", "--calibration", "own.png", "--json", "-q").stdout
    )
    sums = {row["link"]: row["sum_of_probabilities"] for row in found["calibration"]}
    assert sums["own"] > 10  # near 1/2 for each of more than 30 unseen items
    assert sums["calibrated"] == pytest.approx(1, abs=1e-4)


def test_evaluate_tells_runs_of_the_same_name_apart(runs):
    shutil.copytree("teacher", "copies/teacher", dirs_exist_ok=True)
    shown = run(
        "evaluate", "teacher", "copies/teacher", "--users", "20", "-q", "--calibration", "two.png"
    ).stdout
    assert re.search(r"^ copies/teacher +sasrec_softmax", shown, re.MULTILINE)
    assert "copies/teacher minus teacher: +.0000" in shown
    assert "\ncopies/teacher, calibrated probabilities: their sum is 1;" in shown
    assert "seeds 0" not in shown


def test_ctrl_c_saves_and_says_how_to_go_on(folder):
    """Neither teacher nor student is given: both are made first, inside the run, and the run says
    so."""
    arguments = [
        "align",
        "-r",
        "diversity",
        "-c",
        "tiny.yaml",
        "-s",
        "align.updates=100000",
        "-o",
        "long",
    ]
    arguments += ["-s", "align.evaluate_every=100000"]
    child = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=-1, stderr=-1, text=True)
    metrics, deadline = folder / "long" / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    said = stderr.splitlines()
    assert re.fullmatch(r"stopped before update \d+; the same command goes on from there", said[-1])
    order = [
        next(i for i, line in enumerate(said) if line.startswith(start))
        for start in ("teacher: ", "student: ", "aligned: ")
    ]
    assert order == sorted(order)
    assert (folder / "long" / "checkpoint.safetensors").exists()
    assert not (folder / "long" / "run.json").exists()
    assert (folder / "long" / "student" / "run.json").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    result = process(Path(), *verb.split(), "-h")
    assert result.returncode == 0
    assert result.stderr == ""
    assert f"genrec {verb} " in result.stdout.split("Examples:")[1]


def test_help_imports_no_model_library():
    code = "import sys, genrec.cli; print({'torch', 'pandas', 'transformers', 'matplotlib'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "set()\n"
    )


def test_rewards_list():
    result = run("rewards", "list")
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names[:5] == ["ndcg", "relevance", "diversity", "novelty", "popularity"]
    rows = {row["name"]: row for row in json.loads(run("rewards", "list", "--json").stdout)}
    assert (rows["ndcg"]["needs"], rows["relevance"]["needs"]) == (["targets"], ["probabilities"])
    assert rows["diversity"]["origin"] == "built-in"
    assert rows["diversity"]["error"] is None


def test_doctor(folder, monkeypatch):
    monkeypatch.chdir(folder)
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["devices"].endswith("cpu")
    assert run("doctor").exit_code == 0
