"""Models from finished run directories."""

from collections.abc import Mapping
from pathlib import Path

import torch

from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import RunError
from genrec.metrics.calibration import Calibrated
from genrec.pipeline.workspace import Workspace, require_run
from genrec.recipes import load_scorer
from genrec.recommender import Recommender, TopK
from genrec.results import RunMetadata
from genrec.rewards import (
    require_inside,
)


def open_recommender(
    run: Path, device: torch.device, beams: int = 1, weights: Mapping[str, float] | None = None
) -> Recommender:
    """What a run folder recommends with: the teacher's Top-K, or the policy's Next-K.

    Args:
        run: the folder.
        device: where the model goes.
        beams: width of a policy's beam search; 1 is greedy.
        weights: of rewards, for a policy that was trained for ranges of them; the middle of a range
            where not named.

    Raises:
        GenrecError: for a weight that the run was not trained for.
    """
    if RunMetadata.read(run).kind == "teacher":
        require_inside(weights or {}, {})
        return TopK(load_scorer(run, device))
    policy, _, _ = GPTRec.from_pretrained(run)
    return NextK(policy.to(device).at(weights or {}), beams)


def calibrated(teacher: Path, workspace: Workspace) -> Calibrated:
    """The teacher of a folder with the temperature that was fitted on its validation cases."""
    content = require_run(teacher, ("teacher",), workspace)
    if content.temperature is None:
        raise RunError(f"{teacher} is a teacher without a temperature: train it again")
    return Calibrated(load_scorer(teacher, workspace.device), content.temperature)
