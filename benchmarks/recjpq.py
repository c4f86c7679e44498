"""Time to find the ten best of a million items for one state: dense product, PQTopK, dynamic pruning.

    python benchmarks/recjpq.py > benchmarks/recjpq.json

Items, codes and states are synthetic, in two catalogues. "independent": codes and sub-item vectors are random, the
worst case for pruning. "clustered": items come in groups of 50 that share most of their codes, and a state points at an
item, as that of a trained model does. All three methods must return the same scores. The table goes to standard error,
the JSON to standard output.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from genrec.models.pruning import InvertedIndex, pruned_top_k
from genrec.models.quantized import JointQuantized

K = 10
GROUP = 50


def catalogue(num_items: int, hidden_size: int, splits: int, clustered: bool) -> JointQuantized:
    """An embedding with random sub-item vectors of N(0, 1) and random or clustered codes."""
    made = JointQuantized(num_items, hidden_size, splits)
    with torch.no_grad():
        made.centroids.normal_()
    if clustered:
        group = torch.arange(num_items + 1) // GROUP
        shared = torch.randint(0, 256, (int(group.max()) + 1, splits), dtype=torch.uint8)[group]
        made.assign(torch.where(torch.rand(shared.shape) < 0.2, made.codes, shared))
    return made


def states(embedding: JointQuantized, count: int, clustered: bool) -> torch.Tensor:
    """Random states of N(0, 1), or the vectors of random items with such noise."""
    noise = torch.randn(count, embedding.centroids.shape[0] * embedding.centroids.shape[2])
    return embedding(torch.randint(1, embedding.num_items + 1, (count,))).detach() + noise if clustered else noise


def milliseconds(
    find: Callable[[torch.Tensor], torch.Tensor], queries: torch.Tensor
) -> tuple[list[float], torch.Tensor]:
    """Time of each query alone, after two that are not counted, and the scores found."""
    for query in queries[:2]:
        find(query[None])
    times, scores = [], []
    for query in queries:
        started = time.perf_counter()
        scores.append(find(query[None]))
        times.append(1000 * (time.perf_counter() - started))
    return times, torch.stack(scores)


def measured(num_items: int, hidden_size: int, splits: int, queries: int, clustered: bool) -> dict[str, float]:
    """Median and 95th percentile of the three methods on one catalogue, in ms, and ratios of the medians."""
    embedding = catalogue(num_items, hidden_size, splits, clustered)
    asked = states(embedding, queries, clustered)
    with torch.no_grad():
        vectors = embedding.vectors()[1:].contiguous()
    index = InvertedIndex.of(embedding.codes)
    methods: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "dense": lambda state: torch.topk(vectors @ state[0], K).values,
        "pqtopk": lambda state: embedding.top_k(state, K)[0][0],
        "pruned": lambda state: pruned_top_k(embedding.tables(state.detach()).detach(), index, K)[0],
    }
    found, out = {}, {}
    for name, find in methods.items():
        times, found[name] = milliseconds(find, asked)
        out[f"{name}_median_ms"] = round(statistics.median(times), 2)
        out[f"{name}_p95_ms"] = round(statistics.quantiles(times, n=20)[-1], 2)
    for name in ("pqtopk", "pruned"):
        torch.testing.assert_close(found[name], found["dense"], rtol=1e-4, atol=1e-3)
        out[f"dense/{name}"] = round(out["dense_median_ms"] / out[f"{name}_median_ms"], 1)
    out["pqtopk/pruned"] = round(out["pqtopk_median_ms"] / out["pruned_median_ms"], 1)
    return out


def main() -> None:
    """Measure both catalogues."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    results: dict[str, object] = {**vars(options), "k": K, "torch": torch.__version__}
    for name in ("independent", "clustered"):
        found = measured(options.items, options.hidden_size, options.splits, options.queries, name == "clustered")
        results[name] = found
        print(name, *(f"{key} {value}" for key, value in found.items()), sep="\n  ", file=sys.stderr)
    json.dump(results, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
