"""Steps per second of the vector environment, compared with Gymnasium's SyncVectorEnv.

    python benchmarks/environment.py

Both write the same lists on the same synthetic log with all built-in rewards. A step is one item of
one list; resets are included. "masked" also calls action_masks() before every step, as an agent
does. Rounds of the two alternate, and the median of their processor time is reported, on which
other work on the machine has little influence. The teacher's probabilities come from a table, so
that the environments are measured and not a model. Prints the results and writes environment.json
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

REWARDS = ("relevance=1", "ndcg=1", "diversity=0.5", "novelty=0.3", "popularity=0.2")
# Lists are drawn from items that are in no history: every action is allowed without a search.
UNSEEN = 200
GENRES = 18


def synthetic_task(num_items: int, k: int, users: int = 2000, mean_length: int = 160) -> ListTask:
    """Task with histories of geometric length, random genres, and counts proportional to 1/rank."""
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
        reward=REWARDS,
        k=k,
        max_length=200,
        probabilities=lambda asked: table[asked.lengths % 64],
    )


def play_round(
    env: VectorEnv, task: ListTask, *, seed: int, masks: Callable[[], object] | None
) -> tuple[float, float]:
    """Seconds to write one list in every sub-environment, and the sum of their returns."""
    rng = np.random.default_rng(seed)
    first_unseen = task.num_items - UNSEEN + 1
    lists = first_unseen + rng.random((env.num_envs, UNSEEN)).argsort(axis=1)[:, : task.k]
    returns = 0.0
    started = time.process_time()
    env.reset(seed=seed)
    for t in range(task.k):
        if masks:
            masks()
        _, reward, *_ = env.step(lists[:, t])
        returns += float(np.sum(reward))
    return time.process_time() - started, returns


def measure(*, num_envs: int, num_items: int, k: int, repeats: int) -> dict[str, float]:
    """Steps per second of both environments, with and without masks, and their ratios."""
    task = synthetic_task(num_items, k)
    vector = ListGenerationVectorEnv(task, num_envs)
    copies = [lambda: ListGenerationEnv(task)] * num_envs
    sync = SyncVectorEnv(copies, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    mask_calls = {"vector": vector.action_masks, "sync": lambda: sync.call("action_masks")}
    results: dict[str, float] = {}
    for label, masked in (("", False), ("_masked", True)):
        times: dict[str, list[float]] = {"vector": [], "sync": []}
        for seed in range(repeats):
            # The vector environment is faster, so that more of its rounds fit into the same time.
            for name, env, rounds in (("sync", sync, 1), ("vector", vector, 5)):
                for extra in range(rounds):
                    masks = mask_calls[name] if masked else None
                    seconds, returns = play_round(env, task, seed=seed + 1000 * extra, masks=masks)
                    assert returns > 0
                    times[name].append(seconds)
        for name, seconds_of in times.items():
            results[f"{name}{label}_steps_per_second"] = round(num_envs * k / median(seconds_of))
        results[f"vector/sync{label}"] = round(median(times["sync"]) / median(times["vector"]), 1)
    return results


def main() -> None:
    """Measure, print the results and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=int, default=512)
    parser.add_argument("--items", type=int, default=3416)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    results = measure(
        num_envs=options.envs, num_items=options.items, k=options.k, repeats=options.repeats
    )
    for name, value in results.items():
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
        "rewards": REWARDS,
        **versions,
        **results,
    }
    options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
