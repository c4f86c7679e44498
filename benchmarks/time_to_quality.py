"""Training time until a teacher's lists reach a given NDCG@10: genrec and RecTools.

    python -m venv peers && peers/bin/pip install "rectools[torch]"
    python benchmarks/time_to_quality.py --data ml-1m.txt --peer-python peers/bin/python >
    time_to_quality.json

Data, split and metric are the same. Both libraries train on all events but the last of each user
and are measured after every epoch on that last event: all users, seen items filtered, NDCG@10.
Nothing is tuned on the measurements. Models have the same size (width 64, 2 blocks, 1 head, 200
items, full softmax). The trainings run one after the other, each in its own process. RecTools' time
is training alone; genrec's includes the measurement after every epoch. If a training ends before it
reaches the goal, the two are compared by the time until the best NDCG@10 that both reach. A line
per method is printed on standard error, JSON on standard output.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.config.files import override
from genrec.data import Split, leave_one_out, load
from genrec.models.build import build
from genrec.models.config import NeuralConfig
from genrec.models.trainer import fit
from genrec.pipeline.teachers import prepare
from genrec.training.device import half_precision_pays

PEER = Path(__file__).parent / "peers" / "rectools_teacher.py"
CHOICES: dict[str, dict[str, Any]] = {
    "sasrec": {},  # a causal transformer on shifted items with full softmax is the default
    "sasrec_counts": {"expert": "counts"},  # against the peer's SASRec
    "bert4rec": {"backbone": {"name": "transformer", "causal": False}, "objective": "masked"},
}

Lines = list[dict[str, float]]


def make_split(path: Path) -> Split:
    """All events but each user's last one for training, the last ones for every measurement."""
    split = leave_one_out(load(path).dataset, num_validation=0)
    return replace(split, valid=split.test)


def train_genrec(options: argparse.Namespace, directory: Path) -> None:
    """Train genrec's model; the directory receives a line of metrics per epoch."""
    split = make_split(options.data)
    content = {
        **CHOICES[options.model],
        "epochs": options.epochs,
        "evaluate_every": 1,
        "patience": options.epochs,
    }
    config = NeuralConfig.model_validate(override(content, options.set, lambda keys: "name"))
    recipe = build(config, num_items=split.catalogue.num_items, seed=0)
    prepare(recipe.scorer, split, config, seed=0)
    fit(
        recipe,
        split,
        config,
        hidden_size=config.hidden_size,
        seed=0,
        directory=directory,
        quiet=True,
    )


def run_worker(options: argparse.Namespace) -> None:
    """Train genrec's model in this process and print lines in the format of the peer."""
    with tempfile.TemporaryDirectory() as directory:
        train_genrec(options, Path(directory))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        for text in (Path(directory) / "metrics.jsonl").read_text().splitlines():
            metrics = json.loads(text)
            line = {
                "epoch": metrics["step"],
                "seconds": metrics["seconds"],
                "ndcg@10": metrics["val/ndcg@10"],
                "peak_gib": peak,
            }
            print(json.dumps(line))


def run_training(command: list[str]) -> Lines:
    """The lines that a training prints, copied to standard error as they arrive."""
    lines: Lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout or ():
            if text.startswith("{"):
                lines.append(json.loads(text))
                print(text, end="", file=sys.stderr, flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def first_at(lines: Lines, goal: float) -> dict[str, float] | None:
    """The first line with at least the goal's NDCG@10."""
    return next((line for line in lines if line["ndcg@10"] >= goal), None)


def summarize(lines: Lines, goal: float) -> dict[str, Any]:
    """Seconds per epoch and to the goal (None if it was not reached), peak memory, all lines."""
    reached = first_at(lines, goal)
    return {
        "seconds_per_epoch": lines[-1]["seconds"] / lines[-1]["epoch"],
        "seconds_to_goal": reached["seconds"] if reached else None,
        "epochs_to_goal": reached["epoch"] if reached else None,
        "best_ndcg@10": max(line["ndcg@10"] for line in lines),
        "peak_gib": max(line["peak_gib"] for line in lines),
        "curve": lines,
    }


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float | None]:
    """Ratios of RecTools' values to genrec's."""
    ratios = {}
    for key in ("seconds_per_epoch", "seconds_to_goal", "peak_gib"):
        ratios[f"ratio_{key}"] = theirs[key] / ours[key] if ours[key] and theirs[key] else None
    both = min(ours["best_ndcg@10"], theirs["best_ndcg@10"])
    slow, fast = first_at(theirs["curve"], both), first_at(ours["curve"], both)
    assert slow is not None
    assert fast is not None
    ratios["reached_by_both"] = both
    ratios["ratio_seconds_to_reached_by_both"] = slow["seconds"] / fast["seconds"]
    return ratios


def peer_command(options: argparse.Namespace, log: Path) -> list[str]:
    """The command that trains RecTools' model, after writing the data for it."""
    split = make_split(options.data)
    np.savez(log, users=split.train.rows(), items=split.train.items, targets=split.test.targets)
    arguments = {
        "--log": log,
        "--model": options.model.removesuffix("_counts"),
        "--epochs": options.peer_epochs,
        "--goal": options.goal,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    return [options.peer_python, str(PEER), *words]


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="SASRec's ml-1m.txt, or any log")
    parser.add_argument(
        "--peer-python",
        help="Python of an environment with rectools[torch]; without it only genrec runs",
    )
    parser.add_argument("--model", choices=CHOICES, default="sasrec")
    parser.add_argument("--goal", type=float, default=0.17, help="NDCG@10")
    parser.add_argument(
        "--epochs",
        type=int,
        default=60,
        help="epochs of genrec, whose learning rate decays until the last one",
    )
    parser.add_argument(
        "--peer-epochs",
        type=int,
        default=60,
        help="largest number of epochs of the peer, which stops at the goal",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="settings of genrec's teacher, key=value"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the trainings and print the comparison."""
    options = parse_options()
    if options.worker:
        run_worker(options)
        return
    commands = {"genrec": [sys.executable, *sys.argv, "--worker"]}
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        if options.peer_python:
            commands["rectools"] = peer_command(options, Path(directory) / "log.npz")
        for name, command in commands.items():
            results[name] = summarize(run_training(command), options.goal)
            shown = {key: value for key, value in results[name].items() if key != "curve"}
            print(name, json.dumps(shown), file=sys.stderr, flush=True)
    content: dict[str, Any] = {
        "goal": options.goal,
        "model": options.model,
        "set": options.set,
        "threads": torch.get_num_threads(),
        "bf16_is_faster": half_precision_pays(torch.device("cpu")),
        "fingerprint": make_split(options.data).fingerprint,
        "date": time.strftime("%Y-%m-%d"),
        **results,
    }
    if "rectools" in results:
        content |= compare(results["genrec"], results["rectools"])
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
