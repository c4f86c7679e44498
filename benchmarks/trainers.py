r"""Comparison of three trainers with one student and one reward: PPO, MaskablePPO and GRPO.

    python benchmarks/trainers.py --teacher runs/t --student runs/s --reward diversity=0.1 \
        --folder runs/trainers > trainers.json

PPO is genrec's own, MaskablePPO is that of stable-baselines3, GRPO that of TRL. Each training is a
process of `genrec align --agent ...` without a supervised warm-up, first with the same number of
updates, then with as many as fit into the time of genrec's PPO. Time and lists per second are those
of the training alone, validations included; peak memory is that of the process. The objective is
the reward of the greedy lists for all test users, with NDCG in place of relevance. "sb3, rows
apart" is stable-baselines3 with a policy that encodes the history of every observation separately,
as a straightforward policy for it does; it is timed over a few updates only. Writes one line per
training to standard error and JSON to standard output.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from genrec.evaluation.runs import measure_run
from genrec.pipeline.provenance import settings_in
from genrec.pipeline.workspace import prepare_workspace
from genrec.training.run_directory import read_json, versions, write_json

AGENTS = ("ppo", "sb3", "grpo")
APART = "sb3, rows apart"


def trained(
    arguments: argparse.Namespace, agent: str, *, updates: int, seed: int
) -> dict[str, Any]:
    """Train unless the run exists; returns its directory, seconds, lists per second and memory."""
    out = arguments.folder / f"{agent}-{updates}-seed{seed}"
    usage = out / "usage.json"
    if not usage.exists():
        options = align_options(arguments, agent, updates=updates, seed=seed, out=out)
        command = [sys.executable, "-m", "genrec", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{agent} ended with {os.waitstatus_to_exitcode(status)}")
        write_json(usage, {"peak_gib": used.ru_maxrss / 2**20})
    found = {"agent": agent, "seed": seed, "updates": updates, **speed(out, updates)}
    return {**found, **read_json(usage), "run": str(out)}


def align_options(
    arguments: argparse.Namespace, agent: str, *, updates: int, seed: int, out: Path
) -> list[str]:
    """Command line of one alignment, without validations before its end."""
    changes = [
        f"align.updates={updates}",
        f"align.evaluate_every={updates}",
        "align.warmup_lists=0",
        *arguments.set,
    ]
    options = ["align", "--reward", arguments.reward, "--agent", agent, "--seed", str(seed)]
    options += ["--teacher", str(arguments.teacher), "--student", str(arguments.student)]
    options += [part for change in changes for part in ("--set", change)]
    return [*options, "--out", str(out), "--quiet"]


def speed(run: Path, updates: int) -> dict[str, float]:
    """Lists of a run, its seconds from the first validation to the last, and their ratio."""
    align = read_json(run / "run.json")["settings"]["align"]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = records[-1]["seconds"] - records[0]["seconds"]
    lists = updates * align["histories"] * align["group_size"]
    return {"lists": lists, "seconds": seconds, "lists_per_second": lists / seconds}


def objective(run: Path, reward: str) -> dict[str, float]:
    """NDCG, the reward and their weighted sum, means over all test users."""
    workspace = prepare_workspace(settings_in(run), quiet=True)
    means = measure_run(workspace, run).means
    name, _, weight = reward.partition("=")
    ndcg, goal = means[f"ndcg@{workspace.settings.k}"], means[f"{name}@{workspace.settings.k}"]
    return {"ndcg": ndcg, name: goal, "objective": ndcg + float(weight) * goal}


def rows_apart(arguments: argparse.Namespace, updates: int) -> dict[str, Any]:
    """Lists per second of stable-baselines3 with a policy that does not share histories."""
    from genrec.agents.sb3 import policy as maskable
    from genrec.cli import app

    def states_per_row(policy: Any, history: torch.Tensor, slate: torch.Tensor) -> torch.Tensor:
        placed = (slate > 0).sum(dim=1).clamp(max=slate.shape[1] - 1)
        prefix = policy.encode(maskable.unpadded(history.cpu().numpy()))
        states = policy.slate_states(prefix, slate[:, None])
        return states[torch.arange(len(slate)), 0, placed]  # type: ignore[no-any-return]

    out = arguments.folder / "rows-apart"
    options = align_options(arguments, "sb3", updates=updates, seed=0, out=out)
    # In this process, where the function that shares histories can be replaced.
    with mock.patch.object(maskable, "next_states", states_per_row):
        app(options, standalone_mode=False)
    return {"agent": APART, "updates": updates, **speed(out, updates)}


def ratios(rows: list[dict[str, Any]]) -> Mapping[str, float]:
    """Lists per second of genrec's PPO divided by those of each other trainer."""
    speeds = {row["agent"]: row["lists_per_second"] for row in reversed(rows)}
    return {
        f"lists_per_second_ppo_over_{agent}": speeds["ppo"] / found
        for agent, found in speeds.items()
        if agent != "ppo"
    }


def main() -> None:
    """Train with all agents, measure the runs and print the results."""
    arguments = read_options()
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        rows += rows_of_seed(arguments, seed)
    if arguments.apart:
        rows.append(rows_apart(arguments, arguments.apart))
        report(rows[-1])
    content = {
        "reward": arguments.reward,
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "fingerprint": read_json(arguments.student / "run.json")["fingerprint"],
        **versions(),
    }
    print(json.dumps({**content, **ratios(rows), "rows": rows}, indent=2))


def rows_of_seed(arguments: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """One row per agent and budget: the same number of lists, and the same time."""
    updates = arguments.updates
    same_lists = {agent: trained(arguments, agent, updates=updates, seed=seed) for agent in AGENTS}
    rows = []
    for agent, row in same_lists.items():
        fitting = max(1, round(updates * same_lists["ppo"]["seconds"] / row["seconds"]))
        same_time = row if agent == "ppo" else trained(arguments, agent, updates=fitting, seed=seed)
        for budget, found in (("lists", row), ("time", same_time)):
            measured = objective(Path(found["run"]), arguments.reward)
            rows.append({"same": budget, **found, **measured})
            report(rows[-1])
    return rows


def report(row: dict[str, Any]) -> None:
    """Print a row to standard error, so that a long benchmark can be followed."""
    print(json.dumps(row), file=sys.stderr, flush=True)


def read_options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument(
        "--reward", default="diversity=0.1", help="diversity=WEIGHT or novelty=WEIGHT"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="directory of the runs; finished ones are kept"
    )
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--seeds", default="0", help="such as 0,1,2")
    parser.add_argument(
        "--apart",
        type=int,
        default=1,
        help="updates of the policy that does not share histories; 0 leaves it out",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="settings of align, such as align.group_size=8"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
