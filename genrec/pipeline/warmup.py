"""The supervised warm-up: a student learns the best lists known for the rewards."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from genrec.agents.distillation import pretrain
from genrec.pipeline.demonstrations import (
    greedy_demonstrations,
    is_paid_for_lists,
    warmup_histories,
)
from genrec.pipeline.loading import calibrated, conditioned_policy
from genrec.pipeline.provenance import (
    begin_run,
    finish_run,
    is_finished,
    with_decided_precision,
)
from genrec.pipeline.workspace import Workspace
from genrec.results import Kind
from genrec.rewards import RewardObjective
from genrec.training.checkpoint import drop_checkpoint

logger = logging.getLogger(__name__)


def supervised_warmup(
    workspace: Workspace,
    objective: RewardObjective,
    *,
    teacher: Path,
    student: Path,
    out: Path,
    origin: dict[str, Any],
) -> Path:
    """Teach a student the best lists known for the rewards, before reinforcement learning.

    The lists are written for whole training sequences, from the teacher's best items and with its
    calibrated probabilities; see ``warmup_histories`` and ``greedy_demonstrations``. Where weights
    have ranges, the policy is conditioned on the weights that a list was written for.

    Returns:
        The run directory of the policy after the warm-up.
    """
    searched = ", searched" if is_paid_for_lists(objective.reward) else ""
    origin = {**origin, "demonstrations": f"whole sequences{searched}"}
    if is_finished(out, "supervised_warmup", workspace, **origin):
        return out
    begin_run(out, "supervised_warmup", workspace, **origin)
    settings, split = workspace.settings, workspace.split
    scorer = calibrated(teacher, workspace)
    policy = conditioned_policy(student, objective.ranges, workspace)
    histories, rows, passes = warmup_histories(
        workspace, settings.align.warmup_lists, objective.ranges
    )
    logger.info(
        "supervised warm-up: %s learns %d lists, %d time(s) each, in %s",
        *(student, len(rows), passes, out),
    )
    config = settings.student.model_copy(update={"hard": 0.0, "temperature": 1.0, "epochs": passes})
    shape = policy.product_shape(config.lists_per_step)
    every_case = np.arange(len(split.valid))
    val = pretrain(
        policy,
        greedy_demonstrations(workspace, scorer, histories, rows, objective),
        split=split,
        val_demonstrations=greedy_demonstrations(
            workspace, scorer, split.valid.histories, every_case, objective
        ),
        config=with_decided_precision(config, out, workspace.device, shape),
        k=settings.k,
        seed=settings.seed,
        directory=out,
        quiet=workspace.quiet,
        trackers=settings.trackers,
    )
    policy.save_pretrained(out, workspace.item_ids, split.fingerprint)
    parents: dict[Kind, Path] = {"teacher": teacher, "student": student}
    finish_run(out, "supervised_warmup", workspace, val=val, parents=parents)
    drop_checkpoint(out)
    return out
