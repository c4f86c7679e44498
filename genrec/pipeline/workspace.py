"""What a stage of a run works on, and the books it keeps: plan, description, origin."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genrec.config.errors import GenrecError, RunError
from genrec.config.reading import Settings
from genrec.data import Split, load, split
from genrec.data.config import ReadConfig
from genrec.data.download import KNOWN
from genrec.data.sources import BUILT_IN
from genrec.results import Kind, RunMetadata, RunPlan
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.device import choose_device
from genrec.training.run_directory import versions, write_json

logger = logging.getLogger("genrec")

SECTIONS = {
    "teacher": ("teacher",),
    "student": ("teacher", "student"),
    "supervised_warmup": ("teacher", "student", "align"),
    "aligned": ("teacher", "student", "align"),
}
ALL_DEPEND_ON = ("k", "split", "hold_back")


@dataclass(frozen=True, eq=False)
class Workspace:
    """What every stage of a run works on.

    Attributes:
        settings: of the run.
        split: of its dataset.
        device: where models live.
        quiet: say nothing, show no progress.

    Raises:
        GenrecError: if the split holds back another number of events than the settings say.
    """

    settings: Settings
    split: Split
    device: torch.device
    quiet: bool

    def __post_init__(self) -> None:
        wanted, found = self.settings.hold_back, self.split.hold_back
        if wanted != found:
            raise GenrecError(
                f"hold_back is {wanted} in the settings, but this split holds back {found} event(s)"
                " of a sequence:"
                f" make it with split(dataset, hold_back={wanted})"
            )

    def say(self, message: str) -> None:
        """Log a message, unless quiet."""
        if not self.quiet:
            logger.info(message)


def prepare_workspace(settings: Settings, quiet: bool = False) -> Workspace:
    """Load and split the dataset that the settings name; what was dropped on the way is said."""
    if settings.dataset not in (*BUILT_IN, *KNOWN) and Path(settings.dataset).exists():
        settings = settings.model_copy(update={"dataset": str(Path(settings.dataset).resolve())})
    loaded = load(settings.dataset, ReadConfig(**settings.read.model_dump()))
    parts = split(loaded.dataset, settings.split, settings.hold_back)
    workspace = Workspace(settings, parts, choose_device(settings.device), quiet)
    for sentence in (*loaded.report.sentences(), *parts.notes):
        workspace.say(sentence)
    for warning in loaded.report.warnings:
        logger.warning(warning)
    if not len(parts.valid):
        raise GenrecError(
            f"{settings.dataset}: no user has the 3 events that a validation case takes, nothing"
            " can be tuned"
        )
    return workspace


def folder_of(run: Path, what: str) -> Path:
    """Directory of the teacher, student or supervised warm-up that a run was made from."""
    content = RunMetadata.read(run)
    place: str | None = getattr(content, what)
    if place is None:
        raise RunError(f"{run} is a {content.kind} run and names no {what}")
    return Path(os.path.normpath(run / place))


def finish(out: Path, kind: Kind, workspace: Workspace, results: Mapping[str, Any]) -> None:
    """Write ``run.json`` and ``items.json``: from now on the folder is a finished run."""
    catalogue = workspace.split.catalogue
    items = {"ids": catalogue.item_ids[1:].tolist(), "titles": catalogue.titles[1:].tolist()}
    write_json(out / "items.json", items)
    metadata = RunMetadata(
        kind=kind,
        settings=workspace.settings.model_dump(),
        fingerprint=workspace.split.fingerprint,
        train_fingerprint=workspace.split.train_fingerprint,
        versions=versions(),
        **results,
    )
    metadata.write(out)


def _plan(kind: Kind, workspace: Workspace, **origin: Any) -> RunPlan:
    """What a stage depends on: two runs with the same plan are the same run."""
    settings = workspace.settings.model_dump()
    return RunPlan(
        kind=kind,
        fingerprint=workspace.split.fingerprint,
        train_fingerprint=workspace.split.train_fingerprint,
        settings={key: settings[key] for key in (*SECTIONS[kind], *ALL_DEPEND_ON, "seed")},
        **origin,
    )


def start(out: Path, kind: Kind, workspace: Workspace, **origin: Any) -> None:
    """Note what is about to run; a checkpoint of another run is refused.

    Raises:
        RunError: naming what differs.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = _plan(kind, workspace, **origin)
    if (out / CHECKPOINT).exists():
        _require_same_plan(RunPlan.read(out), plan, f"{out} holds a checkpoint of a run")
        workspace.say(f"{kind}: going on from the checkpoint in {out}")
    plan.write(out)


def is_finished(out: Path, kind: Kind, workspace: Workspace, **origin: Any) -> bool:
    """Whether ``out`` already holds this stage, made the same way.

    Raises:
        RunError: if the folder holds a finished run that differs.
    """
    if not (out / "run.json").exists():
        return False
    plan = _plan(kind, workspace, **origin)
    _require_same_plan(RunPlan.read(out), plan, f"{out} holds a finished run")
    workspace.say(f"{kind}: {out} is finished, nothing to do")
    return True


def _require_same_plan(found: RunPlan, wanted: RunPlan, where: str) -> None:
    """Raise RunError, naming what differs, for two different plans."""
    if differs := wanted.differences(found):
        raise RunError(
            f"{where} that differs in {', '.join(differs)}: choose another folder or remove it"
        )


def require_run(run: Path, kinds: Sequence[str], workspace: Workspace) -> RunMetadata:
    """The description of a finished run of one of these kinds that has seen the training events of
    this data only.

    A run names the events it was trained on (``train_fingerprint``).

    Raises:
        RunError: if it is of another kind, or was made on other data, another split or other
            training events of it.
    """
    content = RunMetadata.read(run)
    if content.kind not in kinds:
        raise RunError(f"{run} is a {content.kind} run; a {' or '.join(kinds)} run is needed here")
    if content.fingerprint != workspace.split.fingerprint:
        then, now = content.settings["dataset"], workspace.settings.dataset
        changed = (
            "the log, its item file or how they are read has changed since: " if then == now else ""
        )
        raise RunError(
            f"{run} was made on {then} (fingerprint {content.fingerprint}), but {now} has"
            " fingerprint"
            f" {workspace.split.fingerprint}: {changed}give the dataset it was made on"
        )
    if content.settings["split"] != workspace.settings.split:
        raise RunError(
            f"{run} was made on the {content.settings['split']} split, not"
            f" {workspace.settings.split}"
        )
    _require_unseen(run, content, workspace)
    return content


def _require_unseen(run: Path, content: RunMetadata, workspace: Workspace) -> None:
    """Raise RunError where a run was trained on other events, so perhaps on held-out ones."""
    theirs, ours = content.settings["hold_back"], workspace.settings.hold_back
    danger = "it may have seen events that this run is paid or evaluated on"
    if theirs != ours:
        raise RunError(
            f"{run} was made with hold_back={theirs}, not {ours}: {danger}. Set hold_back={theirs},"
            " or make teacher and"
            f" student anew with hold_back={ours}"
        )
    if content.train_fingerprint != workspace.split.train_fingerprint:
        raise RunError(
            f"{run} was trained on other events (train_fingerprint {content.train_fingerprint})"
            f" than this split has for training ({workspace.split.train_fingerprint}): {danger}."
            " Split the log as for that run, or make teacher and student anew"
        )
