"""What greedy selection leaves to a planner: local search on its lists, judged by the very
probabilities it reads.

    python benchmarks/headroom.py runs/ml-1m --dataset path/to/ml-1m --weights 0.02,0.1,0.3,1

For each weight of the goals the lists of four ways to write them, worth what they promise: weighted
relevance under the teacher's calibrated probabilities plus the goals. Local search starts from the
sorted lists and takes, as long as there is one, the best exchange of a list item for a candidate or
for another place. Nothing that knows no more than the teacher can be expected to earn much more;
what a policy gains beyond it must come from knowing better.
"""

import argparse
from pathlib import Path

from genrec.config.reading import Settings
from genrec.pipeline.loading import calibrated
from genrec.pipeline.workspace import folder_of, prepare_workspace, require_run
from genrec.rerankers import (
    Pool,
    draw_pool,
    greedy,
    local_search,
    sort_by_relevance,
    with_surrogates,
)
from genrec.rewards import ACCURACY, Relevance, Reward, WeightedSum, weighted
from genrec.training.run_directory import read_json, versions, write_json


def main() -> None:
    """Print a row for each weight."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", type=Path, help="folder of an aligned run, which names goals and teacher"
    )
    parser.add_argument("--dataset", help="where the data lies, if not where the run found it")
    parser.add_argument(
        "--weights",
        default="0.02,0.1,0.3,1",
        help="of the first goal; others keep their ratio to it",
    )
    parser.add_argument(
        "--candidates", type=int, default=200, help="the teacher's best items that lists may hold"
    )
    parser.add_argument("--users", type=int, default=512, help="validation users")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    workspace = prepare_workspace(settings_of(arguments.run, arguments.dataset), quiet=True)
    k, terms = (
        workspace.settings.k,
        weighted(require_run(arguments.run, ("aligned",), workspace)["rewards"]).terms,
    )
    goals = [
        (term, weight) for term, weight in terms if term.name not in (*ACCURACY, Relevance().name)
    ]
    teacher = calibrated(folder_of(arguments.run, "teacher"), workspace)
    histories = workspace.split.valid.sample(arguments.users, workspace.settings.seed).histories
    pool = draw_pool(
        teacher,
        histories,
        workspace.split.catalogue,
        k=k,
        candidates=arguments.candidates,
        probabilities=teacher.probabilities,
    )
    print(
        f"{len(histories)} validation users, {arguments.candidates} candidates; what lists of {k}"
        " promise"
    )
    print(f"{'weight':>8} {'Top-K':>8} {'greedy':>8} {'sorted':>8} {'search':>8}  more than greedy")
    rows = []
    for first in map(float, arguments.weights.split(",")):
        scaled = [(term, first * weight / goals[0][1]) for term, weight in goals]
        row = {"weight": first, **promises(pool, k, WeightedSum(((Relevance(), 1.0), *scaled)))}
        values = " ".join(f"{row[name]:8.4f}" for name in ("Top-K", "greedy", "sorted", "search"))
        print(f"{first:8g} {values}  {row['search'] - row['greedy']:+.4f}", flush=True)
        rows.append(row)
    if arguments.json:
        facts = {
            "fingerprint": workspace.split.fingerprint,
            "users": len(histories),
            "candidates": arguments.candidates,
        }
        write_json(arguments.json, {**facts, "versions": versions(), "rows": rows})


def promises(pool: Pool, k: int, reward: Reward) -> dict[str, float]:
    """What the lists of each way to write them promise, mean over the pools."""
    chosen = greedy(pool, k, with_surrogates(reward))
    ordered = sort_by_relevance(pool, chosen, reward)
    lists = {
        "Top-K": pool.items[:, :k],
        "greedy": chosen,
        "sorted": ordered,
        "search": local_search(pool, ordered, reward),
    }
    return {
        name: float(reward(slates, pool.context).sum(axis=1).mean())
        for name, slates in lists.items()
    }


def settings_of(run: Path, dataset: str | None) -> Settings:
    """The settings of a run, on the dataset named."""
    settings = Settings.model_validate(read_json(run / "run.json")["settings"])
    return settings if dataset is None else settings.model_copy(update={"dataset": dataset})


if __name__ == "__main__":
    main()
