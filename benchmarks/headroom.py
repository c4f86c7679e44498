"""Headroom of greedy selection: local search on its lists, valued by the same probabilities.

    python benchmarks/headroom.py runs/ml-1m --dataset path/to/ml-1m --weights 0.02,0.1,0.3,1

For each weight of the goals the script prints the expected reward of four kinds of lists: relevance
under the teacher's calibrated probabilities plus the weighted goals. Local search starts from the
sorted lists and repeatedly takes the best exchange of a list item for a candidate or for another
position, as long as one improves the list. A method that knows no more than the teacher cannot be
expected to reach much more; what a policy gains beyond it must come from better knowledge.
"""

import argparse
from pathlib import Path

from genrec.evaluation.goals import Goals
from genrec.pipeline.loading import calibrated
from genrec.pipeline.provenance import parent_run, require_run, settings_in
from genrec.pipeline.settings import Settings
from genrec.pipeline.workspace import Workspace, prepare_workspace
from genrec.rerankers import (
    Pool,
    draw_pool,
    greedy,
    local_search,
    sort_by_relevance,
    with_surrogates,
)
from genrec.rewards import Relevance, Reward, WeightedSum, load_objectives
from genrec.training.run_directory import versions, write_json

KINDS = ("Top-K", "greedy", "sorted", "search")


def main() -> None:
    """Print a row for each weight."""
    arguments = parse_arguments()
    workspace = prepare_workspace(settings_of(arguments.run, arguments.dataset), quiet=True)
    specs = require_run(arguments.run, ("aligned",), workspace).rewards or ()
    goals = Goals.of(load_objectives([specs])[0].reward)
    pool = validation_pool(arguments, workspace)
    print(
        f"{len(pool.context)} validation users, {arguments.candidates} candidates; expected reward"
        f" of lists of {pool.context.k}"
    )
    print(f"{'weight':>8} {' '.join(f'{kind:>8}' for kind in KINDS)}  search minus greedy")
    rows = []
    for first in map(float, arguments.weights.split(",")):
        values = expected_rewards(pool, scaled(goals, first))
        shown = " ".join(f"{values[kind]:8.4f}" for kind in KINDS)
        print(f"{first:8g} {shown}  {values['search'] - values['greedy']:+.4f}", flush=True)
        rows.append({"weight": first, **values})
    if arguments.json:
        facts = {
            "fingerprint": workspace.split.fingerprint,
            "users": len(pool.context),
            "candidates": arguments.candidates,
        }
        write_json(arguments.json, {**facts, "versions": versions(), "rows": rows})


def parse_arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of an aligned run: goals and teacher")
    parser.add_argument("--dataset", help="path of the data, if it has moved since the run")
    parser.add_argument(
        "--weights",
        default="0.02,0.1,0.3,1",
        help="of the first goal; the others keep their ratio to it",
    )
    parser.add_argument(
        "--candidates", type=int, default=200, help="number of the teacher's best items to use"
    )
    parser.add_argument("--users", type=int, default=512, help="number of validation users")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser.parse_args()


def settings_of(run: Path, dataset: str | None) -> Settings:
    """Settings of a run, on the dataset named."""
    settings = settings_in(run)
    return settings if dataset is None else settings.model_copy(update={"dataset": dataset})


def validation_pool(arguments: argparse.Namespace, workspace: Workspace) -> Pool:
    """The teacher's best items for a sample of the validation users."""
    teacher = calibrated(parent_run(arguments.run, "teacher"), workspace)
    cases = workspace.split.valid.sample(arguments.users, workspace.settings.seed)
    return draw_pool(
        teacher,
        cases.histories,
        workspace.split.catalogue,
        k=workspace.settings.k,
        candidates=arguments.candidates,
        probabilities=teacher.probabilities,
    )


def scaled(goals: Goals, first: float) -> WeightedSum:
    """Relevance plus the goals, the first of which has the given weight."""
    factor = goals.terms[0][1]
    terms = [(term, first * weight / factor) for term, weight in goals.terms]
    return WeightedSum(((Relevance(), 1.0), *terms))


def expected_rewards(pool: Pool, reward: Reward) -> dict[str, float]:
    """Expected reward of each kind of lists, mean over the pools."""
    k = pool.context.k
    chosen = greedy(pool, k, with_surrogates(reward))
    ordered = sort_by_relevance(pool, chosen, reward)
    searched = local_search(pool, ordered, reward)
    lists = dict(zip(KINDS, (pool.items[:, :k], chosen, ordered, searched), strict=True))
    return {
        kind: float(reward(slates, pool.context).sum(axis=1).mean())
        for kind, slates in lists.items()
    }


if __name__ == "__main__":
    main()
