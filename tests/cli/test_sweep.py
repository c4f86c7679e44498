"""``genrec sweep`` on a log of 120 users: what it runs, what it leaves alone, what it compares."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genrec.cli import app
from genrec.evaluation.sweep import Sweep, plan_sweep
from genrec.pipeline.settings import Settings

TINY = """
dataset: log.csv
k: 5
teacher: {recipe: markov}
student:
  {hidden_size: 16, blocks: 1, heads: 2, max_length: 10, demonstrations: 100, pool: 15, epochs: 1}
align:
  {warmup_lists: 0, updates: 1, histories: 4, group_size: 2, evaluate_every: 1, learning_rate: 0.02}
compare: {weights: 2, policy_weights: 2, candidates: 20, resamples: 20}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """120 users who mostly go through 40 items in order; two weights and one seed were swept."""
    root = tmp_path_factory.mktemp("sweep")
    rng = np.random.default_rng(0)
    rows = ["user,item,time"]
    for user in range(120):
        items = (
            rng.integers(40) + np.cumsum(rng.choice([1, 1, 1, 2, 5], rng.integers(5, 10)))
        ) % 40
        rows += [
            f"u{user:03},i{item:02},{1000 * t + user}"
            for t, item in enumerate(dict.fromkeys(items.tolist()))
        ]
    (root / "log.csv").write_text("\n".join(rows) + "\n")
    genres = [f"i{i:02},Title {i:02},{('Action', 'Drama', 'Comedy')[i % 3]}" for i in range(40)]
    (root / "log.items.csv").write_text("\n".join(["item,title,genres", *genres]) + "\n")
    (root / "tiny.yaml").write_text(TINY)
    with contextlib.chdir(root):
        first = [
            *SWEEP,
            "--weights",
            "0,0.3",
            "--seeds",
            "0",
            "--config",
            "tiny.yaml",
            "--json",
            "--quiet",
        ]
        found = CliRunner().invoke(app, first)
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert content["runs"] == ["weight-0/seed-0", "weight-0.3/seed-0"]
    assert [row["weight"] for row in content["rows"] if row["method"] == "aligned"] == [0, 0.3]
    return root


SWEEP = ("sweep", "--reward", "diversity", "--out", "runs")


def written(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


def test_it_goes_on_and_leaves_alone_what_is_finished(folder, monkeypatch):
    """A seed more: only its two alignments run, each in a process of its own, on the same teacher
    and student."""
    monkeypatch.chdir(folder)
    before = written(folder / "runs")
    assert len(before) == 3  # the student and two policies
    more = [*SWEEP, "--weights", "0,0.3", "--seeds", "0,1", "--config", "tiny.yaml", "--jobs", "2"]
    found = CliRunner().invoke(app, more)
    assert found.exit_code == 0, found.output
    assert "4 of 4 alignments are finished" in found.stderr
    after = written(folder / "runs")
    assert len(after) == 5
    assert {path: after[path] for path in before} == before
    content = json.loads((folder / "runs" / "comparison.json").read_text())
    assert [row["weight"] for row in content["rows"] if row["method"] == "aligned"] == [0, 0.3]
    seeds = [(row["weight"], row["seed"]) for row in content["seeds"]]
    assert seeds == [(weight, seed) for weight in (0, 0.3) for seed in (0, 1)]
    for name in ("comparison.png", "comparison.md"):
        assert (folder / "runs" / name).is_file()
    again = CliRunner().invoke(app, [*more[:-2], "--quiet"])  # once more, and nothing is trained
    assert again.exit_code == 0, again.output
    assert written(folder / "runs") == after
    assert "area under the mixing hull" in again.output


def test_an_interrupted_sweep_goes_on(folder, monkeypatch):
    """The last alignment is lost: it alone is made again, with the same weights."""
    monkeypatch.chdir(folder)
    lost = folder / "runs" / "weight-0" / "seed-0"
    kept = (lost / "model.safetensors").read_bytes()
    (lost / "run.json").unlink()
    before = written(folder / "runs")
    found = CliRunner().invoke(
        app,
        [
            *SWEEP,
            "--weights",
            "0,0.3",
            "--seeds",
            "0",
            "--config",
            "tiny.yaml",
            "--quiet",
            "--users",
            "20",
        ],
    )
    assert found.exit_code == 0, found.output
    changed = {path for path, time in written(folder / "runs").items() if before[path] != time}
    assert changed == {str(lost / "model.safetensors")}
    assert (lost / "model.safetensors").read_bytes() == kept


def test_ranges_and_recommending_for_a_weight(folder, monkeypatch):
    monkeypatch.chdir(folder)
    where = ("--teacher", "runs/teacher", "--student", "runs/student", "--out", "ranges")
    found = CliRunner().invoke(app, ["sweep", "-r", "diversity=0:2", *where, "--quiet", "--json"])
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert content["runs"] == ["run/seed-0"]
    assert [row["weight"] for row in content["rows"] if row["method"] == "aligned"] == [0, 2]
    asked = ["recommend", "ranges/run/seed-0", "--history", "i01,i02"]
    for weight, code in (
        ("diversity=0.7", 0),
        ("diversity=3", 1),
        ("novelty=1", 1),
        ("diversity=0:1", 1),
    ):
        told = CliRunner().invoke(app, [*asked, "--weight", weight])
        assert told.exit_code == code, told.output
    assert (
        "outside the trained range, 0 to 2"
        in CliRunner().invoke(app, [*asked, "--weight", "diversity=3"]).stderr
    )
    assert len(CliRunner().invoke(app, asked).stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-r", "diversity=1", "--weights", "0,1"],
            "there are 0 in diversity=1: give the others a weight",
        ),
        (
            ["-r", "diversity", "-r", "novelty", "--weights", "0,1"],
            "there are 2 in diversity, novelty",
        ),
        (
            ["-r", "diversity", "--weights", "0,high"],
            "weight 'high' of reward 'diversity' is not a number",
        ),
        (["-r", "diversity", "--weights", "0.1,0.10"], "name one twice"),
        (["-r", "diversity", "--seeds", "0,0"], "name one twice"),
        (
            ["-r", "diversity", "--seeds", "a"],
            "--seeds 'a' are no integers; write for instance --seeds 0,1,2",
        ),
        (["-r", "diversty"], "Did you mean 'diversity'?"),
    ],
)
def test_what_does_not_fit_is_reported_before_anything_is_trained(
    folder, monkeypatch, arguments, message
):
    monkeypatch.chdir(folder)
    found = CliRunner().invoke(
        app, ["sweep", *arguments, "--config", "tiny.yaml", "--out", "bad", "--quiet"]
    )
    assert found.exit_code == 1
    assert message in found.stderr
    assert not (folder / "bad").exists()


def test_members():
    chosen = Sweep(("diversity", "novelty=0.1"), ("0", "0:2"), (3, 4))
    members = plan_sweep(Settings(), chosen, Path("out"))
    assert [(each.objective.specs[1], each.seed, str(each.directory)) for each in members] == [
        ("diversity=0", 3, "out/weight-0/seed-3"),
        ("diversity=0:2", 3, "out/weight-0-to-2/seed-3"),
        ("diversity=0", 4, "out/weight-0/seed-4"),
        ("diversity=0:2", 4, "out/weight-0-to-2/seed-4"),
    ]
    assert members[0].objective.specs == ["relevance=1", "diversity=0", "novelty=0.1"]
