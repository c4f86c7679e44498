"""One student, one reward, three trainers: our PPO, stable-baselines3's MaskablePPO, TRL's GRPO.

    python benchmarks/trainers.py --teacher runs/t --student runs/s --reward diversity=0.1 --folder
    runs/trainers \
        > benchmarks/trainers.json

Each training is a process of `genrec align --agent ...` without a supervised warm-up, first with the same
number of updates, then with as many as fit into the time that our PPO took. Time and lists per
second are those of the training alone, validations included; peak memory is the process's. The
objective is the reward of the greedy lists for all test users, NDCG in the place of relevance.
"sb3, rows apart" is stable-baselines3 with a policy that encodes the history of every observation
anew, as a policy written for it without more ado does; it is timed over a few updates only. A line
a training on standard error, JSON on standard output.
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

import torch

from genrec.config.reading import Settings
from genrec.evaluation.runs import measure_run
from genrec.pipeline.workspace import prepare_workspace
from genrec.training.run_directory import read_json, versions, write_json

AGENTS = ("ppo", "sb3", "grpo")
APART = "sb3, rows apart"


def trained(arguments: argparse.Namespace, agent: str, updates: int, seed: int) -> dict[str, Any]:
    """A finished training: its folder, seconds, lists per second, peak memory. What is finished is
    kept."""
    out = arguments.folder / f"{agent}-{updates}-seed{seed}"
    usage = out / "usage.json"
    if not usage.exists():
        changes = [
            f"align.updates={updates}",
            f"align.evaluate_every={updates}",
            "align.warmup_lists=0",
            *arguments.set,
        ]
        chosen = [
            "-r",
            arguments.reward,
            "--teacher",
            str(arguments.teacher),
            "--student",
            str(arguments.student),
        ]
        chosen += ["--agent", agent, "--seed", str(seed), "-o", str(out), "-q"]
        chosen += [part for change in changes for part in ("-s", change)]
        process = subprocess.Popen(
            [sys.executable, "-m", "genrec", "align", *chosen], stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{agent} ended with {os.waitstatus_to_exitcode(status)}")
        write_json(usage, {"peak_gib": used.ru_maxrss / 2**20})
    align = read_json(out / "run.json")["settings"]["align"]
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seconds = (
        records[-1]["seconds"] - records[0]["seconds"]
    )  # from the first validation to the last
    lists = updates * align["histories"] * align["group_size"]
    found = {"agent": agent, "seed": seed, "updates": updates, "lists": lists, "seconds": seconds}
    return {**found, "lists_per_second": lists / seconds, **read_json(usage), "run": str(out)}


def objective(run: Path, reward: str) -> dict[str, float]:
    """NDCG, the goal and their weighted sum over all test users."""
    workspace = prepare_workspace(
        Settings.model_validate(read_json(run / "run.json")["settings"]), quiet=True
    )
    means = measure_run(workspace, run).means
    name, _, weight = reward.partition("=")
    ndcg, goal = means[f"ndcg@{workspace.settings.k}"], means[f"{name}@{workspace.settings.k}"]
    return {"ndcg": ndcg, name: goal, "objective": ndcg + float(weight) * goal}


def rows_apart(arguments: argparse.Namespace, updates: int) -> dict[str, Any]:
    """Lists per second of stable-baselines3 with a policy that knows nothing of shared
    histories."""
    from genrec.agents.sb3 import policy as maskable

    def alone(policy: Any, history: torch.Tensor, slate: torch.Tensor) -> torch.Tensor:
        placed = (slate > 0).sum(dim=1).clamp(max=slate.shape[1] - 1)
        states = policy.slate_states(
            policy.encode(maskable.unpadded(history.cpu().numpy())), slate[:, None]
        )
        return states[torch.arange(len(slate)), 0, placed]  # type: ignore[no-any-return]

    maskable.next_states = alone
    from genrec.pipeline import stages

    settings = Settings.model_validate(read_json(arguments.student / "run.json")["settings"])
    changes = dict(change.removeprefix("align.").split("=") for change in arguments.set)
    align = {
        "updates": updates,
        "evaluate_every": updates,
        "warmup_lists": 0,
        "agent": "sb3",
        **changes,
    }
    settings = Settings.model_validate(
        {**settings.model_dump(), "align": {**settings.align.model_dump(), **align}}
    )
    out = arguments.folder / "rows-apart"
    stages.align(
        prepare_workspace(settings, quiet=True),
        [arguments.reward],
        arguments.teacher,
        arguments.student,
        out,
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seconds = records[-1]["seconds"] - records[0]["seconds"]
    lists = updates * settings.align.histories * settings.align.group_size
    return {
        "agent": APART,
        "updates": updates,
        "lists_per_second": lists / seconds,
        "seconds": seconds,
    }


def ratios(rows: list[dict[str, Any]]) -> Mapping[str, float]:
    """How many times as many lists a second our PPO writes and learns from."""
    speed = {row["agent"]: row["lists_per_second"] for row in reversed(rows)}
    return {
        f"lists_per_second_ppo_over_{agent}": speed["ppo"] / speed[agent]
        for agent in speed
        if agent != "ppo"
    }


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument(
        "--reward", default="diversity=0.1", help="diversity=WEIGHT or novelty=WEIGHT"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="of the runs; finished ones are kept"
    )
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--seeds", default="0", help="such as 0,1,2")
    parser.add_argument(
        "--apart",
        type=int,
        default=1,
        help="updates of the policy without sharing; 0 leaves it out",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="settings of align, such as align.group_size=8"
    )
    arguments = parser.parse_args()
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        first = {agent: trained(arguments, agent, arguments.updates, seed) for agent in AGENTS}
        for agent, row in first.items():
            fit = max(1, round(arguments.updates * first["ppo"]["seconds"] / row["seconds"]))
            for budget, found in (
                ("lists", row),
                ("time", row if agent == "ppo" else trained(arguments, agent, fit, seed)),
            ):
                rows.append(
                    {"same": budget, **found, **objective(Path(found["run"]), arguments.reward)}
                )
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if arguments.apart:
        rows.append(rows_apart(arguments, arguments.apart))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    content = {
        "reward": arguments.reward,
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
    }
    content |= {
        "fingerprint": read_json(arguments.student / "run.json")["fingerprint"],
        **versions(),
    }
    print(json.dumps({**content, **ratios(rows), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
