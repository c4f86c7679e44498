"""Options that several commands share, and the workspace that they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.config.trust import trust_everything

if TYPE_CHECKING:
    from genrec.pipeline.settings import Settings
    from genrec.pipeline.workspace import Workspace

Dataset = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="demo, a known name (`genrec data list`), or a path."),
]


def _out(text: str) -> Path:
    """The run directory of ``--out``, refused before any work is done."""
    from genrec.config.errors import RunError
    from genrec.training.run_directory import require_run_directory

    if not text.strip():
        raise typer.BadParameter("is empty: give a directory, such as runs/first")
    try:
        require_run_directory(Path(text))
    except RunError as error:
        raise typer.BadParameter(str(error)) from None
    return Path(text)


Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        parser=_out,
        metavar="PATH",
        help="Run directory, new, empty or of a run. An interrupted run in it is resumed.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file, or a shipped one: demo.yaml, ml-1m.yaml ..."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="Change a setting: key=value, such as teacher.epochs=5. `genrec settings` lists them.",
    ),
]
Teacher = Annotated[
    Path | None, typer.Option(help="Run directory of the teacher; trained if missing.")
]
Student = Annotated[
    Path | None, typer.Option(help="Run directory of the student; made if missing.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run code that only a run directory or a configuration file names: files and modules"
        " of rewards, teachers, losses and re-rankers. Read them first.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Random seed.")]
Device = Annotated[str | None, typer.Option(help="auto, cuda, mps or cpu.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no messages, only the result.")
]
Users = Annotated[int | None, typer.Option(min=1, help="Measure on this many test users only.")]


def command_settings(
    *,
    config: Path | None = None,
    changes: list[str] | None = None,
    dataset: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    origin: Path | None = None,
    trust: bool = False,
) -> "Settings":
    """The settings of a command; torch is not imported.

    Args:
        config: YAML file of settings.
        changes: ``key=value`` overrides.
        dataset: replaces the settings' dataset.
        seed: replaces the settings' seed.
        device: replaces the settings' device.
        origin: run directory whose settings hold where no file is given.
        trust: whether code may run that only data names.

    Raises:
        ConfigError: for a setting that cannot be used.
    """
    from genrec.pipeline.settings import read_settings, settings_of
    from genrec.results import RunMetadata

    if trust:
        trust_everything()
    start = None
    if origin is not None and config is None:
        start = settings_of(RunMetadata.read(origin).settings)
    return read_settings(config, changes or [], start, dataset=dataset, seed=seed, device=device)


def open_workspace(
    settings: "Settings", *, quiet: bool = False, origin: Path | None = None
) -> "Workspace":
    """The data and the device of a command.

    Args:
        settings: of the command.
        quiet: show neither progress nor messages.
        origin: run directory that the settings come from, for messages.

    Raises:
        DataError: for a dataset that cannot be read.
    """
    from genrec.config.errors import DataError
    from genrec.pipeline.workspace import prepare_workspace
    from genrec.training.logger import configure

    configure(quiet=quiet)
    try:
        return prepare_workspace(settings, quiet)
    except DataError as error:
        place = Path(settings.dataset)
        if origin is None or not place.is_absolute() or place.exists():
            raise
        raise DataError(
            f"{origin} was made on {place}, which does not exist: give --dataset ({error})"
        ) from None
