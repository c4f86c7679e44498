"""Costs of RecJPQ on large catalogues: memory and time of training, file size, time of ranking.

    python benchmarks/large_catalogue.py > benchmarks/large_catalogue.json

Logs: Amazon Beauty (``beauty/beauty.txt`` in the folder GENREC_DATA, ../shared/data by default) and
a synthetic one with a million items. Every measurement runs in its own process, on Linux.

- ``steps``: the same training steps of gSASRec (256 negatives shared by a batch, so that a table
  of all items can be trained) with a table and with RecJPQ. ``peak_mib`` is the highest resident
  memory minus that before the model was built, ``file_mib`` the size of the scorer's file.
  ``failed`` means that the process did not end normally, for instance for lack of memory.
- ``lists``: a RecJPQ scorer is trained, and the ten best items of its states of test histories
  are found in three ways: by a product with a table of all item vectors, as without RecJPQ
  ("dense"), by PQTopK, and by dynamic pruning, one state at a time. ``exact`` is the share of
  states whose list equals that of sorting RecJPQ's scores of all items.
- ``catalogues``: the same without training, for random codes and sub-item vectors ("independent",
  the worst case for pruning) and for items in groups of 50 that share most of their codes, where
  a state is similar to an item ("clustered").

A summary is printed on standard error, the JSON on standard output. ``--quick`` uses small sizes
and only checks that the script runs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from genrec.data import Cases, Sequences, Split, leave_one_out, load, make_catalogue
from genrec.data.sequences import length_buckets
from genrec.models.build import build
from genrec.models.codes import svd_codes
from genrec.models.config import NeuralConfig
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import Recipe
from genrec.models.trainer import fit, states_at_once
from genrec.recommender import top_k
from genrec.training.checkpoint import save_tensors
from genrec.training.device import autocast

K = 10  # length of the lists
LENGTH = 50  # events per user of the synthetic log, and items that a model reads
GROUP = 50  # items per group
JUMP = 0.1  # probability that a user goes to another group
ROOT = Path(__file__).resolve().parent.parent
LOGS = ("beauty", "synthetic")


@dataclass(frozen=True)
class Sizes:
    """Sizes of logs, models and measurements."""

    items: int = 1_000_000
    users: int = 20_000
    hidden_size: int = 512
    splits: int = 8
    steps: int = 8
    tokens: int = 6_400
    epochs: int = 3
    queries: int = 100
    threads: int = 1


QUICK = Sizes(items=30_000, users=500, hidden_size=64, steps=2, tokens=3_200, epochs=1, queries=5)


def synthetic_log(sizes: Sizes, seed: int = 0) -> Split:
    """Users who stay in a group of 50 items for ten events on average; groups follow Zipf's law."""
    rng = np.random.default_rng(seed)
    shape, groups = (sizes.users, LENGTH), sizes.items // GROUP
    weights = 1 / (np.arange(groups) + 10)
    jumps = rng.random(shape) < JUMP
    jumps[:, 0] = True
    drawn = rng.choice(groups, shape, p=weights / weights.sum())
    latest = np.maximum.accumulate(np.where(jumps, np.arange(LENGTH), 0), axis=1)
    items = np.take_along_axis(drawn, latest, axis=1) * GROUP + rng.integers(GROUP, size=shape) + 1
    whole = Sequences(np.arange(sizes.users + 1) * LENGTH, items.reshape(-1).astype(np.int32))
    train = whole.drop_last(1)
    catalogue = make_catalogue([str(i) for i in range(1, sizes.items + 1)])
    catalogue = replace(
        catalogue, counts=np.bincount(train.items, minlength=sizes.items + 1), num_users=sizes.users
    )
    cases = Cases(train, items[:, -1].astype(np.int32), np.arange(sizes.users))
    half = np.arange(min(256, sizes.users // 2))
    return Split(
        name="leave-one-out",
        fingerprint="synthetic",
        train=train,
        valid=cases.take(half),
        test=cases.take(half + len(half)),
        catalogue=catalogue,
        notes=(),
    )


def log_of(name: str, sizes: Sizes) -> Split:
    """A log by name; quick sizes limit the users of Beauty."""
    if name == "synthetic":
        return synthetic_log(sizes)
    folder = ROOT / os.environ.get("GENREC_DATA", "../shared/data")
    split = leave_one_out(load(folder / "beauty" / "beauty.txt").dataset)
    return (
        replace(split, train=split.train.take(np.arange(sizes.users))) if sizes == QUICK else split
    )


def config_of(embedding: str, sizes: Sizes) -> NeuralConfig:
    """The config of gSASRec with negatives shared by the batch."""
    content = {
        "embedding": embedding,
        "negatives": {"name": "uniform", "count": 256, "shared": "batch"},
        "loss": "gbce",
        "hidden_size": sizes.hidden_size,
        "max_length": LENGTH,
        "tokens_per_step": sizes.tokens,
        "epochs": sizes.epochs,
        "evaluate_every": sizes.epochs,
    }
    if embedding == "recjpq":
        content["embedding"] = {"name": embedding, "splits": sizes.splits}
    return NeuralConfig.model_validate(content)


def training_sequences(log: str, sizes: Sizes) -> tuple[Sequences, int]:
    """Training sequences of at least two items, and V."""
    split = log_of(log, sizes)
    return split.train.take(split.train.lengths >= 2), split.catalogue.num_items


def steps(log: str, embedding: str, sizes: Sizes) -> dict[str, float]:
    """Memory and time of training steps, and the size of the scorer's file."""
    # Preparing a log in this process would raise its peak memory.
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        sequences, num_items = executor.submit(training_sequences, log, sizes).result()
    config = config_of(embedding, sizes)
    before = memory_mib("VmRSS")
    recipe = build(config, num_items=num_items, seed=0)
    seconds = step_seconds(recipe, sequences, config, count=sizes.steps)
    peak = memory_mib("VmHWM")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "scorer.safetensors"
        save_tensors(file, recipe.scorer.state_dict())
        size = file.stat().st_size / 2**20
    return {
        "step_seconds": round(statistics.median(seconds), 3),
        "peak_mib": round(peak - before, 1),
        "file_mib": round(size, 2),
    }


def step_seconds(
    recipe: Recipe, sequences: Sequences, config: NeuralConfig, *, count: int
) -> list[float]:
    """Seconds of ``count`` training steps like those of ``fit``, after one for warming up."""
    scorer = recipe.scorer
    numbers, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    scorer.train()
    chunk = states_at_once(recipe, config.hidden_size)
    buckets = length_buckets(
        sequences.lengths, max_length=LENGTH, tokens=config.tokens_per_step, generator=numbers
    )
    seconds = []
    for rows in buckets[: count + 1]:
        batch = scorer.objective.batch(
            sequences.take(rows),
            max_length=LENGTH,
            mask_id=scorer.embedding.mask_id,
            generator=numbers,
        )
        started = time.perf_counter()
        with autocast(scorer.device, config.bf16):
            recipe.training_step(batch, generator, chunk)
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def memory_mib(name: str) -> float:
    """Resident memory of this process, now (VmRSS) or at its highest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def lists(log: str, sizes: Sizes) -> dict[str, float]:
    """Train a RecJPQ scorer and time the search for the best items of its states."""
    split = log_of(log, sizes)
    config = config_of("recjpq", sizes)
    recipe = build(config, num_items=split.catalogue.num_items, seed=0)
    embedding = recipe.scorer.embedding
    assert isinstance(embedding, JointQuantized)
    started = time.perf_counter()
    codes = svd_codes(split.train, embedding.num_items, splits=sizes.splits, seed=0)
    embedding.assign(torch.from_numpy(codes))
    coded = time.perf_counter()
    best = fit(recipe, split, config, hidden_size=config.hidden_size, seed=0, quiet=True)
    times = {
        "codes_seconds": round(coded - started, 1),
        "fit_seconds": round(time.perf_counter() - coded, 1),
        "val_ndcg@10": best["ndcg@10"],
    }
    histories = split.test.histories.take(np.arange(min(sizes.queries, len(split.test))))
    return times | search_times(embedding, recipe.scorer.final_states(histories))


def catalogue(kind: str, sizes: Sizes) -> dict[str, float]:
    """Time the search in a synthetic catalogue with sub-item vectors of N(0, 1)."""
    embedding = JointQuantized(sizes.items, sizes.hidden_size, splits=sizes.splits)
    states = torch.randn(sizes.queries, sizes.hidden_size)
    with torch.no_grad():
        embedding.centroids.normal_()
        if kind == "clustered":
            group = torch.arange(sizes.items + 1) // GROUP
            shape = (int(group.max()) + 1, sizes.splits)
            shared = torch.randint(0, 256, shape, dtype=torch.uint8)[group]
            embedding.assign(torch.where(torch.rand(shared.shape) < 0.2, embedding.codes, shared))
            states += embedding(torch.randint(1, sizes.items + 1, (sizes.queries,)))
    return search_times(embedding, states)


@torch.no_grad()
def search_times(embedding: JointQuantized, states: torch.Tensor) -> dict[str, float]:
    """Median and 95th percentile of each method's time in ms, ratios, and shares of exact lists."""
    vectors = embedding.vectors()[1:].contiguous()
    expected = torch.cat([top_k(embedding.score(state[None]), K)[1] for state in states])
    embedding.index()  # built before the clock starts

    def best_items(pruned: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def find(state: torch.Tensor) -> torch.Tensor:
            embedding.pruned = pruned
            return embedding.top_k(state[None], K)[1][0]

        return find

    methods: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "dense": lambda state: torch.topk(vectors @ state, K).indices + 1,
        "pqtopk": best_items(False),
        "pruned": best_items(True),
    }
    out: dict[str, float] = {}
    for name, find in methods.items():
        times, items = milliseconds(find, states)
        out[f"{name}_median_ms"] = round(statistics.median(times), 3)
        out[f"{name}_p95_ms"] = round(statistics.quantiles(times, n=20)[-1], 3)
        if name != "dense":
            out[f"{name}_exact"] = float((items == expected).all(dim=1).float().mean())
            out[f"dense/{name}"] = round(out["dense_median_ms"] / out[f"{name}_median_ms"], 1)
    out["pqtopk/pruned"] = round(out["pqtopk_median_ms"] / out["pruned_median_ms"], 2)
    return out


def milliseconds(
    find: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor
) -> tuple[list[float], torch.Tensor]:
    """Milliseconds per state, one at a time after two for warming up, and the items found."""
    for state in states[:2]:
        find(state)
    times, items = [], []
    for state in states:
        started = time.perf_counter()
        items.append(find(state))
        times.append(1000 * (time.perf_counter() - started))
    return times, torch.stack(items)


def run_part(name: str, sizes: Sizes) -> dict[str, float]:
    """One measurement: ``steps beauty table``, ``lists synthetic``, ``catalogues clustered``."""
    torch.manual_seed(0)
    torch.set_num_threads(sizes.threads)
    what, *words = name.split()
    if what == "steps":
        return steps(words[0], words[1], sizes)
    return lists(words[0], sizes) if what == "lists" else catalogue(words[0], sizes)


def in_own_process(name: str, sizes: Sizes) -> dict[str, float | str]:
    """A measurement in a new process, or how that process failed."""
    command = [sys.executable, __file__, "--part", name, "--sizes", json.dumps(asdict(sizes))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": f"exit status {done.returncode}"}
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run all measurements, or the one that --part names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to check the script only"
    )
    parser.add_argument(
        "--sizes", help="JSON with changed sizes, for instance '{\"items\": 200000}'"
    )
    parser.add_argument("--part", help="one measurement, for instance 'steps synthetic table'")
    options = parser.parse_args()
    sizes = replace(QUICK if options.quick else Sizes(), **json.loads(options.sizes or "{}"))
    if options.part:
        json.dump(run_part(options.part, sizes), sys.stdout)
        return
    names = [f"steps {log} {embedding}" for log in LOGS for embedding in ("table", "recjpq")]
    names += [f"lists {log}" for log in LOGS] + ["catalogues independent", "catalogues clustered"]
    results: dict[str, object] = {"sizes": asdict(sizes), "k": K, "torch": torch.__version__}
    for name in names:
        results[name] = found = in_own_process(name, sizes)
        lines = [f"{key} {value}" for key, value in found.items()]
        print(name, *lines, sep="\n  ", file=sys.stderr)
    json.dump(results, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
