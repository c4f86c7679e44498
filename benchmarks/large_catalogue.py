"""What RecJPQ saves on large catalogues: training memory, step time, size of a checkpoint, time to
the ten best items.

    python benchmarks/large_catalogue.py > benchmarks/large_catalogue.json

Logs: Amazon Beauty (``beauty/beauty.txt`` in the folder GENREC_DATA, ../shared/data by default) and
    a synthetic one
with a million items. Every measurement has a process of its own, on Linux.

- ``steps``: the same steps of gSASRec (256 negatives shared by a batch, so that a table of all
  items can be trained) with a table and with RecJPQ. ``peak_mib`` is the highest resident memory
  less that before the model was made; ``file_mib`` the scorer's file. ``failed`` says that the
  process did not end well, for instance for want of memory.
- ``lists``: a RecJPQ scorer is trained, and its states of test histories look for their ten best
  items: by a product with a table of all item vectors, as without RecJPQ ("dense"), by PQTopK, and
      by dynamic pruning, one state at a time.
  ``exact`` is the share of states whose list equals that of sorting RecJPQ's scores of all items.
- ``catalogues``: the same without training, for codes and sub-item vectors at random
  ("independent", the worst case for pruning) and for items in groups of 50 that share most of their
  codes, where a state points at an item ("clustered").

A summary goes to standard error, the JSON to standard output. ``--quick`` takes small sizes: it
checks the script only.
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

from genrec.config.reading import TeacherSettings
from genrec.data import Cases, Sequences, Split, leave_one_out, load, make_catalogue
from genrec.data.sequences import length_buckets
from genrec.models.codes import svd_codes
from genrec.models.quantized import JointQuantized
from genrec.models.scorer import Recipe
from genrec.models.trainer import fit, states_at_once
from genrec.recipes import build
from genrec.recommender import top_k
from genrec.training.checkpoint import save_tensors
from genrec.training.device import autocast

K, GROUP, JUMP, LENGTH = 10, 50, 0.1, 50
ROOT = Path(__file__).resolve().parent.parent
LOGS = ("beauty", "synthetic")


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

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
    """Users who stay in a group of 50 items for ten events on average; groups have Zipf
    popularity."""
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
    """A log by name; of Beauty with no more users than asked for where the sizes are the quick
    ones."""
    if name == "synthetic":
        return synthetic_log(sizes)
    folder = ROOT / os.environ.get("GENREC_DATA", "../shared/data")
    split = leave_one_out(load(folder / "beauty" / "beauty.txt").dataset)
    return (
        replace(split, train=split.train.take(np.arange(sizes.users))) if sizes == QUICK else split
    )


def settings_of(embedding: str, sizes: Sizes) -> TeacherSettings:
    """Those of gSASRec with negatives shared by the batch."""
    return TeacherSettings.model_validate(
        {
            "recipe": "gsasrec",
            "embedding": embedding,
            "hidden_size": sizes.hidden_size,
            "max_length": LENGTH,
            "shared_negatives": "batch",
            "tokens_per_step": sizes.tokens,
            "epochs": sizes.epochs,
            "evaluate_every": sizes.epochs,
        }
        | ({"splits": sizes.splits} if embedding == "recjpq" else {})
    )


def training_sequences(log: str, sizes: Sizes) -> tuple[Sequences, int]:
    """Sequences of at least two items, and V."""
    split = log_of(log, sizes)
    return split.train.take(split.train.lengths >= 2), split.catalogue.num_items


def steps(log: str, embedding: str, sizes: Sizes) -> dict[str, float]:
    """Memory and time of training steps, and the size of the scorer's file."""
    with ProcessPoolExecutor(
        1, get_context("spawn")
    ) as elsewhere:  # what preparing a log takes would hide the rest
        sequences, num_items = elsewhere.submit(training_sequences, log, sizes).result()
    settings = settings_of(embedding, sizes)
    before = memory_mib("VmRSS")
    recipe = build(num_items, settings, seed=0)
    seconds = step_seconds(recipe, sequences, settings, sizes.steps)
    peak = memory_mib("VmHWM")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scorer.safetensors"
        save_tensors(file, recipe.scorer.state_dict())
        size = file.stat().st_size / 2**20
    return {
        "step_seconds": round(statistics.median(seconds), 3),
        "peak_mib": round(peak - before, 1),
        "file_mib": round(size, 2),
    }


def step_seconds(
    recipe: Recipe, sequences: Sequences, settings: TeacherSettings, count: int
) -> list[float]:
    """Seconds of ``count`` steps of training as ``fit`` makes them, after one that is not
    counted."""
    scorer, numbers, generator = (
        recipe.scorer,
        np.random.default_rng(0),
        torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    scorer.train()
    seconds = []
    for rows in length_buckets(
        sequences.lengths, max_length=LENGTH, tokens=settings.tokens_per_step, generator=numbers
    )[: count + 1]:
        batch = scorer.objective.batch(
            sequences.take(rows),
            max_length=LENGTH,
            mask_id=scorer.embedding.mask_id,
            generator=numbers,
        )
        started = time.perf_counter()
        with autocast(scorer.device, settings.bf16):
            recipe.training_step(batch, generator, states_at_once(recipe, settings.hidden_size))
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
    settings = settings_of("recjpq", sizes)
    recipe = build(split.catalogue.num_items, settings, seed=0)
    embedding = recipe.scorer.embedding
    assert isinstance(embedding, JointQuantized)
    started = time.perf_counter()
    embedding.assign(
        torch.from_numpy(svd_codes(split.train, embedding.num_items, splits=sizes.splits, seed=0))
    )
    coded = time.perf_counter()
    best = fit(recipe, split, settings, quiet=True)
    times = {
        "codes_seconds": round(coded - started, 1),
        "fit_seconds": round(time.perf_counter() - coded, 1),
    }
    histories = split.test.histories.take(np.arange(min(sizes.queries, len(split.test))))
    return (
        times
        | {"valid_ndcg@10": best["ndcg@10"]}
        | searched(embedding, recipe.scorer.final_states(histories))
    )


def catalogue(kind: str, sizes: Sizes) -> dict[str, float]:
    """Time the search in a made-up catalogue, with sub-item vectors of N(0, 1)."""
    embedding = JointQuantized(sizes.items, sizes.hidden_size, splits=sizes.splits)
    states = torch.randn(sizes.queries, sizes.hidden_size)
    with torch.no_grad():
        embedding.centroids.normal_()
        if kind == "clustered":
            group = torch.arange(sizes.items + 1) // GROUP
            shared = torch.randint(0, 256, (int(group.max()) + 1, sizes.splits), dtype=torch.uint8)[
                group
            ]
            embedding.assign(torch.where(torch.rand(shared.shape) < 0.2, embedding.codes, shared))
            states += embedding(torch.randint(1, sizes.items + 1, (sizes.queries,)))
    return searched(embedding, states)


@torch.no_grad()
def searched(embedding: JointQuantized, states: torch.Tensor) -> dict[str, float]:
    """Median and 95th percentile of the methods' times in ms, ratios of medians, and shares of
    equal lists."""
    vectors = embedding.vectors()[1:].contiguous()
    expected = torch.cat([top_k(embedding.score(state[None]), K)[1] for state in states])
    embedding.index()

    def ranked(pruned: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def find(state: torch.Tensor) -> torch.Tensor:
            embedding.pruned = pruned
            return embedding.top_k(state[None], K)[1][0]

        return find

    methods: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "dense": lambda state: torch.topk(vectors @ state, K).indices + 1,
        "pqtopk": ranked(False),
        "pruned": ranked(True),
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
    """Time of each state alone, after two that are not counted, and the items found."""
    for state in states[:2]:
        find(state)
    times, items = [], []
    for state in states:
        started = time.perf_counter()
        items.append(find(state))
        times.append(1000 * (time.perf_counter() - started))
    return times, torch.stack(items)


def part(name: str, sizes: Sizes) -> dict[str, float]:
    """One measurement: ``steps beauty table``, ``lists synthetic``, ``catalogues clustered``."""
    torch.manual_seed(0)
    torch.set_num_threads(sizes.threads)
    what, *words = name.split()
    if what == "steps":
        return steps(words[0], words[1], sizes)
    return lists(words[0], sizes) if what == "lists" else catalogue(words[0], sizes)


def in_its_own_process(name: str, sizes: Sizes) -> dict[str, float | str]:
    """A measurement in a fresh process; where that fails, how."""
    command = [sys.executable, __file__, "--part", name, "--sizes", json.dumps(asdict(sizes))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": f"exit status {done.returncode}"}
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def main() -> None:
    """All measurements, or the one that --part names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to check the script")
    parser.add_argument(
        "--sizes", help="JSON with the sizes to change, for instance '{\"items\": 200000}'"
    )
    parser.add_argument("--part", help="one measurement, for instance 'steps synthetic table'")
    options = parser.parse_args()
    sizes = replace(QUICK if options.quick else Sizes(), **json.loads(options.sizes or "{}"))
    if options.part:
        json.dump(part(options.part, sizes), sys.stdout)
        return
    names = [f"steps {log} {embedding}" for log in LOGS for embedding in ("table", "recjpq")]
    names += [f"lists {log}" for log in LOGS] + ["catalogues independent", "catalogues clustered"]
    results: dict[str, object] = {"sizes": asdict(sizes), "k": K, "torch": torch.__version__}
    for name in names:
        results[name] = found = in_its_own_process(name, sizes)
        print(
            name, *(f"{key} {value}" for key, value in found.items()), sep="\n  ", file=sys.stderr
        )
    json.dump(results, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
