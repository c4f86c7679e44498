"""Lists per second of a PPO iteration: histories shared by their lists, every list apart, and
transformers' generate.

    python benchmarks/alignment.py --json benchmarks/alignment.json

An iteration is an update of ``ppo.train``: lists are written for some histories, judged, and learnt
from in a clipped step for every minibatch of every epoch. Three ways, of the same policy,
environment and mathematics:

- ``shared``, ours: a history is encoded once a pass, and its lists go on from the same keys and
  values.
- ``apart``: every list is a sequence history | SEP | list of its own, read from its start for every
  item that is written and in every pass of the update. Attention is fused, and 64 lists are read at
  once, which is fastest for it.
- ``generate``: ``GPT2LMHeadModel.generate`` writes the lists with its cache of keys and values,
  each behind a copy of its history; the update is that of ``apart``.

Before anything is timed the three must, in float32, give the same log-probabilities to the lists of
each other and have the same losses before and after a gradient step. Then rounds of the three
alternate, after one that is not counted, and medians count: of the seconds of processor time with
one thread, so that other work on the machine matters little, of the clock with more. "Of a product"
is the multiply-adds a second of an iteration's matrix products, repeated ones included, over those
of a large square product in the same rounds. Histories are at random, with as many items as the
policy reads. The JSON holds all medians. ``--quick`` takes small sizes: it checks the script only.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

from genrec.agents import ppo, rollout
from genrec.agents.gptrec import decoding
from genrec.agents.gptrec.model import NEVER, GPTRec, Prefix
from genrec.config.reading import AlignSettings
from genrec.data import Sequences, make_catalogue
from genrec.envs import ListGenerationVectorEnv, ListTask
from genrec.recommender import batches
from genrec.rewards import weighted
from genrec.training.device import autocast
from genrec.training.run_directory import versions, write_json

Lists = tuple[torch.Tensor, torch.Tensor]  # (H, G, k) slates and their log-probabilities
PARTS = ("rollout", "judge", "update")
AIM = 5.0
CHECKED = 4  # histories in the comparison before the timing
CLOSE = 1e-4
AT_ONCE = 64  # lists that ``apart`` reads together
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """How large everything is; each is an option of the command line."""

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


def history_tokens(policy: GPTRec, histories: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, P) tokens of histories and SEP, padded on the left, and their position ids."""
    tokens = torch.from_numpy(histories.last(policy.max_length).padded(side="left"))
    tokens = nn.functional.pad(tokens, (0, 1), value=policy.separator)
    return tokens, torch.arange(tokens.shape[1] - 1, -1, -1).expand(len(tokens), -1)


def states_apart(policy: GPTRec, histories: Sequences, placed: torch.Tensor) -> torch.Tensor:
    """(H, G, n+1, D) the states of SEP and of items placed (H, G, n), every list a sequence of its
    own."""
    size, lists, n = placed.shape
    tokens, positions = history_tokens(policy, histories)
    tokens = torch.cat([tokens.repeat_interleave(lists, dim=0), placed.flatten(0, 1)], dim=1)
    positions = torch.cat([positions[:1], policy.max_length + torch.arange(1, n + 1)[None]], dim=1)
    hidden = policy.lm.transformer(
        input_ids=tokens,
        attention_mask=(tokens > 0).long(),
        position_ids=positions.expand_as(tokens),
        use_cache=False,
    ).last_hidden_state
    return hidden[:, -n - 1 :].view(size, lists, n + 1, -1)


class Apart(ppo.Actor):
    """The actor of ``ppo`` without shared histories; the output layer is the same."""

    def forward(
        self, written: rollout.Rollout, entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probabilities, entropies and values along the lists of a rollout, (H, G, K)."""
        policy, slates = self.policy, written.slates
        states = states_apart(policy, written.histories, slates[:, :, :-1])
        visible = torch.ones(len(slates), 0, dtype=torch.bool)
        prefix = Prefix(DynamicCache(), visible, states[:, 0, 0], policy.blocked(written.histories))
        logp, surprise = policy.choices(prefix, states, slates, slates[..., None], entropy)
        return logp.squeeze(3), surprise, self.critic(states)


@torch.no_grad()
def sample_apart(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    generator: torch.Generator,
    group_size: int,
    weights: None = None,
) -> Lists:
    """What ``decoding.sample`` does, every list read from the start of its history for every
    item."""
    written = [
        write_apart(policy, part, k, generator, group_size)
        for part in batches(histories, max(1, AT_ONCE // group_size))
    ]
    return torch.cat([slates for slates, _ in written]), torch.cat([logp for _, logp in written])


def write_apart(
    policy: GPTRec, histories: Sequences, k: int, generator: torch.Generator, group_size: int
) -> Lists:
    """Lists for a few histories."""
    blocked = policy.blocked(histories)[:, None]
    slates, chosen = torch.zeros(len(histories), group_size, 0, dtype=torch.long), []
    for _ in range(k):
        logits = policy.lm.lm_head(states_apart(policy, histories, slates)[:, :, -1]).float()
        logp = torch.log_softmax(
            logits.masked_fill(blocked, NEVER).scatter(2, slates, NEVER), dim=2
        )
        item = decoding.draw(torch.softmax(logp, dim=2).flatten(0, 1), generator).view(
            *slates.shape[:2], 1
        )
        chosen.append(logp.gather(2, item))
        slates = torch.cat([slates, item], dim=2)
    return slates, torch.cat(chosen, dim=2)


class Unplaced(LogitsProcessor):
    """-inf at what the history of a row blocks and at what its list, from column ``start`` on,
    holds already."""

    def __init__(self, blocked: torch.Tensor, start: int) -> None:
        self.blocked, self.start = blocked, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Masked scores (n, V+2)."""
        return scores.masked_fill(self.blocked, NEVER).scatter(1, input_ids[:, self.start :], NEVER)


@torch.no_grad()
def sample_generate(
    policy: GPTRec,
    histories: Sequences,
    k: int,
    generator: torch.Generator,
    group_size: int,
    weights: None = None,
) -> Lists:
    """What ``decoding.sample`` does, by transformers' ``generate`` on histories repeated for each
    of their lists."""
    tokens, positions = (
        each.repeat_interleave(group_size, dim=0) for each in history_tokens(policy, histories)
    )
    blocked = policy.blocked(histories).repeat_interleave(group_size, dim=0)

    def place(
        _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Any]:
        listed = (
            named["past_key_values"].get_seq_length() > 0
        )  # generate counts on from SEP, 0: the lists begin at T+1
        return arguments, named | {
            "position_ids": named["position_ids"] + policy.max_length * listed
        }

    hook = policy.lm.transformer.register_forward_pre_hook(place, with_kwargs=True)
    with hook, torch.random.fork_rng():
        torch.manual_seed(generator.initial_seed())
        found = policy.lm.generate(
            tokens,
            attention_mask=(tokens > 0).long(),
            position_ids=positions,
            logits_processor=LogitsProcessorList([Unplaced(blocked, tokens.shape[1])]),
            max_new_tokens=k,
            do_sample=True,
            top_k=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
    slates = found.sequences[:, -k:]
    chosen = [
        torch.log_softmax(at, dim=1).gather(1, slates[:, i, None])
        for i, at in enumerate(found.scores)
    ]
    return slates.view(-1, group_size, k), torch.cat(chosen, dim=1).view(-1, group_size, k)


class Way:
    """One way to align: who writes the lists, and the actor that learns from them, its policy a
    copy of its own."""

    def __init__(
        self, write: Callable[..., Lists], actor: type[ppo.Actor], policy: GPTRec, rate: float
    ) -> None:
        self.write = write
        self.actor = actor(copy.deepcopy(policy))
        self.optimizer = torch.optim.AdamW(self.actor.parameters(), lr=rate, weight_decay=0.0)

    def collect(self, env: ListGenerationVectorEnv, seed: int) -> rollout.Rollout:
        """A rollout as in ``ppo``, by this way's writer."""
        generator = torch.Generator().manual_seed(seed)
        with mock.patch.object(rollout, "sample", self.write):
            return rollout.collect(self.actor.policy, env, env.task.k, generator, seed, 0.0)

    def judge(self, written: rollout.Rollout, settings: AlignSettings) -> list[ppo.Minibatch]:
        """Minibatches with advantages."""
        with autocast(CPU, settings.bf16):
            return ppo.judge(self.actor, None, written, settings)[0]

    def update(self, batches: list[ppo.Minibatch], settings: AlignSettings) -> list[float]:
        """The steps of one update, and the loss before each."""
        return [step["loss"] for step in ppo.improve(self.actor, self.optimizer, batches, settings)]

    def iterate(
        self, env: ListGenerationVectorEnv, settings: AlignSettings, seed: int
    ) -> list[float]:
        """Seconds of the parts of one iteration."""
        moments = [now()]
        with autocast(CPU, settings.bf16):
            written = self.collect(env, seed)
        moments.append(now())
        batches = self.judge(written, settings)
        moments.append(now())
        self.update(batches, settings)
        moments.append(now())
        return np.diff(moments).tolist()


def now() -> float:
    """Seconds of this process with one thread, of the clock with several."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def make_task(sizes: Sizes) -> ListTask:
    """Histories of T different items, a target that is in none of them, two genres of eighteen an
    item."""
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(sizes.items)]
    genres = {name: [f"genre {g}" for g in rng.choice(18, 2, replace=False)] for name in names}
    drawn = [
        1 + rng.choice(sizes.items, sizes.length + 1, replace=False)
        for _ in range(4 * sizes.histories)
    ]
    histories, targets = (
        Sequences.from_lists([row[:-1] for row in drawn]),
        np.array([row[-1] for row in drawn]),
    )
    reward = weighted(("ndcg=1", "diversity=0.3"))
    return ListTask(
        histories, targets, make_catalogue(names, features=genres), reward, sizes.k, sizes.length
    )


def make_policy(sizes: Sizes) -> GPTRec:
    """A policy with weights larger than at the start of training, so that its choices depend on
    what it reads."""
    torch.manual_seed(0)
    policy = GPTRec(sizes.items, sizes.width, sizes.blocks, 1, sizes.length, sizes.k, dropout=0.0)
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return policy


def make_ways(policy: GPTRec, settings: AlignSettings) -> dict[str, Way]:
    """The three by name, each with a copy of the policy."""
    torch.manual_seed(0)
    rate = settings.learning_rate
    ways = {
        "shared": Way(decoding.sample, ppo.Actor, policy, rate),
        "apart": Way(sample_apart, Apart, policy, rate),
        "generate": Way(sample_generate, Apart, policy, rate),
    }
    for name in ("apart", "generate"):
        ways[name].actor.policy.lm.set_attn_implementation("sdpa")
    return ways


def differences(
    ways: dict[str, Way], task: ListTask, sizes: Sizes, settings: AlignSettings
) -> dict[str, float]:
    """The largest differences between the ways, in float32: of the log-probabilities of all lists,
    and of losses.

    The losses are those before and after one step. Later steps are not compared: where a ratio of
    probabilities is at the edge of the clipping, rounding decides whether it has a gradient.
    """
    exact = settings.model_copy(update={"bf16": False, "minibatches": 1, "epochs": 2})
    env = ListGenerationVectorEnv(task, min(CHECKED, sizes.histories) * sizes.lists, sizes.lists)
    written = ways["shared"].collect(env, seed=1)
    largest = 0.0
    for writer in ways.values():
        generator = torch.Generator().manual_seed(2)
        slates, logp = writer.write(
            writer.actor.policy, written.histories, sizes.k, generator, sizes.lists
        )
        with torch.no_grad():
            found = [
                way.actor(replace(written, slates=slates), entropy=False)[0]
                for way in ways.values()
            ]
        largest = max(largest, *(float((other - logp).abs().max()) for other in found))
    losses = torch.tensor([way.update(way.judge(written, exact), exact) for way in ways.values()])
    return {"log_probabilities": largest, "losses": float((losses - losses[0]).abs().max())}


def product_speed(size: int, kind: torch.dtype) -> float:
    """Multiply-adds a second of a square matrix product."""
    left, right = torch.randn(2, size, size).to(kind)
    started = now()
    left @ right
    return size**3 / (now() - started)


def measured(
    task: ListTask, policy: GPTRec, sizes: Sizes, settings: AlignSettings
) -> dict[str, Any]:
    """Medians of the rounds: seconds of the parts, lists a second, their ratios, and shares of a
    product's speed."""
    env = ListGenerationVectorEnv(task, sizes.histories * sizes.lists, sizes.lists)
    ways = make_ways(policy, settings)
    products = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    seconds: dict[str, list[list[float]]] = {name: [] for name in ways}
    speeds: dict[str, list[float]] = {name: [] for name in products}
    with FlopCounterMode(display=False) as counter:
        ways["shared"].iterate(env, settings, seed=0)
    for seed in range(sizes.repeats + 1):
        for name, way in ways.items():
            seconds[name].append(way.iterate(env, settings, seed))
        for name, kind in products.items():
            speeds[name].append(product_speed(sizes.product, kind))
    whole = {name: median(sum(parts) for parts in found[1:]) for name, found in seconds.items()}
    out: dict[str, Any] = {
        "lists_per_second": {name: env.num_envs / taken for name, taken in whole.items()}
    }
    out |= {f"shared/{name}": whole[name] / whole["shared"] for name in ("apart", "generate")}
    for name, found in seconds.items():
        out[f"{name}_seconds"] = dict(
            zip(PARTS, np.median(found[1:], axis=0).tolist(), strict=True)
        )
    out["multiply_adds"] = counter.get_total_flops() // 2
    for name, found in speeds.items():
        out[f"{name}_product_multiply_adds_per_second"] = median(found[1:])
        out[f"of_a_{name}_product"] = out["multiply_adds"] / whole["shared"] / median(found[1:])
    return out


def show(found: dict[str, Any]) -> None:
    """Print the parts, the ratios and the shares."""
    print(f"{'seconds of':<14}" + "".join(f"{part:>10}" for part in PARTS) + f"{'lists / s':>12}")
    for name, speed in found["lists_per_second"].items():
        print(
            f"{name:<14}"
            + "".join(f"{taken:>10.3f}" for taken in found[f"{name}_seconds"].values())
            + f"{speed:>12.1f}"
        )
    for name in ("shared/apart", "shared/generate"):
        print(
            f"{name:<18}{found[name]:>6.2f}  aim {AIM:g}:"
            f" {'met' if found[name] >= AIM else 'missed'}"
        )
    print(
        f"shared multiplies and adds {found['multiply_adds'] / 1e9:.3g}e9 times an iteration, at"
        " the speed"
    )
    for name in ("float32", "bfloat16"):
        speed = found[f"{name}_product_multiply_adds_per_second"]
        print(
            f"  of a {name} product ({speed / 1e9:.0f}e9 a second):"
            f" {found[f'of_a_{name}_product']:.1%}"
        )


def main() -> None:
    """Compare, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, help=f"{field.default} by default")
    parser.add_argument("--float32", action="store_true", help="no products in bfloat16")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check the script")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    given = {field.name: getattr(options, field.name) for field in fields(Sizes)}
    sizes = replace(
        QUICK if options.quick else Sizes(),
        **{name: n for name, n in given.items() if n is not None},
    )
    torch.set_num_threads(sizes.threads)
    settings = AlignSettings(bf16=not options.float32)
    task, policy = make_task(sizes), make_policy(sizes)
    apart = differences(make_ways(policy, settings), task, sizes, settings)
    assert max(apart.values()) < CLOSE, (
        f"the ways do not compute the same: they differ by up to {apart}"
    )
    found = measured(task, policy, sizes, settings)
    show(found)
    if options.json:
        about = {
            "command": "python " + " ".join(sys.argv),
            "sizes": asdict(sizes),
            "bf16": settings.bf16,
        }
        about |= {
            "epochs": settings.epochs,
            "minibatches": settings.minibatches,
            "date": time.strftime("%Y-%m-%d"),
        }
        write_json(options.json, {**about, **versions(), "largest_differences": apart, **found})


if __name__ == "__main__":
    main()
