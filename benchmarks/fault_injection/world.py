"""A small log, and finished runs on it, that every try starts from a copy of."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fault_injection.commands import run

TIMES = ("seconds", "trl/step_time")  # metrics that no two runs share
SETTINGS = """
dataset: log.csv
k: 3
device: cpu
teacher: {epochs: 12, hidden_size: 8, backbone: {blocks: 1}, max_length: 8, evaluate_every: 2}
student:
  {hidden_size: 8, blocks: 1, heads: 1, max_length: 8, demonstrations: 200, pool: 12, epochs: 2,
   lists_per_step: 8}
align: {warmup_lists: 60, updates: 4, histories: 4, group_size: 2, evaluate_every: 2}
compare: {weights: 2, policy_weights: 2, candidates: 20, resamples: 50}
"""
PARTS = ("--teacher", "teacher", "--student", "student")
REWARD = ("-r", "diversity=0.3")
MARKOV = ("-d", "log.csv", "--recipe", "markov", "--set", "k=3", "--set", "device=cpu")
MADE = {
    "teacher": ("train-teacher", "-c", "tiny.yaml", "--recipe", "gsasrec", "-o", "teacher"),
    "markov": ("train-teacher", *MARKOV, "-o", "markov"),
    "student": ("pretrain", "--teacher", "teacher", "-o", "student"),
    "aligned": ("align", *REWARD, *PARTS, "-o", "aligned"),
    "range": ("align", "-r", "diversity=0:1", *PARTS, "-o", "range"),
}


def write_log(folder: Path) -> None:
    """60 users who mostly go through 40 items in order, with times, genres and settings."""
    generator = np.random.default_rng(0)
    rows = ["user,item,time"]
    for user in range(60):
        steps = generator.choice([1, 1, 1, 2, 5], generator.integers(8, 14))
        items = (generator.integers(40) + np.cumsum(steps)) % 40
        for time, item in enumerate(dict.fromkeys(items.tolist())):
            rows.append(f"u{user:02},i{item:02},{1_600_000_000 + 1000 * time + user}")
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    genres = ["item,title,genres"]
    for item in range(40):
        genres.append(f"i{item:02},Title {item:02},{('Action', 'Drama', 'Comedy')[item % 3]}")
    (folder / "log.items.csv").write_text("\n".join(genres) + "\n")
    (folder / "tiny.yaml").write_text(SETTINGS)


def build(folder: Path) -> Path:
    """The world: the log and one run of every kind."""
    (folder / "converted").mkdir(parents=True)
    write_log(folder)
    for name, arguments in MADE.items():
        made = run(arguments, folder)
        if made.status:
            raise RuntimeError(f"{name} could not be made: {made.messages}")
    return folder


def copy_of(world: Path, target: Path) -> Path:
    """A copy of the world; what was there is removed."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(world, target))


def state_of(place: Path) -> dict[str, Any]:
    """What a command left, without times: equal states are equal results.

    Args:
        place: a run directory, or a file.
    """
    if place.is_file():
        return {place.name: _digest(place)}
    found: dict[str, Any] = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_dir() or "tensorboard" in name.parts or path.name == ".lock":
            continue
        found[str(name)] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.name == "metrics.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: line[key] for key in line if key not in TIMES} for line in lines]
    if path.name == "run.json":
        content = json.loads(path.read_text())
        # The hash of metrics.jsonl depends on the seconds in it.
        content["files"].pop("metrics.jsonl", None)
        content["settings"]["dataset"] = Path(content["settings"]["dataset"]).name
        content.pop("checksum")
        return content
    return _digest(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _first_line(expected: Any, found: Any) -> str:
    """The first line of two logs of metrics in which they differ."""
    if not isinstance(expected, list) or not isinstance(found, list):
        return ""
    for number, (one, other) in enumerate(zip(expected, found, strict=False), start=1):
        if one != other:
            keys = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
            return f", line {number}: {[(key, one.get(key), other.get(key)) for key in keys][:3]}"
    return f", {len(expected)} and {len(found)} lines"


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """The first file in which two states differ; empty where they are equal."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            what = "missing" if name not in found else "added" if name not in expected else "other"
            return f"{what} {name}{_first_line(expected.get(name), found.get(name))}"
    return ""
