"""Group-relative policy optimisation (GRPO) with TRL, in genrec's environment and with its sampler.

TRL provides the loop, the advantages and the loss [Shao et al. 2024, eq. 3]; genrec provides the
lists, the masks (``genrec.agents.trl.model``), the rewards, the validation and the run directory.
"""

import contextlib
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from genrec.agents.config import GRPOConfig
from genrec.agents.gptrec.decoding import sample
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.rollout import play
from genrec.agents.trainer import PolicyValidation, Validate, policy_checkpointer, update_seed
from genrec.agents.trl.model import ListModel, item_tokenizer
from genrec.config.errors import DivergenceError
from genrec.data.sequences import Sequences
from genrec.rewards.check import locate_errors
from genrec.training.device import autocast, reproducible, with_precision
from genrec.training.interruption import Interrupted, interruptible
from genrec.training.logger import RunLogger
from genrec.training.schedule import linear_decay

try:
    from datasets import Dataset
    from trl import GRPOConfig as TRLArguments
    from trl import GRPOTrainer
except ModuleNotFoundError as error:
    message = (
        f'genrec.agents.trl needs {error.name}, which is not installed: pip install "genrec[trl]"'
    )
    raise ModuleNotFoundError(message, name=error.name) from error

# Prefix of the columns that carry the gains of the lists to the reward functions.
EARNED = "earned "
# What TRL counts since its process started, which says nothing about a training that was resumed
OF_THE_PROCESS = ("num_tokens", "epoch")
# TRL's names -> ours, for what the other agents log too.
METRICS = {
    "entropy": "entropy",
    "reward": "reward",
    "clip_ratio/region_mean": "clip_fraction",
    "kl": "ref_kl",
}


def train(
    policy: GPTRec,
    env: VectorEnv[Any, Any, Any],
    *,
    validate: Validate,
    config: GRPOConfig,
    k: int,
    seed: int = 0,
    directory: Path | None = None,
    quiet: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, float]:
    """Fine-tune a policy with GRPO for the rewards of the environment; see ``Trainer``.

    An update writes ``group_size`` lists per history, exactly those that ``ppo.train`` would write
    with the same weights and seed, and takes ``epochs`` x ``minibatches`` gradient steps. A list is
    rewarded at its end: every term of the reward is a reward function of TRL with the term's
    weight. The environment's reset must also give ``infos["reward_weights"]``, name -> weight.

    TRL calls ``epochs`` num_iterations, ``minibatches`` steps_per_generation, ``clip`` epsilon,
    ``kl`` beta and ``entropy`` entropy_coef.
    """
    config = with_precision(config, policy.device, policy.product_shape(config.histories))
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        log = stack.enter_context(RunLogger(directory, "align", quiet=quiet, trackers=trackers))
        interruption = stack.enter_context(interruptible())
        stack.enter_context(reproducible(policy.device))
        optimizer = torch.optim.AdamW(
            policy.parameters(), lr=config.learning_rate, weight_decay=0.0
        )
        reference = None
        if config.kl:
            reference = ListModel(copy.deepcopy(policy)).requires_grad_(False).train(False)
        validation = PolicyValidation(
            policy,
            policy_checkpointer(directory, policy, optimizer),
            validate=validate,
            config=config,
            log=log,
            interruption=interruption,
        )
        validation.show = stack.enter_context(log.progress(config.updates, validation.update))
        validation.step(validation.update)
        if validation.update < config.updates:
            stack.enter_context(_known_warnings_ignored())
            # TRL insists on a directory of its own; nothing is left in it.
            output = stack.enter_context(tempfile.TemporaryDirectory())
            callback = CheckpointCallback(validation, config)
            trainer = grpo(
                callback, env, config=config, reference=reference, k=k, seed=seed, output=output
            )
            trainer.train()
            if callback.interrupted:
                raise callback.interrupted
    return validation.restore_best()


@contextlib.contextmanager
def _known_warnings_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        # rollout_func is experimental; the other one is about a default of TRL, not about ours.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated")
        yield


def _arguments(
    config: GRPOConfig, *, lists: int, k: int, seed: int, device: torch.device, output: str
) -> TRLArguments:
    """The hyperparameters as TRL's arguments; TRL itself reports, saves and prints nothing."""
    return TRLArguments(
        output_dir=output,
        per_device_train_batch_size=lists // config.minibatches,
        steps_per_generation=config.minibatches,
        gradient_accumulation_steps=1,
        num_generations=config.group_size,
        num_iterations=config.epochs,
        max_completion_length=k,
        epsilon=config.clip,
        entropy_coef=config.entropy,
        loss_type="grpo",
        scale_rewards="group",
        use_bias_correction_kl=False,  # the penalty of the paper, and of ``ppo``
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=config.bf16 is True,
        use_cpu=device.type == "cpu",
        gradient_checkpointing=False,
        shuffle_dataset=False,
        dataloader_pin_memory=False,
        logging_strategy="steps",
        logging_steps=config.epochs * config.minibatches,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )


class _Trainer(GRPOTrainer):  # type: ignore[misc]
    def _send_telemetry(self) -> None:
        """Do nothing: no data leaves the machine."""


def grpo(
    callback: "CheckpointCallback",
    env: VectorEnv[Any, Any, Any],
    *,
    config: GRPOConfig,
    reference: ListModel | None,
    k: int,
    seed: int,
    output: str,
) -> GRPOTrainer:
    """TRL's trainer around genrec's parts, ready for ``train``.

    Its data set has empty prompts, which only count the lists: the environment chooses the
    histories.

    Args:
        callback: knows the policy, the optimizer and the number of updates that are complete.
        env: environment of the lists.
        config: hyperparameters.
        reference: policy of the KL penalty; None without one.
        k: list length.
        seed: random seed.
        output: directory that TRL makes.
    """
    validation = callback.validation
    policy, optimizer = validation.policy, validation.checkpointer.optimizer
    _, infos = env.reset(seed=seed)
    weights: dict[str, float] = infos["reward_weights"]
    left = config.updates - callback.start
    arguments = _arguments(
        config, lists=env.num_envs, k=k, seed=seed, device=policy.device, output=output
    )
    arguments.max_steps = left * callback.steps
    arguments.reward_weights = list(weights.values())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, callback.learning_rate_factor)
    model = ListModel(policy)
    trainer = _Trainer(
        model,
        reward_funcs=[_reward_function(term) for term in weights],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": [""] * (len(infos["histories"]) * left)}),
        processing_class=item_tokenizer([str(item) for item in range(1, policy.num_items + 1)]),
        callbacks=[callback],
        optimizers=(optimizer, schedule),
        rollout_func=ListWriter(policy, env, config=config, k=k, seed=seed, update=callback.update),
    )
    # TRL replaced it by a forward pass that reads the output layer itself, without the masks.
    del model.forward
    # Set here, as TRL would load the reference model by name.
    trainer.beta, trainer.ref_model = config.kl, reference
    trainer.remove_callback(PrinterCallback)
    return trainer


def _reward_function(term: str) -> Callable[..., list[float]]:
    def read(**columns: Any) -> list[float]:
        return list(columns[EARNED + term])

    read.__name__ = term
    return read


@dataclass(frozen=True, eq=False)
class ListWriter:
    """Rollout function of TRL: lists of genrec's sampler, and the gains of each reward term.

    Attributes:
        policy: policy that lists are drawn from, with dropout off.
        env: reset and played once per call.
        config: precision and number of updates.
        k: list length.
        seed: random seed; together with the number of the update it determines histories, lists and
            the order of TRL's minibatches.
        update: function of a trainer's state: number of updates that are complete.
    """

    policy: GPTRec
    env: VectorEnv[Any, Any, Any]
    config: GRPOConfig
    k: int
    seed: int
    update: Callable[[TrainerState], int]

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """Write one list per prompt.

        Returns:
            Token ids of (whole history, SEP) and of the list, log-probabilities, and the columns
            that the reward functions read.
        """
        update = self.update(trainer.state)
        seed = update_seed(self.seed, update)
        torch.manual_seed(seed)
        _, infos = self.env.reset(seed=seed, options={"progress": update / self.config.updates})
        histories: Sequences = infos["histories"]
        group_size = self.env.num_envs // len(histories)
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        with autocast(self.policy.device, self.config.bf16):
            slates, logp = sample(
                self.policy.eval(), histories, self.k, generator=generator, group_size=group_size
            )
        with locate_errors(f"update {update + 1}"):
            _, gains = play(self.env, slates.flatten(0, 1).cpu().numpy())
        # As lists of integers, which is what TRL takes.
        rows = range(len(histories))
        prompt_ids = [[*histories[row].tolist(), self.policy.separator] for row in rows]
        earned = {EARNED + term: found.sum(axis=1).tolist() for term, found in gains.items()}
        return {
            "prompt_ids": [ids for ids in prompt_ids for _ in range(group_size)],
            "completion_ids": slates.flatten(0, 1).tolist(),
            "logprobs": logp.flatten(0, 1).tolist(),
            **earned,
        }


class CheckpointCallback(TrainerCallback):
    """Validates, saves and logs after every update of GRPO.

    Args:
        validation: validates the policy and saves checkpoints.
        config: hyperparameters.

    Attributes:
        start: number of updates in the checkpoint that is resumed.
        steps: gradient steps per update.
        interrupted: raised by the validation after a signal; it is raised again once TRL has
            stopped.
    """

    def __init__(self, validation: PolicyValidation, config: GRPOConfig) -> None:
        self.validation, self.config = validation, config
        self.start = validation.update
        self.steps = config.epochs * config.minibatches
        self.interrupted: Interrupted | None = None

    def update(self, state: TrainerState) -> int:
        """Number of updates that are complete."""
        return self.start + int(state.global_step) // self.steps

    def learning_rate_factor(self, step: int) -> float:
        """Share of the initial learning rate at a gradient step of this process."""
        update = self.start + step // self.steps
        return linear_decay(1.0, update, last=self.config.updates - 1)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Stop before a gradient that is not finite reaches the weights."""
        parameters = self.validation.policy.parameters()
        finite = [p.grad.isfinite().all() for p in parameters if p.grad is not None]
        if not bool(torch.stack(finite).all()):
            update = self.update(state) + 1
            raise DivergenceError(
                f"a gradient is not finite in update {update}: lower the learning rate"
            )

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """Log TRL's metrics of an update, which is complete, and validate."""
        logs: dict[str, float | None] = parts["logs"]
        if "reward" not in logs:  # the summary of the whole training
            return control
        update = self.update(state)
        known = {
            _metric(name): float(value)
            for name, value in logs.items()
            if value is not None and name not in OF_THE_PROCESS
        }
        self.validation.log.log_metrics(update, known)
        self.validation.show_update(update, known["reward"])
        try:
            # After the log, as in the other agents: a checkpoint holds what was logged before it.
            self.validation.step(update)
        except Interrupted as interrupted:
            self.interrupted = interrupted
            control.should_training_stop = True
        return control


def _metric(name: str) -> str:
    """Our name of one of TRL's metrics.

    >>> _metric("rewards/diversity/mean"), _metric("kl"), _metric("grad_norm")
    ('diversity', 'ref_kl', 'trl/grad_norm')
    """
    if name.startswith("rewards/") and name.endswith("/mean"):
        return name.removeprefix("rewards/").removesuffix("/mean")
    return METRICS.get(name, f"trl/{name}")
