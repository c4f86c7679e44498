"""Seconds of training until a teacher's lists reach a quality: genrec and RecTools, same data,
split and metric.

    python -m venv peers && peers/bin/pip install "rectools[torch]"
    python benchmarks/time_to_quality.py --data ml-1m.txt --peer-python peers/bin/python >
    time_to_quality.json

Both train on all events but the last of each user and are measured after every epoch on that last
event, all users, seen items filtered, NDCG@10: a stopwatch reads the curve that a report would
show, nothing is tuned on it. Models are of the same size (width 64, 2 blocks, 1 head, 200 items,
full softmax). The trainings run one after the other, each in its own process. RecTools' time is
training alone; genrec's includes the measurement after every epoch. A training that is cut off
before the goal is still compared: by the seconds to the best that both of them reach. A line a
method on standard error, JSON on standard output.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.config.reading import TeacherSettings
from genrec.data import ReadConfig, Split, load
from genrec.data.splits import leave_one_out
from genrec.models.trainer import fit
from genrec.recipes import build
from genrec.training.device import half_precision_pays

OURS = {
    "sasrec": {"recipe": "sasrec_softmax"},
    "bert4rec": {"recipe": "bert4rec"},
}


def the_split(path: Path) -> Split:
    """Everything but the last event trains; the last events are what is measured after every
    epoch."""
    split = leave_one_out(load(str(path), ReadConfig()).dataset, num_validation=0)
    return replace(split, valid=split.test)


def train_ours(
    split: Split, model: str, epochs: int, changes: dict[str, Any], folder: Path
) -> None:
    """One training of genrec, a line of metrics an epoch in the folder."""
    settings = TeacherSettings.model_validate(
        {"epochs": epochs, "evaluate_every": 1, "patience": epochs, **OURS[model], **changes}
    )
    fit(build(split.catalogue.num_items, settings, seed=0), split, settings, 0, folder, quiet=True)


def worker(arguments: argparse.Namespace) -> None:
    """The process that trains genrec's model: its lines look like the peer's."""
    changes = dict(change.split("=", 1) for change in arguments.set)
    with tempfile.TemporaryDirectory() as folder:
        train_ours(
            the_split(arguments.data), arguments.model, arguments.epochs, changes, Path(folder)
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        for line in (Path(folder) / "metrics.jsonl").read_text().splitlines():
            found = json.loads(line)
            ndcg = found["valid ndcg@10"]
            print(
                json.dumps(
                    {
                        "epoch": found["step"],
                        "seconds": found["seconds"],
                        "ndcg@10": ndcg,
                        "peak_gib": peak,
                    }
                )
            )


def curve(command: list[str]) -> list[dict[str, float]]:
    """The lines that a training prints, shown on standard error as they come."""
    lines: list[dict[str, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("{"):
                lines.append(json.loads(line))
                print(line, end="", file=sys.stderr, flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def first(lines: list[dict[str, float]], goal: float) -> dict[str, float] | None:
    """The first line that is as good as the goal."""
    return next((line for line in lines if line["ndcg@10"] >= goal), None)


def summary(lines: list[dict[str, float]], goal: float) -> dict[str, Any]:
    """Seconds an epoch, seconds to the goal (None if it was not reached), peak memory, the whole
    curve."""
    reached = first(lines, goal)
    return {
        "seconds_an_epoch": lines[-1]["seconds"] / lines[-1]["epoch"],
        "seconds_to_goal": reached["seconds"] if reached else None,
        "epochs_to_goal": reached["epoch"] if reached else None,
        "best_ndcg@10": max(line["ndcg@10"] for line in lines),
        "peak_gib": max(line["peak_gib"] for line in lines),
        "curve": lines,
    }


def save_log(split: Split, path: Path) -> None:
    """The training events and targets for the peer."""
    np.savez(path, users=split.train.rows(), items=split.train.items, targets=split.test.targets)


def main() -> None:
    """Run both, print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="SASRec's ml-1m.txt, or any log")
    parser.add_argument(
        "--peer-python", help="of an environment with rectools[torch]; without it only genrec runs"
    )
    parser.add_argument("--model", choices=OURS, default="sasrec")
    parser.add_argument("--goal", type=float, default=0.17, help="NDCG@10")
    parser.add_argument(
        "--epochs",
        type=int,
        default=60,
        help="of genrec, whose learning rate falls to the last one",
    )
    parser.add_argument(
        "--peer-epochs", type=int, default=60, help="at most; the peer stops at the goal"
    )
    parser.add_argument(
        "--set", action="append", default=[], help="genrec's teacher settings, key=value"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
        return
    commands = {"genrec": [sys.executable, *sys.argv, "--worker"]}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peer_python:
            log = Path(folder) / "log.npz"
            save_log(the_split(arguments.data), log)
            script = str(Path(__file__).parent / "peers" / "rectools_teacher.py")
            peer = [
                "--log",
                str(log),
                "--model",
                arguments.model,
                "--epochs",
                str(arguments.peer_epochs),
            ]
            commands["rectools"] = [
                arguments.peer_python,
                script,
                *peer,
                "--goal",
                str(arguments.goal),
            ]
        results = {}
        for name, command in commands.items():
            results[name] = summary(curve(command), arguments.goal)
            shown = {key: value for key, value in results[name].items() if key != "curve"}
            print(name, json.dumps(shown), file=sys.stderr, flush=True)
    content: dict[str, Any] = {
        "goal": arguments.goal,
        "model": arguments.model,
        "set": arguments.set,
    }
    content |= {
        "threads": torch.get_num_threads(),
        "bf16 pays": half_precision_pays(torch.device("cpu")),
    }
    content |= {
        "fingerprint": the_split(arguments.data).fingerprint,
        "date": time.strftime("%Y-%m-%d"),
        **results,
    }
    if {"genrec", "rectools"} <= results.keys():
        ours, theirs = results["genrec"], results["rectools"]
        for key in ("seconds_an_epoch", "seconds_to_goal", "peak_gib"):
            content[f"ratio_{key}"] = theirs[key] / ours[key] if ours[key] and theirs[key] else None
        both = min(ours["best_ndcg@10"], theirs["best_ndcg@10"])
        seconds = [
            line["seconds"] for each in (theirs, ours) if (line := first(each["curve"], both))
        ]
        content |= {
            "reached_by_both": both,
            "ratio_seconds_to_what_both_reach": seconds[0] / seconds[1],
        }
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
