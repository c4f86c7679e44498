"""Reinforcement learning of a policy: which agent trains it, and from where."""

import logging
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from genrec.agents.config import MaskablePPOConfig
from genrec.agents.gptrec.model import GPTRec
from genrec.agents.trainer import Trainer
from genrec.config.errors import GenrecError
from genrec.envs import ListGenerationVectorEnv
from genrec.pipeline.list_tasks import list_task, validation
from genrec.pipeline.loading import calibrated, conditioned_policy
from genrec.pipeline.provenance import with_decided_precision
from genrec.pipeline.workspace import Workspace
from genrec.results import RunMetadata
from genrec.rewards import Ranges, RewardObjective

logger = logging.getLogger(__name__)

# align.agent -> module with ``train``, and the extra that installs its libraries
AGENTS = {
    "ppo": ("genrec.agents.ppo", ""),
    "sb3": ("genrec.agents.sb3.trainer", "sb3"),
    "grpo": ("genrec.agents.trl.trainer", "trl"),
}


def reinforce(
    workspace: Workspace,
    objective: RewardObjective,
    train: Trainer[Any],
    *,
    teacher: Path,
    student: Path,
    start: Path,
    out: Path,
) -> tuple[GPTRec, dict[str, float]]:
    """Reinforcement learning from a start: the best policy, and its validation metrics.

    The student is a candidate too, so that an alignment that finds nothing better returns it.
    """
    settings = workspace.settings
    logger.info("aligned: %s for %s, in %s", start, objective.reward.name, out)
    policy = conditioned_policy(start, objective.ranges, workspace)
    untouched = conditioned_policy(student, objective.ranges, workspace)
    if RunMetadata.read(start).kind != "aligned":  # an aligned policy was sharpened before
        policy.apply_temperature(settings.align.temperature)
    scorer = calibrated(teacher, workspace)
    validate = validation(workspace, objective, scorer)
    task = list_task(
        workspace,
        objective.reward,
        probabilities=scorer.probabilities,
        max_length=policy.max_length,
    )
    env = ListGenerationVectorEnv(
        replace(task, ranges=objective.ranges),
        num_envs=settings.align.histories * settings.align.group_size,
        group_size=settings.align.group_size,
    )
    config = settings.align
    if not isinstance(config, MaskablePPOConfig):  # which is always in float32
        shape = policy.product_shape(config.histories)
        config = with_decided_precision(config, out, workspace.device, shape)
    val = train(
        policy,
        env,
        validate=validate,
        config=config,
        k=settings.k,
        seed=settings.seed,
        directory=out,
        quiet=workspace.quiet,
        trackers=settings.trackers,
    )
    first = validate(untouched)
    if first["objective"] < val["objective"]:
        return policy, val
    logger.info("the student is kept: no policy is better on the validation cases")
    return untouched, first


def trainer(agent: str) -> Trainer[Any]:
    """The function that trains with an agent.

    Raises:
        GenrecError: naming what to install where its library is missing.
    """
    name, extra = AGENTS[agent]
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if not extra or library == "genrec":
            raise
        raise GenrecError(
            f"--agent {agent} needs {library}, which is not installed:"
            f' pip install "genrec[{extra}]"'
        ) from error
    return cast(Trainer[Any], module.train)


def require_fixed_weights(ranges: Ranges, agent: str) -> None:
    """Raise GenrecError where weights have ranges and the agent trains for fixed ones."""
    if ranges and agent != "ppo":
        name, (low, high) = next(iter(ranges.items()))
        raise GenrecError(
            f"--agent {agent} trains for fixed weights, but {name}={low:g}:{high:g} is a range: use"
            " --agent ppo, or give one weight"
        )
