"""``genrec evaluate``: finished runs on the test cases, side by side."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.training import Dataset, Device, Json, Quiet, open_workspace
from genrec.config.errors import GenrecError

if TYPE_CHECKING:
    from rich.table import Table

    from genrec.pipeline.workspace import Workspace


@reports_errors
def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders: teachers, students, aligned."),
    ],
    dataset: Dataset = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="Measure this many test users only.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Also draw what teachers promise against what they keep, as this PNG."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=WEIGHT, repeatable, for policies that were aligned for a range; the middle of it by default."
        ),
    ] = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure finished runs on the test users: accuracy, diversity, novelty, popularity, minutes of
    training.

    Settings come from the first run; all must have been made on the same data and split. Runs that
    differ in the seed alone are also shown as mean and standard deviation, and every run is
    compared with the first, user by user.

    \b
    Examples:
      genrec evaluate runs/sasrec runs/gsasrec
      genrec evaluate runs/teacher --calibration reliability.png --json
      genrec evaluate runs/single runs/range --weight diversity=0.1
    """  # noqa: D301
    from genrec.evaluation import runs as evaluation
    from genrec.rewards import read_weights

    weights = read_weights(weight or [])
    workspace = open_workspace(None, [], dataset, None, device, quiet, origin=folders[0])
    kinds = evaluation.kinds_of(workspace, folders)
    teachers = [folder for folder, kind in zip(folders, kinds, strict=True) if kind == "teacher"]
    if calibration and not teachers:
        raise GenrecError(
            "--calibration draws the probabilities of teachers, and none of these runs is one"
        )
    told = [evaluation.told_to(folder, weights) for folder in folders]
    if unheard := weights.keys() - {name for each in told for name in each}:
        raise GenrecError(
            f"--weight {', '.join(sorted(unheard))}: none of these runs was aligned for a range of"
            " it"
        )
    measured = [
        evaluation.measure_run(workspace, folder, users, own)
        for folder, own in zip(folders, told, strict=True)
    ]
    content: dict[str, Any] = {
        "dataset": workspace.settings.dataset,
        "fingerprint": workspace.split.fingerprint,
        "cases": len(workspace.split.test)
        if users is None
        else min(users, len(workspace.split.test)),
        "k": workspace.settings.k,
        "runs": [each.row for each in measured],
        "over_seeds": evaluation.over_seeds(measured),
        "against_first": evaluation.against(measured, workspace.settings.k),
    }
    if calibration:
        content["calibration"] = _calibrations(workspace, teachers, users, calibration)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(_table(content))
    for line in _sentences(content):
        typer.echo(line)


def _calibrations(
    workspace: "Workspace", folders: Sequence[Path], users: int | None, picture: Path
) -> list[dict[str, Any]]:
    from genrec import report
    from genrec.evaluation import runs as evaluation

    curves, rows = {}, []
    for folder in folders:
        for link, (curve, total) in evaluation.reliability(workspace, folder, users).items():
            curves[f"{folder}, {link}"] = curve
            lengths = [k for k in (1, workspace.settings.k, 100) if k <= len(curve.k)]
            at = {
                f"{what}@{k}": float(getattr(curve, what)[k - 1])
                for what in PROMISES
                for k in lengths
            }
            rows.append({"run": str(folder), "link": link, "sum_of_probabilities": total, **at})
    report.plot_reliability(curves, picture)
    workspace.say(f"picture: {picture}")
    return rows


PROMISES = ("precision", "probability")


def _table(content: Mapping[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    rows = content["runs"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.title = (
        f"{content['dataset']} · {content['cases']:,} test users · lists of {content['k']}"
    )
    names = [name for name in rows[0] if name not in ("run", "name", "seed", "minutes")]
    for name in ("run", "what", "seed", *names, "minutes"):
        table.add_column(name, justify="left" if name in ("run", "what") else "right")
    for row in rows:
        minutes = "–" if row["minutes"] is None else f"{row['minutes']:.1f}"
        values = [f"{row[name]:.4f}" for name in names]
        table.add_row(row["run"], row["name"], str(row["seed"]), *values, minutes)
    return table


def _sentences(content: Mapping[str, Any]) -> list[str]:
    k, first = content["k"], content["runs"][0]["run"]
    metrics = (f"ndcg@{k}", "recall@1", f"recall@{k}")
    lines = []
    for group in content["over_seeds"]:
        values = ", ".join(
            f"{name} {group['mean'][name]:.4f} ± {group['sd'][name]:.4f}" for name in metrics
        )
        lines.append(
            f"{group['name']} over seeds {', '.join(map(str, group['seeds']))}: {values} (mean ±"
            " sd)"
        )
    for row in content["against_first"]:
        gap = f"{row['difference']:+.4f} ± {row['error']:.4f} NDCG@{k}"
        lines.append(f"{row['run']} against {first}: {gap}, p = {row['p']:.2g}")
    lines += [
        f"{row['run']}, {row['link']} probabilities sum to {row['sum_of_probabilities']:.3g}; the"
        f" first {k}"
        f" items promise {row[f'probability@{k}']:.4f} and keep {row[f'precision@{k}']:.4f}"
        for row in content.get("calibration", [])
    ]
    return lines
