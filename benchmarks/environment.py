"""Steps per second of the vector environment against gymnasium's SyncVectorEnv of the single one.

    python benchmarks/environment.py

Both write the same lists on the same synthetic log, with all built-in rewards on; a step is one
item of one list, and resets count. "masked" also asks for action_masks() before every step, as an
agent does. Rounds of the two alternate and the median counts, in seconds of processor time, so that
other work on the machine matters little. The teacher's probabilities are looked up in a table, so
that the environments are measured and not a model. Prints the table and writes environment.json
beside this file.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import genrec.envs
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationEnv, ListGenerationVectorEnv, ListTask
from genrec.rewards import weighted

ALL = ("relevance=1", "ndcg=1", "diversity=0.5", "novelty=0.3", "popularity=0.2")
# items in no history, from which lists are drawn: every choice is allowed and costs nothing to find
UNSEEN = 200
GENRES = 18


def synthetic_task(num_items: int, k: int, users: int = 2000, mean_length: int = 160) -> ListTask:
    """Histories of geometric length, genres at random, counts and probabilities that fall off as 1
    / rank."""
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(num_items)]
    genres = {
        name: [f"genre {g}" for g in rng.choice(GENRES, rng.integers(1, 4), replace=False)]
        for name in names
    }
    counts = np.append(0, 100_000 // np.arange(1, num_items + 1))
    catalogue = replace(make_catalogue(names, features=genres), counts=counts)
    lengths = np.minimum(5 + rng.geometric(1 / (mean_length - 5), users), num_items - UNSEEN)
    histories = Sequences.from_lists(
        [1 + rng.choice(num_items - UNSEEN, length, replace=False) for length in lengths]
    )
    table = rng.dirichlet(np.full(num_items, 0.1), 64)
    table = np.concatenate([np.zeros((64, 1)), table], axis=1).astype(np.float32)
    targets = rng.integers(num_items - UNSEEN, num_items, users) + 1
    return ListTask(
        histories,
        targets,
        catalogue,
        weighted(ALL),
        k,
        200,
        probabilities=lambda asked: table[asked.lengths % 64],
    )


def rounds(
    env: VectorEnv, task: ListTask, seed: int, masks: Callable[[], object] | None
) -> tuple[float, float]:
    """Seconds to write one list in every sub-environment, and what all of them earned."""
    rng = np.random.default_rng(seed)
    lists = (
        rng.random((env.num_envs, UNSEEN)).argsort(axis=1)[:, : task.k]
        + task.num_items
        - UNSEEN
        + 1
    )
    earned = 0.0
    started = time.process_time()
    env.reset(seed=seed)
    for t in range(task.k):
        if masks:
            masks()
        _, reward, *_ = env.step(lists[:, t])
        earned += float(np.sum(reward))
    return time.process_time() - started, earned


def measured(num_envs: int, num_items: int, k: int, repeats: int) -> dict[str, float]:
    """Steps per second of both, with and without masks, and their ratios."""
    task = synthetic_task(num_items, k)
    vector = ListGenerationVectorEnv(task, num_envs)
    copies = [lambda: ListGenerationEnv(task)] * num_envs
    sync = SyncVectorEnv(copies, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    asked = {"vector": vector.action_masks, "sync": lambda: sync.call("action_masks")}
    out: dict[str, float] = {}
    for label, masked in (("", False), ("_masked", True)):
        times: dict[str, list[float]] = {"vector": [], "sync": []}
        for seed in range(repeats):
            for name, env, more in (("sync", sync, 1), ("vector", vector, 5)):
                for extra in range(more):
                    seconds, earned = rounds(
                        env, task, seed + 1000 * extra, asked[name] if masked else None
                    )
                    assert earned > 0
                    times[name].append(seconds)
        for name, found in times.items():
            out[f"{name}{label}_steps_per_second"] = round(num_envs * k / median(found))
        out[f"vector/sync{label}"] = round(median(times["sync"]) / median(times["vector"]), 1)
    return out


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=int, default=512)
    parser.add_argument("--items", type=int, default=3416)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found = measured(options.envs, options.items, options.k, options.repeats)
    for name, value in found.items():
        print(f"{name:<34}{value:>12,}")
    about = {
        "environment": genrec.envs.LIST_GENERATION,
        "envs": options.envs,
        "items": options.items,
        "k": options.k,
    }
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
    }
    content = {
        "command": "python " + " ".join(sys.argv),
        **about,
        "rewards": ALL,
        **versions,
        **found,
    }
    options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
