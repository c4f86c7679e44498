"""``genrec rewards``: what lists can be rewarded for, and whether a reward keeps its contract."""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.errors import USER_ERROR, reports_errors
from genrec.cli.options import Changes, Dataset, Json, command_settings, open_workspace
from genrec.cli.text import echo
from genrec.config.errors import GenrecError
from genrec.config.text import tsv_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from genrec.data import Catalogue, Sequences, Split
    from genrec.metrics.context import Context, Floats, Slates
    from genrec.rewards import Audit, Reward

app = typer.Typer(
    name="rewards",
    help="See what lists can be rewarded for, check a reward of your own.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def rewards() -> None:
    """See what lists can be rewarded for, check a reward of your own."""


@app.command("list")
@reports_errors
def list_rewards(as_json: Json = False) -> None:
    """List the built-in rewards and those of installed plugins: name, origin, what each needs, one
    line.

    A plugin that cannot be used is also reported on standard error; the others still work.

    \b
    Examples:
      genrec rewards list
      genrec rewards list --json
    """  # noqa: D301
    from genrec.rewards import available

    entries = available()
    for entry in entries:
        if entry.error:
            echo(
                f"warning: plugin {entry.name!r} of {entry.origin} is left out: {entry.error}",
                err=True,
            )
    if as_json:
        typer.echo(
            json.dumps(
                [asdict(entry) | {"needs": sorted(entry.needs)} for entry in entries], indent=2
            )
        )
        return
    for entry in entries:
        needs = ",".join(sorted(entry.needs)) or "-"
        typer.echo(tsv_row([entry.name, entry.origin, needs, entry.error or entry.summary]))


@app.command("check")
@reports_errors
def check_reward(
    target: Annotated[
        str, typer.Argument(help="As in align --reward: a name, module:attr or file.py:attr.")
    ],
    dataset: Dataset = None,
    lists: Annotated[int, typer.Option(min=2, help="How many random lists to try it on.")] = 1000,
    time_limit: Annotated[
        float, typer.Option(min=1, help="Seconds after which a reward that does not return fails.")
    ] = 60,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Try a reward on random lists: shape, numbers, causality, determinism, independence, speed.

    A reward that needs probabilities gets those of a Markov chain. What is wrong is shown on a list
    it is wrong for, and the exit status is 1.

    \b
    Examples:
      genrec rewards check diversity
      genrec rewards check ./my_reward.py:fresh --dataset ml-1m --set k=20
    """  # noqa: D301
    settings = command_settings(changes=changes, dataset=dataset)

    from genrec.rewards import audit_reward, parse_rewards, require_times, sample_lists

    with time_limited(f"reward {target!r}", time_limit):  # its file runs here
        reward = parse_rewards(target).terms[0].reward
    workspace = open_workspace(settings, quiet=True)
    parts, k = workspace.split, settings.k
    require_times(reward, parts.valid.histories)
    probabilities = _chain(parts) if "probabilities" in reward.needs else None
    slates, context = sample_lists(
        parts.valid, parts.catalogue, k=k, count=lists, probabilities=probabilities
    )
    with time_limited(f"reward {reward.name!r}", time_limit):
        found = audit_reward(reward, slates, context)
    if as_json:
        typer.echo(json.dumps(_described(target, reward, found, slates, context), indent=2))
    else:
        _print(
            reward,
            found,
            f"{lists} lists of {k} items from {workspace.settings.dataset}",
            context.catalogue,
        )
    if not found.passed:
        wrong = ", ".join(finding.check for finding in found.findings if finding.passed is False)
        raise GenrecError(f"reward {reward.name!r} does not keep its contract: {wrong}")


@contextlib.contextmanager
def time_limited(what: str, seconds: float) -> Iterator[None]:
    """End the process with an error if the block takes longer; the error names the line it is in.

    Args:
        what: is running, for the message.
        seconds: that it may take.
    """
    main, done = threading.get_ident(), threading.Event()

    def end() -> None:
        if done.wait(seconds):
            return
        place = _line_of_plugin(traceback.extract_stack(sys._current_frames()[main]))
        echo(
            f"error: {what} did not return within {seconds:g} s: line {place.lineno} of"
            f" {place.filename}",
            err=True,
        )
        os._exit(USER_ERROR)

    # For native code that never lets another thread run: the interpreter prints the traceback.
    faulthandler.dump_traceback_later(seconds + 5, exit=True, file=sys.__stderr__ or 2)
    threading.Thread(target=end, daemon=True).start()
    try:
        yield
    finally:
        done.set()
        faulthandler.cancel_dump_traceback_later()


def _line_of_plugin(stack: list[traceback.FrameSummary]) -> traceback.FrameSummary:
    """The line in the user's file, below the command that calls it and above its libraries."""
    from genrec.recommender import outside_line

    command = max(at for at, frame in enumerate(stack) if frame.filename == __file__)
    return outside_line(stack[command:])


def _chain(parts: "Split") -> "Callable[[Sequences], Floats]":
    """Calibrated probabilities that take no training."""
    from genrec.baselines import Markov
    from genrec.metrics.calibration import Calibrated, fit_temperature

    chain = Markov.fit(parts)
    return Calibrated(chain, fit_temperature(chain, parts.valid).value).probabilities


def _described(
    target: str, reward: "Reward", found: "Audit", slates: "Slates", context: "Context"
) -> dict[str, Any]:
    """The result of a check as JSON has it."""
    checks = [
        {
            "check": finding.check,
            "passed": finding.passed,
            "message": finding.message,
            "list": [
                dict(zip(("item", "id", "title"), row, strict=True))
                for row in _named(finding.slate, context)
            ],
        }
        for finding in found.findings
    ]
    return {
        "target": target,
        "name": reward.name,
        "needs": sorted(reward.needs),
        "passed": found.passed,
        "lists": len(slates),
        "k": context.k,
        "mean_of_a_list": float(found.totals.mean()) if len(found.totals) else None,
        "milliseconds_per_1000_lists": found.milliseconds if len(found.totals) else None,
        "checks": checks,
    }


def _named(slate: tuple[int, ...], context: "Context") -> list[tuple[int, str, str]]:
    catalogue = context.catalogue
    return [(item, str(catalogue.item_ids[item]), str(catalogue.titles[item])) for item in slate]


def _print(reward: "Reward", found: "Audit", where: str, catalogue: "Catalogue") -> None:
    from genrec.rewards.audit import MEANING

    echo(f"reward {reward.name}, needs {', '.join(sorted(reward.needs)) or 'nothing'}, on {where}")
    for finding in found.findings:
        verdict = {True: "ok", False: "WRONG", None: "-"}[finding.passed]
        echo(f"  {verdict:<6}{finding.check:<15}{finding.message or MEANING[finding.check]}")
        for place, item in enumerate(finding.slate, start=1):
            echo(
                f"          {place:>2}. item {item}: {catalogue.item_ids[item]}"
                f" {catalogue.titles[item]}"
            )
    if len(found.totals):
        low, mean, high = found.totals.min(), found.totals.mean(), found.totals.max()
        echo(f"a list earns {low:.4f} to {high:.4f}, on average {mean:.4f}")
        echo(f"1,000 lists take {found.milliseconds:.2f} ms")
