"""Random agent: draws allowed items in Gymnasium's single environment.

    python examples/random_agent.py

Writes lists for users of the demo log, shows the last one, and prints the mean reward of a list.
"""

import argparse

import gymnasium
import numpy as np

from genrec.data import leave_one_out, load
from genrec.envs import ListTask


def main() -> None:
    """Play the episodes and print the mean return."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    split = leave_one_out(load("demo").dataset)
    task = ListTask(
        split.valid.histories,
        split.valid.targets,
        split.catalogue,
        reward=["ndcg=1", "diversity=0.3"],
        k=10,
    )
    env = gymnasium.make("genrec/ListGeneration-v0", task=task, render_mode="ansi")

    rng = np.random.default_rng(options.seed)
    returns = []
    for number in range(options.lists):
        env.reset(seed=options.seed if number == 0 else None)
        total, terminated = 0.0, False
        while not terminated:
            allowed = np.flatnonzero(env.get_wrapper_attr("action_masks")())
            _, reward, terminated, _, _ = env.step(rng.choice(allowed))
            total += float(reward)
        returns.append(total)
    print(env.render())
    print(f"a random list earns {np.mean(returns):.4f}, the mean of {len(returns)}")


if __name__ == "__main__":
    main()
