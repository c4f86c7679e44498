"""An agent that knows nothing: allowed items at random, in the single environment of Gymnasium.

    python examples/random_agent.py

Writes a few lists for users of the demo log, shows the last one, and prints what a list earns on
average.
"""

import argparse

import gymnasium
import numpy as np

from genrec.data import leave_one_out, load
from genrec.envs import ListTask
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
    reward = weighted(["ndcg=1", "diversity=0.3"])
    task = ListTask(split.valid.histories, split.valid.targets, split.catalogue, reward, k=10)
    env = gymnasium.make("genrec/ListGeneration-v0", task=task, render_mode="ansi")

    rng = np.random.default_rng(options.seed)
    earned = []
    for number in range(options.lists):
        env.reset(seed=options.seed if number == 0 else None)
        total, ended = 0.0, False
        while not ended:
            allowed = np.flatnonzero(env.get_wrapper_attr("action_masks")())
            _, gain, ended, _, _ = env.step(rng.choice(allowed))
            total += float(gain)
        earned.append(total)
    print(env.render())
    print(f"a random list earns {np.mean(earned):.4f}, the mean of {len(earned)}")


if __name__ == "__main__":
    main()
