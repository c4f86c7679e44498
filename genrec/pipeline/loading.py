"""Models from finished run directories."""

from collections.abc import Mapping
from pathlib import Path

import torch

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.metrics.calibration import Calibrated
from genrec.pipeline.provenance import require_run
from genrec.pipeline.teachers import load_scorer
from genrec.pipeline.workspace import Workspace
from genrec.recommender import Recommender, TopK
from genrec.results import RunMetadata
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
        GenrecError: for a weight that the policy was not aligned for.
    """
    if RunMetadata.read(run).kind == "teacher":
        require_inside(weights or {}, {})
        return TopK(load_scorer(run, device))
    policy = GPTRec.from_pretrained(run)[0].to(device)
    return NextK(policy.at(weights or {}), beams)


def conditioned_policy(run: Path, ranges: Ranges, workspace: Workspace) -> GPTRec:
    """The policy of a run, conditioned on the ranges of weights where there are any."""
    policy = GPTRec.from_pretrained(run)[0].to(workspace.device)
    if ranges or policy.ranges:
        policy.condition(ranges, workspace.settings.seed)
    return policy
