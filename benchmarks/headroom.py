"""What greedy selection leaves to a planner: local search on its lists, judged by the very probabilities it reads.

    python benchmarks/headroom.py runs/ml-1m --dataset path/to/ml-1m --weights 0.02,0.1,0.3,1

For each weight of the goals the lists of four ways to write them, worth what they promise: weighted relevance under the
teacher's calibrated probabilities plus the goals. Local search starts from the sorted lists and takes, as long as there
is one, the best exchange of a list item for a candidate or for another place. Nothing that knows no more than the
teacher can be expected to earn much more; what a policy gains beyond it must come from knowing better.
"""

import argparse
from pathlib import Path

from genrec import runs
from genrec.bench import folder_of, prepare, require_run
from genrec.config import Settings
from genrec.experiment import calibrated
from genrec.metrics import Floats, Slates
from genrec.rerankers import Pool, draw_pool, followed, greedy, improved, in_pool_order
from genrec.rewards import Relevance, Reward, WeightedSum, weighted


def earned(pool: Pool, slates: Slates, reward: Reward) -> Floats:
    """(B,) what whole lists promise."""
    worth: Floats = reward(slates, pool.context).sum(axis=1)
    return worth


def main() -> None:
    """Print a row for each weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of an aligned run, which names goals and teacher")
    parser.add_argument("--dataset", help="where the data lies, if not where the run found it")
    parser.add_argument("--weights", default="0.02,0.1,0.3,1", help="of the goals, in units of the run's weights")
    parser.add_argument("--candidates", type=int, default=200, help="the teacher's best items that lists may hold")
    parser.add_argument("--users", type=int, default=512, help="validation users")
    arguments = parser.parse_args()
    found = require_settings(arguments.run, arguments.dataset)
    bench = prepare(found, quiet=True)
    content = require_run(arguments.run, ("aligned",), bench)
    teacher = calibrated(folder_of(arguments.run, "teacher"), bench)
    histories = bench.split.valid.sample(arguments.users, bench.settings.seed).histories
    k = bench.settings.k
    pool = draw_pool(teacher, histories, bench.split.catalogue, k, arguments.candidates, teacher.probabilities)
    goals = [(term, weight) for term, weight in weighted(content["rewards"]).terms if "targets" not in term.needs]
    goals = [(term, weight) for term, weight in goals if not isinstance(term, Relevance)]
    print(f"{len(histories)} validation users, {arguments.candidates} candidates; what lists of {k} promise")
    print(f"{'weight':>8} {'Top-K':>8} {'greedy':>8} {'sorted':>8} {'search':>8}  more than greedy")
    for share in map(float, arguments.weights.split(",")):
        reward = WeightedSum(((Relevance(), 1.0), *((term, share * weight) for term, weight in goals)))
        first = greedy(pool, k, followed(reward))
        ordered = in_pool_order(pool, first, reward)
        columns = [pool.items[:, :k], first, ordered, improved(pool, ordered, reward)]
        worth = [float(earned(pool, slates, reward).mean()) for slates in columns]
        row = " ".join(f"{value:8.4f}" for value in worth)
        print(f"{share:8g} {row}  {worth[3] - worth[1]:+.4f}", flush=True)


def require_settings(run: Path, dataset: str | None) -> Settings:
    """The settings of a run, on the dataset named."""
    settings = Settings.model_validate(runs.read_json(run / "run.json")["settings"])
    return settings if dataset is None else settings.model_copy(update={"dataset": dataset})


if __name__ == "__main__":
    main()
