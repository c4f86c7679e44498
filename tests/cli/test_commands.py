"""The commands on a log of 120 users: the whole chain as processes, the rest in this one."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

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


def test_every_stage_succeeds(chain):
    for name, result in chain.items():
        assert result.returncode == 0, (name, result.stderr)
        assert "Traceback" not in result.stderr
    assert chain["teacher"].stdout.startswith("teacher in teacher: validation ndcg@10 0.")
    assert chain["student"].stdout.startswith("student in student: validation loss ")
    assert "log.items.csv" in chain["teacher"].stderr
    assert "student: GPTRec learns the lists of teacher, in student" in chain["student"].stderr


def test_json_alone_is_on_stdout(chain):
    aligned = json.loads(chain["aligned"].stdout)
    assert (aligned["run"], aligned["kind"]) == ("aligned", "aligned")
    assert aligned["rewards"] == ["relevance=1", "diversity=0.3"]
    assert len(json.loads(chain["compare"].stdout)["rows"]) == 3 + 17 * 2 + 2 * 3 + 3


def test_run_directories(runs):
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


def test_the_table(runs, run):
    result = run("compare", "aligned", "--users", "20")
    assert result.exit_code == 0
    assert {"popularity", "teacher", "aligned", "greedy"} <= {
        line.split()[0] for line in result.stdout.splitlines() if line.split()
    }
    assert len(result.stdout.splitlines()) < 65
    assert "picture: aligned/comparison.png" in result.stderr
    assert "all tables: aligned/comparison.md" in result.stderr
    assert run("compare", "aligned", "--quiet").stderr == ""


def test_recommend(runs, run):
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


def test_recommend_for_every_user_of_a_log(runs, run):
    """Filters of the run do not apply; unknown items are reported once."""
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
        "2 event(s) with items that the run does not know are left out, and 1 user(s)"
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


def test_a_finished_run_is_not_repeated(runs, run):
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


def test_a_reward_in_a_file(runs, tmp_path, run):
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


def test_less_popular_lists(runs, run):
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


def test_ctrl_c_saves_and_tells_how_to_resume(folder, command):
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
    child = subprocess.Popen([*command, *arguments], cwd=folder, stdout=-1, stderr=-1, text=True)
    metrics, deadline = folder / "long" / "metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n") > 2):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=300)
    assert child.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    said = stderr.splitlines()
    assert re.fullmatch(r"stopped before update \d+; the same command resumes from there", said[-1])
    order = [
        next(i for i, line in enumerate(said) if line.startswith(start))
        for start in ("teacher: ", "student: ", "aligned: ")
    ]
    assert order == sorted(order)
    assert (folder / "long" / "checkpoint.safetensors").exists()
    assert not (folder / "long" / "run.json").exists()
    assert (folder / "long" / "student" / "run.json").exists()
