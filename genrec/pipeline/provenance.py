"""The metadata of a run directory: its plan while it runs, ``run.json`` once it is finished."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec.config.errors import RunError
from genrec.pipeline.settings import Settings, settings_of
from genrec.pipeline.workspace import Workspace
from genrec.results import Kind, RunMetadata, RunPlan
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.run_directory import versions, write_json

logger = logging.getLogger(__name__)

# Which sections of the settings a stage depends on
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher",),
    "student": ("teacher", "student"),
    "supervised_warmup": ("teacher", "student", "align"),
    "aligned": ("teacher", "student", "align"),
}
ALL_DEPEND_ON = ("k", "split", "hold_back")


def begin_run(out: Path, kind: Kind, workspace: Workspace, **origin: Any) -> None:
    """Write the plan of a stage; a checkpoint of another run is refused.

    Args:
        out: run directory, made if missing.
        kind: stage.
        workspace: settings and data.
        origin: what else the stage depends on, fields of ``RunPlan``.

    Raises:
        RunError: naming what differs.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = _plan(kind, workspace, origin)
    if (out / CHECKPOINT).exists():
        _require_same(RunPlan.read(out), plan, f"{out} holds a checkpoint of a run")
        logger.info("%s: resuming from the checkpoint in %s", kind, out)
    plan.write(out)


def is_finished(out: Path, kind: Kind, workspace: Workspace, **origin: Any) -> bool:
    """Whether a directory already holds this stage, made the same way.

    Raises:
        RunError: if it holds a finished run that differs.
    """
    if not (out / RunMetadata.file_name).exists():
        return False
    _require_same(RunPlan.read(out), _plan(kind, workspace, origin), f"{out} holds a finished run")
    logger.info("%s: %s is finished, nothing to do", kind, out)
    return True


def finish_run(
    out: Path, kind: Kind, workspace: Workspace, *, val: Mapping[str, float], **results: Any
) -> RunMetadata:
    """Write ``items.json`` and ``run.json``: from now on the directory is a finished run.

    Args:
        out: run directory.
        kind: stage.
        workspace: settings and data.
        val: metrics on the validation cases.
        results: further fields of ``RunMetadata``.
    """
    titles = workspace.split.catalogue.titles[1:].tolist()
    write_json(out / "items.json", {"ids": workspace.item_ids, "titles": titles})
    metadata = RunMetadata(
        kind=kind,
        settings=workspace.settings.model_dump(mode="json"),
        fingerprint=workspace.split.fingerprint,
        train_fingerprint=workspace.split.train_fingerprint,
        versions=versions(),
        val=dict(val),
        **results,
    )
    metadata.write(out)
    return metadata


def require_run(run: Path, kinds: Sequence[Kind], workspace: Workspace) -> RunMetadata:
    """The metadata of a finished run of one of these kinds that was made on the same data.

    Raises:
        RunError: if the run is of another kind, or was made on other data, another split or other
            training events.
    """
    found, split = RunMetadata.read(run), workspace.split
    made = settings_in(run)
    if found.kind not in kinds:
        raise RunError(f"{run} is a {found.kind} run; a {' or '.join(kinds)} run is needed here")
    if found.fingerprint != split.fingerprint:
        then, now = made.dataset, workspace.settings.dataset
        changed = "the log, its item file or how they are read has changed since: "
        raise RunError(
            f"{run} was made on {then} (fingerprint {found.fingerprint}), but {now} has fingerprint"
            f" {split.fingerprint}: {changed if then == now else ''}give the dataset it was made on"
        )
    if made.split != workspace.settings.split:
        raise RunError(f"{run} was made on the {made.split} split, not {workspace.settings.split}")
    _require_same_events(run, found, made.hold_back, workspace)
    return found


def _require_same_events(
    run: Path, found: RunMetadata, hold_back: int, workspace: Workspace
) -> None:
    """Raise RunError where a run was trained on other events, perhaps on held-out ones."""
    ours, split = workspace.settings.hold_back, workspace.split
    danger = "it may have seen events that this run is rewarded or evaluated on"
    if hold_back != ours:
        raise RunError(
            f"{run} was made with hold_back={hold_back}, not {ours}: {danger}. Set"
            f" hold_back={hold_back}, or make teacher and student anew with hold_back={ours}"
        )
    if found.train_fingerprint != split.train_fingerprint:
        raise RunError(
            f"{run} was trained on other events (train_fingerprint {found.train_fingerprint}) than"
            f" this split has for training ({split.train_fingerprint}): {danger}. Split the log as"
            " for that run, or make teacher and student anew"
        )


def settings_in(run: Path) -> Settings:
    """The settings of a finished run.

    Raises:
        RunError: if the directory holds no finished run.
        ConfigError: if its settings cannot be used.
    """
    return settings_of(RunMetadata.read(run).settings)


def parent_run(run: Path, kind: Kind) -> Path:
    """The directory of the teacher, student or warm-up that a run was made from.

    Raises:
        RunError: if the run names none.
    """
    metadata = RunMetadata.read(run)
    path: str | None = getattr(metadata, kind)
    if path is None:
        raise RunError(f"{run} is a {metadata.kind} run and names no {kind}")
    return Path(os.path.normpath(run / path))


def _plan(kind: Kind, workspace: Workspace, origin: Mapping[str, Any]) -> RunPlan:
    """What a stage depends on: two runs with the same plan are the same run."""
    settings = workspace.settings.model_dump(mode="json")
    return RunPlan(
        kind=kind,
        fingerprint=workspace.split.fingerprint,
        train_fingerprint=workspace.split.train_fingerprint,
        settings={key: settings[key] for key in (*SECTIONS[kind], *ALL_DEPEND_ON, "seed")},
        **origin,
    )


def _require_same(found: RunPlan, wanted: RunPlan, where: str) -> None:
    if differs := wanted.differences(found):
        raise RunError(
            f"{where} that differs in {', '.join(differs)}: choose another directory or remove it"
        )
