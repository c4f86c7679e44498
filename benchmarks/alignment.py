"""Lists per second of a PPO iteration, with histories shared by their lists and without.

    python benchmarks/alignment.py --json benchmarks/alignment.json

An iteration is an update of ``ppo.train``: lists are written for some histories, their advantages
are computed, and a clipped step is taken for every minibatch of every epoch. ``implementations.py``
describes the three implementations: ``shared`` (genrec), ``separate`` and ``generate``.

Before anything is timed the three must, in float32, give the same log-probabilities to each other's
lists and have the same losses before and after a gradient step. Then rounds of the three alternate;
the first is not counted, and medians are reported: of processor time with one thread, on which
other work on the machine has little influence, of the clock with more. "of a product" is the
multiply-adds per second of an iteration's matrix products, repeated ones included, divided by those
of a large square product in the same rounds. Histories are random and as long as what the policy
reads. The JSON holds all medians. ``--quick`` uses small sizes, to check the script only.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from implementations import Implementation, make_implementations, now
from torch.utils.flop_counter import FlopCounterMode

from genrec.agents.config import PPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.training.run_directory import versions, write_json

PARTS = ("rollout", "advantages", "update")
TARGET = 5.0  # aim of the ratios of lists per second
COMPARED_HISTORIES = 4  # in the comparison before the timing
TOLERANCE = 1e-4
PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Sizes:
    """Sizes of policy, data and measurement; each is an option of the command line."""

    histories: int = 32
    lists: int = 8
    k: int = 10
    length: int = 200
    items: int = 3416
    width: int = 64
    blocks: int = 2
    repeats: int = 5
    product: int = 2048
    threads: int = 1


QUICK = Sizes(
    histories=3, lists=2, k=4, length=20, items=60, width=16, blocks=2, repeats=1, product=64
)


def make_task(sizes: Sizes) -> ListTask:
    """Task with histories of T different items, unseen targets, and two of 18 genres per item."""
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(sizes.items)]
    genres = {name: [f"genre {g}" for g in rng.choice(18, 2, replace=False)] for name in names}
    drawn = [
        1 + rng.choice(sizes.items, sizes.length + 1, replace=False)
        for _ in range(4 * sizes.histories)
    ]
    return ListTask(
        Sequences.from_lists([row[:-1] for row in drawn]),
        np.array([row[-1] for row in drawn]),
        make_catalogue(names, features=genres),
        reward=["ndcg=1", "diversity=0.3"],
        k=sizes.k,
        max_length=sizes.length,
    )


def make_policy(sizes: Sizes) -> GPTRec:
    """Policy with large weights, whose choices depend on what it reads."""
    torch.manual_seed(0)
    policy = GPTRec(
        sizes.items,
        hidden_size=sizes.width,
        blocks=sizes.blocks,
        heads=1,
        max_length=sizes.length,
        max_slate=sizes.k,
        dropout=0.0,
    )
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return policy


def largest_differences(
    made: dict[str, Implementation], task: ListTask, sizes: Sizes, config: PPOConfig
) -> dict[str, float]:
    """Largest differences between the implementations in float32.

    Compared are the log-probabilities of all lists, and the losses before and after one step. Later
    steps are not compared: where a ratio of probabilities is at the clipping threshold, rounding
    decides whether it has a gradient.
    """
    exact = config.model_copy(update={"bf16": False, "minibatches": 1, "epochs": 2})
    lists = min(COMPARED_HISTORIES, sizes.histories) * sizes.lists
    env = ListGenerationVectorEnv(task, lists, sizes.lists)
    written = made["shared"].collect(env, seed=1)
    largest = 0.0
    for sampler in made.values():
        slates, logp = sampler.sample(
            sampler.actor.policy,
            written.histories,
            sizes.k,
            generator=torch.Generator().manual_seed(2),
            group_size=sizes.lists,
        )
        with torch.no_grad():
            for each in made.values():
                found, _ = each.actor(replace(written, slates=slates), with_entropy=False)
                largest = max(largest, float((found.logp - logp).abs().max()))
    losses = torch.tensor(
        [each.update(each.compute_advantages(written, exact), exact) for each in made.values()]
    )
    return {"log_probabilities": largest, "losses": float((losses - losses[0]).abs().max())}


def product_speed(size: int, dtype: torch.dtype) -> float:
    """Multiply-adds per second of a square matrix product."""
    left, right = torch.randn(2, size, size).to(dtype)
    started = now()
    left @ right
    return size**3 / (now() - started)


def measure(task: ListTask, policy: GPTRec, sizes: Sizes, config: PPOConfig) -> dict[str, Any]:
    """Medians over the rounds, and what follows from them: see ``summarise``."""
    env = ListGenerationVectorEnv(task, sizes.histories * sizes.lists, sizes.lists)
    made = make_implementations(policy, config)
    seconds: dict[str, list[list[float]]] = {name: [] for name in made}
    speeds: dict[str, list[float]] = {name: [] for name in PRODUCTS}
    with FlopCounterMode(display=False) as counter:
        made["shared"].iterate(env, config, seed=0)
    for seed in range(sizes.repeats + 1):
        for name, each in made.items():
            seconds[name].append(each.iterate(env, config, seed))
        for name, dtype in PRODUCTS.items():
            speeds[name].append(product_speed(sizes.product, dtype))
    # The first round warms up caches and is not counted.
    return summarise(
        {name: found[1:] for name, found in seconds.items()},
        {name: median(found[1:]) for name, found in speeds.items()},
        lists=env.num_envs,
        multiply_adds=counter.get_total_flops() // 2,
    )


def summarise(
    seconds: dict[str, list[list[float]]],
    speeds: dict[str, float],
    *,
    lists: int,
    multiply_adds: int,
) -> dict[str, Any]:
    """Lists per second, their ratios, seconds of the parts, and shares of a product's speed."""
    whole = {name: median(sum(parts) for parts in found) for name, found in seconds.items()}
    out: dict[str, Any] = {
        "lists_per_second": {name: lists / taken for name, taken in whole.items()}
    }
    out |= {f"shared/{name}": whole[name] / whole["shared"] for name in ("separate", "generate")}
    for name, found in seconds.items():
        medians = np.median(found, axis=0).tolist()
        out[f"{name}_seconds"] = dict(zip(PARTS, medians, strict=True))
    out["multiply_adds"] = multiply_adds
    for name, speed in speeds.items():
        out[f"{name}_product_multiply_adds_per_second"] = speed
        out[f"of_a_{name}_product"] = multiply_adds / whole["shared"] / speed
    return out


def show(found: dict[str, Any]) -> None:
    """Print the parts, the ratios and the shares."""
    print(f"{'seconds of':<14}" + "".join(f"{part:>12}" for part in PARTS) + f"{'lists / s':>12}")
    for name, speed in found["lists_per_second"].items():
        parts = "".join(f"{taken:>12.3f}" for taken in found[f"{name}_seconds"].values())
        print(f"{name:<14}{parts}{speed:>12.1f}")
    for name in ("shared/separate", "shared/generate"):
        verdict = "met" if found[name] >= TARGET else "missed"
        print(f"{name:<18}{found[name]:>6.2f}  aim {TARGET:g}: {verdict}")
    count = found["multiply_adds"] / 1e9
    print(f"shared: {count:.3g}e9 multiply-adds per iteration, at the speed")
    for name in PRODUCTS:
        speed = found[f"{name}_product_multiply_adds_per_second"]
        share = found[f"of_a_{name}_product"]
        print(f"  of a {name} product ({speed / 1e9:.0f}e9 per second): {share:.1%}")


def read_options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, help=f"{field.default} by default")
    parser.add_argument("--float32", action="store_true", help="no products in bfloat16")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check the script")
    parser.add_argument("--json", type=Path, help="file to write")
    return parser.parse_args()


def main() -> None:
    """Compare the implementations, measure them, print the results and write them."""
    options = read_options()
    given = {field.name: getattr(options, field.name) for field in fields(Sizes)}
    chosen = {name: size for name, size in given.items() if size is not None}
    sizes = replace(QUICK if options.quick else Sizes(), **chosen)
    torch.set_num_threads(sizes.threads)
    config = PPOConfig(bf16=not options.float32)
    task, policy = make_task(sizes), make_policy(sizes)
    made = make_implementations(policy, config)
    differences = largest_differences(made, task, sizes, config)
    assert max(differences.values()) < TOLERANCE, (
        f"the implementations do not compute the same: they differ by up to {differences}"
    )
    found = measure(task, policy, sizes, config)
    show(found)
    if options.json:
        about = {
            "command": "python " + " ".join(sys.argv),
            "sizes": asdict(sizes),
            "bf16": config.bf16,
            "epochs": config.epochs,
            "minibatches": config.minibatches,
            "date": time.strftime("%Y-%m-%d"),
        }
        content = {**about, **versions(), "largest_differences": differences, **found}
        write_json(options.json, content)


if __name__ == "__main__":
    main()
