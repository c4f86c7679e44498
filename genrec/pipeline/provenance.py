"""The metadata of a run directory: its plan while it runs, ``run.json`` once it is finished."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from genrec.config.errors import RunError
from genrec.config.writing import digest, remove_parts
from genrec.pipeline.settings import Settings, settings_of
from genrec.pipeline.workspace import Workspace
from genrec.results import Kind, RunMetadata, RunPlan
from genrec.training.checkpoint import CHECKPOINT, drop_checkpoint
from genrec.training.device import ConfigT, describe_machine, with_precision
from genrec.training.run_directory import exclusive, relative, versions, write_json
from genrec.training.trackers import METRICS

logger = logging.getLogger(__name__)

# Which sections of the settings a stage depends on
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher",),
    "student": ("teacher", "student"),
    "supervised_warmup": ("teacher", "student", "align"),
    "aligned": ("teacher", "student", "align"),
}
ALL_DEPEND_ON = ("k", "split", "hold_back")
ITEMS = "items.json"
# Files that describe a run and that its model is not loaded from
DESCRIPTIONS = (RunPlan.file_name, ITEMS, METRICS)
# What other commands, and people, may write into the directory of a finished run
NOT_LOADED = ("comparison.", "demonstrations-", "README", ".")


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Be the only process that writes a run; a finished one is only read and needs no lock.

    Raises:
        RunError: if another process writes it, or the directory holds something else.
    """
    if (out / RunMetadata.file_name).exists():
        yield
        return
    with exclusive(out):
        yield


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
    remove_parts(out)
    plan = _plan(kind, workspace, origin)
    if (out / CHECKPOINT).exists():
        plan = _require_same(RunPlan.read(out), plan, f"{out} holds a checkpoint of a run")
        logger.info("%s: resuming from the checkpoint in %s", kind, out)
    elif (out / RunPlan.file_name).exists():
        RunPlan.read(out)  # refuses a file of something else
    plan.write(out)


def is_finished(out: Path, kind: Kind, workspace: Workspace, **origin: Any) -> bool:
    """Whether a directory already holds this stage, made the same way.

    Raises:
        RunError: if it holds a finished run that differs.
    """
    if not (out / RunMetadata.file_name).exists():
        return False
    _require_same(RunPlan.read(out), _plan(kind, workspace, origin), f"{out} holds a finished run")
    verified(out)
    with contextlib.suppress(OSError):  # of a process that was killed before it could remove it
        drop_checkpoint(out)
    logger.info("%s: %s is finished, nothing to do", kind, out)
    return True


def finish_run(
    out: Path,
    kind: Kind,
    workspace: Workspace,
    *,
    val: Mapping[str, float],
    parents: Mapping[Kind, Path] | None = None,
    **results: Any,
) -> RunMetadata:
    """Write ``items.json`` and ``run.json``: from now on the directory is a finished run.

    Args:
        out: run directory.
        kind: stage.
        workspace: settings and data.
        val: metrics on the validation cases.
        parents: the runs that this one was made from.
        results: further fields of ``RunMetadata``.
    """
    titles = workspace.split.catalogue.titles[1:].tolist()
    write_json(out / ITEMS, {"ids": workspace.item_ids, "titles": titles})
    parents = parents or {}
    metadata = RunMetadata(
        kind=kind,
        settings=workspace.settings.model_dump(mode="json"),
        fingerprint=workspace.split.fingerprint,
        train_fingerprint=workspace.split.train_fingerprint,
        versions=versions(),
        machine=_machine(out, workspace),
        files={name: digest(out / name) for name in _loaded_files(out)},
        val=dict(val),
        parents={name: model_digest(run) for name, run in parents.items()},
        **{name: relative(run, out) for name, run in parents.items()},
        **results,
    )
    metadata.write(out)
    return metadata


def _machine(out: Path, workspace: Workspace) -> dict[str, str]:
    names = {True: "bfloat16 products", False: "float32", None: "float32"}
    return {**describe_machine(workspace.device), "precision": names[RunPlan.read(out).bf16]}


def _loaded_files(out: Path) -> list[str]:
    """Names of the files that a run is loaded from: all that its stage has left, without logs."""
    found = []
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        # Folders with a plan of their own are other runs: the teacher and student made on the way.
        inside = [out / parent for parent in name.parents if parent != Path()]
        skipped = any((folder / RunPlan.file_name).exists() for folder in inside)
        if skipped or "tensorboard" in name.parts or not path.is_file():
            continue
        if name.name not in (CHECKPOINT, RunMetadata.file_name) and not any(
            part.startswith(NOT_LOADED) for part in name.parts
        ):
            found.append(name.as_posix())
    return found


def verified(run: Path) -> RunMetadata:
    """The metadata of a finished run whose files are the ones that it left.

    Raises:
        RunError: naming a file that is missing or was changed; its metrics may be missing.
    """
    metadata = RunMetadata.read(run)
    for name, expected in metadata.files.items():
        file = run / name
        if not file.is_file():
            if name == METRICS:
                continue
            raise RunError(f"{file} is missing: {_copy_again(run)}")
        if digest(file) != expected:
            raise RunError(
                f"{file} was changed after its run had finished (its checksum differs):"
                f" {_copy_again(run)}"
            )
    return metadata


def _copy_again(run: Path) -> str:
    return f"copy {run} again from where it was made, or make the run again in another directory"


def model_digest(run: Path) -> str:
    """SHA-256 hash of the files that the model of a finished run is loaded from.

    Runs with the same model have the same hash, whenever and wherever they were made.

    Raises:
        RunError: if the run is not finished, or one of its files was changed.
    """
    files = verified(run).files
    lines = [f"{files[name]} {name}\n" for name in sorted(files) if name not in DESCRIPTIONS]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require_run(run: Path, kinds: Sequence[Kind], workspace: Workspace) -> RunMetadata:
    """The metadata of a finished run of one of these kinds that was made on the same data.

    Raises:
        RunError: if a file of it was changed, or the run is of another kind, or was made on other
            data, another split or other training events.
    """
    found, split = verified(run), workspace.split
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
        RunError: if the run names none, or another model is there now.
    """
    metadata = RunMetadata.read(run)
    path: str | None = getattr(metadata, kind)
    if path is None:
        raise RunError(f"{run} is a {metadata.kind} run and names no {kind}")
    parent = Path(os.path.normpath(run / path))
    if model_digest(parent) != metadata.parents.get(kind):
        raise RunError(
            f"{run} was made from another {kind} than the one that is in {parent} now: restore that"
            " one, or make the run again in another directory"
        )
    return parent


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


def _require_same(found: RunPlan, wanted: RunPlan, where: str) -> RunPlan:
    """The plan, with what was decided when the run started."""
    wanted = wanted.model_copy(update={"bf16": found.bf16})
    if differs := wanted.differences(found):
        raise RunError(
            f"{where} that differs in {', '.join(differs)}: choose another directory or remove it"
        )
    return wanted


def with_decided_precision(
    config: ConfigT, out: Path, device: torch.device, shape: tuple[int, int, int]
) -> ConfigT:
    """The config of a stage with its precision, which its plan keeps for when it is resumed.

    Args:
        config: of the training.
        out: run directory, whose plan is written.
        device: that the stage runs on.
        shape: rows, inner width and columns of its largest products.
    """
    plan = RunPlan.read(out)
    if plan.bf16 is not None and config.bf16 == "auto":
        return config.model_copy(update={"bf16": plan.bf16})
    config = with_precision(config, device, shape)
    plan.model_copy(update={"bf16": config.bf16}).write(out)
    return config
