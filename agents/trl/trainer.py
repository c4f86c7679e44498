"""Group-relative policy optimisation with TRL's GRPOTrainer, in our environment and with our
sampler.

What is TRL's: advantages and loss [Shao et al. 2024, eq. 3], and the loop. What is ours: the lists,
the masks (``language_model``), the rewards, the choice of the weights to keep, the run folder.
"""

import contextlib
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from genrec.agents.gptrec.decoding import sample
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.keeper import Keeper
from genrec.agents.rollout import play
from genrec.agents.trl.model import ListModel, item_tokenizer
from genrec.config.errors import DivergenceError, GenrecError
from genrec.config.reading import AlignSettings
from genrec.data.sequences import Sequences
from genrec.rewards.check import locate_errors
from genrec.training.device import autocast, half_precision_pays
from genrec.training.interruption import Interrupted, interruptible
from genrec.training.logger import Logbook

try:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer
except ModuleNotFoundError as error:
    message = (
        f'genrec.agents.trl needs {error.name}, which is not installed: pip install "genrec[trl]"'
    )
    raise ModuleNotFoundError(message, name=error.name) from error

EARNED = "earned "  # prefix of the columns that carry what the lists earned to the reward functions
LOGGED = {
    "entropy": "entropy",
    "reward": "reward",
    "clip_ratio/region_mean": "clip fraction",
    "kl": "kl from student",
}


def train(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    validate: Callable[[GPTRec], Mapping[str, float]],
    settings: AlignSettings,
    k: int,
    seed: int = 0,
    folder: Path | None = None,
    quiet: bool = False,
) -> dict[str, float]:
    """Fine-tune a policy with GRPO for what the environment pays; the same contract as
    ``genrec.agents.ppo.train``.

    An update writes ``group_size`` lists for each history, exactly those that our PPO would write
    with the same weights and seed, and takes ``epochs`` x ``minibatches`` steps on them. A list is
    paid at its end: every term of the reward is a reward function of TRL with the term's weight.

    Args:
        policy: trained in place; starts as the student.
        env: list-generation vector environment; see ``rollout.collect``. Its reset also gives
            ``infos["reward_weights"]``, name -> weight.
        validate: measures the greedy policy; its "objective" chooses the weights to keep.
        settings: ``epochs`` are TRL's num_iterations, ``minibatches`` its steps_per_generation,
            ``clip`` its epsilon, ``kl`` its beta, ``entropy`` its entropy_coef; ``gae_lambda`` is
            not read.
        k: list length.
        seed: of everything random.
        folder: receives metrics and a checkpoint; training goes on from a checkpoint found there.
        quiet: no progress bar.

    Returns:
        The validation of the kept weights and the update they come from.

    Raises:
        GenrecError: for settings that GRPO cannot express.
        DivergenceError: when a gradient is no longer finite.
        Interrupted: after Ctrl-C, once the checkpoint is saved.
        RewardError: when a reward raises or gives something else than finite gains; the last
            checkpoint stays.
    """
    require_expressible(settings)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        log = stack.enter_context(Logbook(folder, "align", quiet))
        stop = stack.enter_context(interruptible())
        optimizer = torch.optim.AdamW(
            policy.parameters(), lr=settings.learning_rate, weight_decay=0.0
        )
        student = (
            ListModel(copy.deepcopy(policy)).requires_grad_(False).train(False)
            if settings.kl
            else None
        )
        keeper = Keeper(policy, policy, optimizer, validate, settings, log, stop)
        keeper.bar = stack.enter_context(log.progress(settings.updates, keeper.update))
        keeper.arrive(keeper.update)
        if keeper.update < settings.updates:
            stack.enter_context(_trl_warnings_silenced())
            place = stack.enter_context(tempfile.TemporaryDirectory())  # TRL insists on one
            watch = Watch(keeper)
            grpo(watch, student, env, k, seed, place).train()
            if watch.interrupted:
                raise watch.interrupted
    return keeper.give()


def require_expressible(settings: AlignSettings) -> None:
    """Say which settings GRPO has no place for.

    Raises:
        GenrecError: naming the setting and its remedy.
    """
    if settings.baseline != "group":
        raise GenrecError("GRPO has no critic: set align.baseline=group, or train with --agent ppo")
    if settings.discount != 1:
        raise GenrecError(
            f"TRL pays a list at its end, where a discount of {settings.discount:g} has no place:"
            " set align.discount=1,"
            " or train with --agent ppo"
        )
    if settings.kl_target:
        raise GenrecError(
            f"align.kl_target is {settings.kl_target:g}, but the weight of TRL's KL penalty is"
            " fixed: set"
            " align.kl_target=null, or train with --agent ppo"
        )
    if settings.group_size < 2:
        raise GenrecError(
            "GRPO compares the lists of a history: raise align.group_size to 2 or more"
        )
    lists = settings.histories * settings.group_size
    if lists % settings.minibatches:
        raise GenrecError(
            f"TRL cuts {lists} lists into equal minibatches:"
            f" align.minibatches={settings.minibatches} does not divide"
            " align.histories x align.group_size"
        )


@contextlib.contextmanager
def _trl_warnings_silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")  # experimental
        warnings.filterwarnings(
            "ignore", message=".*gradient_checkpointing` is deprecated"
        )  # TRL's word, not ours
        yield


def _arguments(
    settings: AlignSettings, lists: int, k: int, seed: int, device: torch.device, place: str
) -> GRPOConfig:
    """Our settings in TRL's words; nothing is reported, saved or printed by TRL."""
    return GRPOConfig(
        output_dir=place,
        per_device_train_batch_size=lists // settings.minibatches,
        steps_per_generation=settings.minibatches,
        gradient_accumulation_steps=1,
        num_generations=settings.group_size,
        num_iterations=settings.epochs,
        max_completion_length=k,
        epsilon=settings.clip,
        entropy_coef=settings.entropy,
        loss_type="grpo",
        scale_rewards="group",
        use_bias_correction_kl=False,  # the penalty of the paper, and of our PPO
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=settings.bf16 and half_precision_pays(device),
        use_cpu=device.type == "cpu",
        gradient_checkpointing=False,
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        logging_strategy="steps",
        logging_steps=settings.epochs * settings.minibatches,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )


class _Trainer(GRPOTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""


def grpo(
    watch: "Watch",
    student: ListModel | None,
    env: VectorEnv[Any, Any, Any],
    k: int,
    seed: int,
    place: str,
) -> GRPOTrainer:
    """TRL's trainer around our parts, ready for ``train``. Its data only count: the environment
    draws the histories.

    Args:
        watch: its keeper knows the policy, the optimiser and the settings.
        student: the policy at the start, where a KL penalty needs it.
        env: of the lists.
        k: list length.
        seed: of everything random.
        place: a folder that TRL makes.
    """
    policy, settings, optimizer = watch.keeper.policy, watch.keeper.settings, watch.keeper.optimizer
    _, infos = env.reset(seed=seed)
    weights: dict[str, float] = infos["reward_weights"]
    arguments = _arguments(settings, env.num_envs, k, seed, policy.device, place)
    arguments.max_steps = (settings.updates - watch.start) * watch.steps
    arguments.reward_weights = list(weights.values())
    prompts = [""] * (len(infos["histories"]) * (settings.updates - watch.start))
    model = ListModel(policy)
    trainer = _Trainer(
        model,
        reward_funcs=[_reward_function(term) for term in weights],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=item_tokenizer([str(item) for item in range(1, policy.num_items + 1)]),
        callbacks=[watch],
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, watch.rate)),
        rollout_func=ListWriter(policy, env, settings, k, seed, watch.update),
    )
    del (
        model.forward
    )  # TRL put another in its place that reads the output layer itself, past the masks
    trainer.beta, trainer.ref_model = settings.kl, student  # TRL would look for the student by name
    trainer.remove_callback(PrinterCallback)
    return trainer


def _reward_function(term: str) -> Callable[..., list[float]]:
    def read(**columns: Any) -> list[float]:
        return list(columns[EARNED + term])

    read.__name__ = term
    return read


@dataclass(frozen=True, eq=False)
class ListWriter:
    """TRL's rollout: lists from our sampler, and what each term of the reward pays for them.

    Attributes:
        policy: draws from its distribution, dropout off.
        env: is reset and played once a call.
        settings: for the precision.
        k: list length.
        seed: with the number of the update it decides histories, lists and the order of TRL's
            minibatches.
        update: of a trainer's state, the number of the update it is in.
    """

    policy: GPTRec
    env: VectorEnv[Any, Any, Any]
    settings: AlignSettings
    k: int
    seed: int
    update: Callable[[TrainerState], int]

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """Token ids of (whole history + SEP) and list, log-probabilities, and the columns of the
        reward functions."""
        update = self.update(trainer.state)
        seed = self.seed * 1_000_003 + update
        torch.manual_seed(seed)
        _, infos = self.env.reset(seed=seed, options={"progress": update / self.settings.updates})
        histories: Sequences = infos["histories"]
        group_size = self.env.num_envs // len(histories)
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        with autocast(self.policy.device, self.settings.bf16):
            slates, logp = sample(
                self.policy.eval(), histories, self.k, generator=generator, group_size=group_size
            )
        with locate_errors(f"update {update + 1}"):
            _, gains = play(self.env, slates.flatten(0, 1).cpu().numpy())
        known = [
            [*histories[row].tolist(), self.policy.separator] for row in range(len(histories))
        ]  # TRL wants lists
        return {
            "prompt_ids": [known[row] for row in np.repeat(np.arange(len(known)), group_size)],
            "completion_ids": slates.flatten(0, 1).tolist(),
            "logprobs": logp.flatten(0, 1).tolist(),
            **{EARNED + term: found.sum(axis=1).tolist() for term, found in gains.items()},
        }


class Watch(TrainerCallback):
    """Tells the keeper of every update, and the log what TRL measured in it.

    Attributes:
        keeper: of the training.
        start: updates that a checkpoint brought along.
        steps: gradient steps of an update.
        interrupted: what the keeper said after Ctrl-C; TRL first logs the update at which it stops.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.start = keeper, keeper.update
        self.steps = keeper.settings.epochs * keeper.settings.minibatches
        self.interrupted: Interrupted | None = None

    def update(self, state: TrainerState) -> int:
        """How many updates are complete."""
        return self.start + int(state.global_step) // self.steps

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step of this training: falls to 5 % over the updates."""
        return 1 - 0.95 * (self.start + step // self.steps) / max(
            1, self.keeper.settings.updates - 1
        )

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Stop before a broken gradient reaches the weights."""
        gradients = [
            p.grad.isfinite().all() for p in self.keeper.policy.parameters() if p.grad is not None
        ]
        if not bool(torch.stack(gradients).all()):
            at = self.update(state) + 1
            raise DivergenceError(
                f"a gradient is not finite in update {at}: lower the learning rate"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """An update may be complete."""
        if state.global_step % self.steps == 0:
            try:
                self.keeper.arrive(self.update(state))
            except Interrupted as interrupted:
                self.interrupted = interrupted
                control.should_training_stop = True
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """TRL's measures of an update, under our names where we have one."""
        logs: dict[str, float | None] = parts["logs"]
        if "reward" not in logs:  # the summary at the end
            return
        known = {_our_name(name): float(value) for name, value in logs.items() if value is not None}
        self.keeper.log.record(self.update(state), known)
        self.keeper.show(self.update(state), known["reward"])


def _our_name(name: str) -> str:
    if name.startswith("rewards/") and name.endswith("/mean"):
        return name.removeprefix("rewards/").removesuffix("/mean")
    return LOGGED.get(name, f"trl {name}")
