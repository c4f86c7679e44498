"""An agent that takes what pays best now, for many lists at once, in the vector environment.

    python examples/greedy_agent.py

The environment pays for the held-out item, which the agent may not see: it expects instead what a
Markov chain finds probable, and diversity as it is. Prints what a list earns on average, item by
item.
"""

import argparse

import gymnasium
import numpy as np

from genrec.baselines import Markov
from genrec.data import leave_one_out, load
from genrec.envs import ListTask
from genrec.metrics.calibration import Calibrated, fit_temperature
from genrec.metrics.context import Context
from genrec.rewards import weighted


def main() -> None:
    """Play and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    split = leave_one_out(load("demo").dataset)
    chain = Markov.fit(split)
    believed = Calibrated(chain, fit_temperature(chain, split.valid).value)
    paid, expected = (
        weighted(["ndcg=1", "diversity=0.3"]),
        weighted(["relevance=1", "diversity=0.3"]),
    )
    task = ListTask(split.valid.histories, split.valid.targets, split.catalogue, paid, k=10)
    envs = gymnasium.make_vec(
        "genrec/ListGeneration-v0",
        num_envs=options.lists,
        vectorization_mode="vector_entry_point",
        task=task,
    )

    observations, infos = envs.reset(seed=options.seed)
    histories = infos["histories"]
    unknown = np.zeros(len(histories), dtype=np.int64)
    context = Context(
        histories,
        unknown,
        split.catalogue,
        task.k,
        of_probabilities=believed.probabilities(histories),
    )
    items = np.tile(np.arange(1, split.catalogue.num_items + 1), (options.lists, 1))
    earned = np.zeros(options.lists)
    for position in range(task.k):
        promised = expected.marginal(observations["slate"][:, :position], items, context)
        allowed = envs.unwrapped.action_masks()
        actions = np.where(allowed[:, 1:], promised, -np.inf).argmax(axis=1) + 1
        observations, gains, _, _, _ = envs.step(actions)
        earned += gains
        print(f"after {position + 1:>2} items a list has earned {earned.mean():.4f}")
    print(f"a greedy list earns {earned.mean():.4f}, the mean of {len(earned)}")


if __name__ == "__main__":
    main()
