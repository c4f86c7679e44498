"""What every stage of a run works on: settings, data and a device."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from genrec.config.errors import GenrecError
from genrec.data import Split, load, split
from genrec.data.download import KNOWN
from genrec.data.sources import BUILT_IN
from genrec.pipeline.settings import Settings
from genrec.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Workspace:
    """What every stage of a run works on.

    Attributes:
        settings: of the run.
        split: of its dataset.
        device: of the models.
        quiet: show no progress.

    Raises:
        GenrecError: if the split holds back another number of events than the settings say.
    """

    settings: Settings
    split: Split
    device: torch.device
    quiet: bool = False

    def __post_init__(self) -> None:
        wanted, found = self.settings.hold_back, self.split.hold_back
        if wanted != found:
            raise GenrecError(
                f"hold_back is {wanted} in the settings, but this split holds back {found} event(s)"
                f" of a sequence: make it with split(dataset, hold_back={wanted})"
            )

    @property
    def item_ids(self) -> list[str]:
        """Raw ids of items 1..V."""
        ids: list[str] = self.split.catalogue.item_ids[1:].tolist()
        return ids


def prepare_workspace(settings: Settings, quiet: bool = False) -> Workspace:
    """Load and split the dataset that the settings name, and choose the device.

    What was dropped or changed in reading is logged.

    Raises:
        GenrecError: if no user has enough events for a validation case.
    """
    if settings.dataset not in (*BUILT_IN, *KNOWN) and Path(settings.dataset).exists():
        settings = settings.model_copy(update={"dataset": str(Path(settings.dataset).resolve())})
    loaded = load(settings.dataset, settings.read)
    parts = split(loaded.dataset, settings.split, settings.hold_back)
    workspace = Workspace(settings, parts, choose_device(settings.device), quiet)
    for sentence in (*loaded.report.sentences(), *parts.notes):
        logger.info(sentence)
    for warning in loaded.report.warnings:
        logger.warning(warning)
    if not len(parts.valid):
        raise GenrecError(
            f"{settings.dataset}: no user has the 3 events that a validation case takes, so that"
            " nothing can be tuned"
        )
    return workspace
