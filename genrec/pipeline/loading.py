"""Models from finished run directories."""

from collections.abc import Mapping
from pathlib import Path

import torch

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import RunError
from genrec.metrics.calibration import Calibrated
from genrec.pipeline.item_index import ItemIndex
from genrec.pipeline.provenance import require_run, verified
from genrec.pipeline.teachers import load_scorer
from genrec.pipeline.workspace import Workspace
from genrec.recommender import Recommender, TopK
from genrec.rewards import Ranges, require_inside


def calibrated(teacher: Path, workspace: Workspace) -> Calibrated:
    """The teacher of a run with the temperature that was fitted on its validation cases.

    Raises:
        RunError: if the run is no teacher, or was made on other data.
    """
    metadata = require_run(teacher, ("teacher",), workspace)
    assert metadata.temperature is not None  # every teacher has one
    return Calibrated(load_scorer(teacher, workspace.device), metadata.temperature)


def open_recommender(
    run: Path,
    device: torch.device,
    *,
    beams: int = 1,
    weights: Mapping[str, float] | None = None,
) -> Recommender:
    """What a run recommends with: the teacher's Top-K, or the policy's Next-K.

    Args:
        run: run directory.
        device: of the model.
        beams: width of a policy's beam search; 1 is greedy.
        weights: reward weights for a policy that was aligned for ranges of them; the middle of the
            range where a name is missing.

    Raises:
        GenrecError: for a weight that the policy was not aligned for, or a file of the run that was
            changed.
    """
    if verified(run).kind == "teacher":
        require_inside(weights or {}, {})
        return TopK(load_scorer(run, device))
    return NextK(load_policy(run, device).at(weights or {}), beams)


def load_policy(run: Path, device: torch.device) -> GPTRec:
    """The policy of a finished run.

    Raises:
        RunError: if a file of the run was changed, or is of another run.
    """
    metadata = verified(run)
    policy, item_ids, fingerprint = GPTRec.from_pretrained(run)
    if fingerprint != metadata.fingerprint or item_ids != ItemIndex.of(run).ids:
        raise RunError(
            f"{run}: the vocabulary of its policy is that of another dataset (fingerprint"
            f" {fingerprint}, not {metadata.fingerprint}): copy the run again from where it was"
            " made"
        )
    return policy.to(device)


def conditioned_policy(run: Path, ranges: Ranges, workspace: Workspace) -> GPTRec:
    """The policy of a run, conditioned on the ranges of weights where there are any."""
    policy = load_policy(run, workspace.device)
    if ranges or policy.ranges:
        policy.condition(ranges, workspace.settings.seed)
    return policy
