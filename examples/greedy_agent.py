"""Greedy agent: takes the items with the largest expected gain, for many lists at once.

    python examples/greedy_agent.py

The environment rewards the held-out item, which the agent may not see. In its place the agent uses
the calibrated probabilities of a Markov chain; it computes diversity exactly. Prints the mean
reward of a list, item by item.
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
    """Play one episode per list and print the mean return."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    split = leave_one_out(load("demo").dataset)
    chain = Markov.fit(split)
    calibrated = Calibrated(chain, fit_temperature(chain, split.valid).value)
    task = ListTask(
        split.valid.histories,
        split.valid.targets,
        split.catalogue,
        reward=["ndcg=1", "diversity=0.3"],
        k=10,
    )
    envs = gymnasium.make_vec(
        "genrec/ListGeneration-v0",
        num_envs=options.lists,
        vectorization_mode="vector_entry_point",
        task=task,
    )

    observations, infos = envs.reset(seed=options.seed)
    histories = infos["histories"]
    # The expected NDCG is the relevance reward: probabilities in the place of the unknown target.
    expected = weighted(["relevance=1", "diversity=0.3"])
    context = Context(
        histories,
        of_targets=np.zeros(len(histories), dtype=np.int64),
        catalogue=split.catalogue,
        k=task.k,
        of_probabilities=calibrated.probabilities(histories),
    )
    items = np.tile(np.arange(1, split.catalogue.num_items + 1), (options.lists, 1))
    returns = np.zeros(options.lists)
    for position in range(task.k):
        gains = expected.marginal(observations["slate"][:, :position], items, context)
        allowed = envs.unwrapped.action_masks()
        actions = np.where(allowed[:, 1:], gains, -np.inf).argmax(axis=1) + 1
        observations, rewards, _, _, _ = envs.step(actions)
        returns += rewards
        print(f"after {position + 1:>2} items a list has earned {returns.mean():.4f}")
    print(f"a greedy list earns {returns.mean():.4f}, the mean of {len(returns)}")


if __name__ == "__main__":
    main()
