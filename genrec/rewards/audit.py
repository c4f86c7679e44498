"""The audit of a reward: every part of the contract, tried on lists.

A violation is reported together with a list on which it occurs.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.check import Checked, RewardError
from genrec.rewards.contract import Reward

MEANING = {
    "runs": "it runs on whole lists, on their first positions and on a single list",
    "shape": "it returns one gain per item",
    "dtype": "gains are numbers",
    "finite": "all gains are finite",
    "inputs": "it does not modify the lists or their context",
    "deterministic": "the same lists always get the same gains",
    "causal": "later positions do not change the gains of earlier ones",
    "independent": "the gains of a list do not depend on the other lists",
    "marginal": "marginal() returns the gain of the next position",
    "needs": "targets and times are read only if they are declared",
    "varies": "some lists earn more than others",
}
TOLERANCE = 1e-6
MOST_ITEMS = 100_000  # that are tried alone where all lists earn the same
HALFWAY = 0.5  # progress of a training at which a reward is tried, besides its end


@dataclass(frozen=True)
class Finding:
    """One part of the contract and whether the reward keeps it.

    Attributes:
        check: a key of ``MEANING``.
        passed: None where an earlier violation prevented the check.
        message: what is wrong; empty where nothing is.
        slate: a list on which it is wrong, as item indices; empty where no single list shows it.
    """

    check: str
    passed: bool | None
    message: str = ""
    slate: tuple[int, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Result of the audit of a reward on n lists.

    Attributes:
        findings: one per key of ``MEANING``, in that order.
        totals: (n,) sum of the gains of each list; empty where a violation prevented it.
        milliseconds: time for 1,000 whole lists; NaN where a violation prevented it.
    """

    findings: tuple[Finding, ...]
    totals: Floats
    milliseconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)


def audit_reward(reward: Reward, slates: Slates, context: Context) -> Audit:
    """Check every part of the reward contract on lists.

    Args:
        reward: the reward.
        slates: (n, K) valid lists; a thousand find more than ten.
        context: context of these lists, with what the reward needs.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.rewards.registry import reward
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[], []]), np.array([0, 0]), catalogue, k=2)
    >>> @reward
    ... def best(slates, context):
    ...     return slates * (slates == slates.max(axis=1, keepdims=True))  # looks ahead
    >>> found = audit_reward(best, np.array([[1, 2], [3, 1]]), context)
    >>> [(finding.check, finding.message) for finding in found.findings if not finding.passed]
    [('causal', 'position 1 earns 0 in the whole list and 1 if the list ends after position 1')]
    """
    with redirect_stdout(sys.stderr):  # what a reward prints is not a command's output
        return _audit(reward, slates, context)


def _audit(reward: Reward, slates: Slates, context: Context) -> Audit:
    before = [array.copy() for array in context.shared]
    # The later checks mean nothing for a reward that fails one of these.
    fatal = (
        _failure(reward, slates.copy(), context)
        or _modified_inputs(reward, slates, context, before=before)
        or _randomness(reward, slates, context)
    )
    if fatal is not None:
        at = list(MEANING).index(fatal.check)
        passed = [Finding(check, True) for check in list(MEANING)[:at]]
        untried = [Finding(check, None) for check in list(MEANING)[at + 1 :]]
        return Audit((*passed, fatal, *untried), np.empty(0), np.nan)
    safe = Checked(reward, reveal=True)
    violations = {
        finding.check: replace(finding, message=f"{finding.message}, halfway through a training")
        for finding in _violations(safe, slates, replace(context, progress=HALFWAY))
    }
    violations |= {finding.check: finding for finding in _violations(safe, slates, context)}
    if constant := _constant(safe, slates, context):
        violations["varies"] = constant
    findings = tuple(violations.get(check, Finding(check, True)) for check in MEANING)
    totals = safe(slates, context).sum(axis=1)
    return Audit(findings, totals, _milliseconds(safe, slates, context))


def _failure(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """The first call that raises or returns anything but one finite number per item.

    Tried are whole lists at the end, in the middle and at the start of a training, a single list,
    the first positions of lists, and marginal gains.
    """
    safe, k = Checked(reward, reveal=True), slates.shape[1]
    try:
        for progress in (1.0, HALFWAY, 0.0):
            safe(slates, replace(context, progress=progress))
        safe(slates[:1], context.take(np.arange(1)))
        for j in range(1, k):
            safe(slates[:, :j], context)
        for j in _prefix_lengths(k):
            safe.marginal(slates[:, :j], slates[:, j:], context)
    except RewardError as error:
        slate = () if error.row is None else _row(slates, error.row)
        return Finding(error.fault, False, str(error), slate)
    return None


def _modified_inputs(
    reward: Reward, slates: Slates, context: Context, *, before: list[NDArray[Any]]
) -> Finding | None:
    """Whether what all lists share differs from ``before``, copies of it.

    Arrays that are read-only for the reward can still be written through torch or ctypes.
    """
    Checked(reward, reveal=True)(slates.copy(), context)
    if not all(map(np.array_equal, context.shared, before)):
        message = "it modifies the catalogue, the histories, the targets or the probabilities"
        return Finding("inputs", False, message)
    return None


def _randomness(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """Whether two calls differ, at the end of a training or halfway through it."""
    safe = Checked(reward, reveal=True)
    for progress in (1.0, HALFWAY):
        at = replace(context, progress=progress)
        found = _first_difference(
            "deterministic",
            safe(slates, at),
            safe(slates, at),
            slates=slates,
            text="earns {} in one call and {} in the next",
            tolerance=0,
        )
        if found:
            return found
    return None


def _violations(reward: Reward, slates: Slates, context: Context) -> Iterator[Finding]:
    """Gains that differ where they should be equal, at most one finding per check."""
    whole = reward(slates, context)
    # Half of the lists in another order: both a sum over the batch and a row index would differ.
    half = max(1, len(slates) // 2)
    order = np.random.default_rng(0).permutation(len(slates))[:half]
    among_others = _first_difference(
        "independent",
        whole[order],
        reward(slates[order], context.take(order)),
        slates=slates[order],
        text="earns {} together with these lists and {} together with others",
    )
    found = (
        _causality(reward, slates, context, whole=whole),
        among_others,
        _undeclared_need(reward, slates, context, whole=whole),
        _wrong_marginal(reward, slates, context),
    )
    yield from (finding for finding in found if finding is not None)


def _constant(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """Whether all lists earn the same, so that there is nothing to learn.

    A reward that is paid at the beginning of a training only, or for a few items that none of the
    lists has, is none of these.
    """
    for progress in (1.0, HALFWAY, 0.0):
        at = replace(context, progress=progress)
        items, lists = _items_alone(at)
        if _differ(reward(slates, at)) or _differ(reward(items, lists)):
            return None
    total = float(reward(slates, context)[0].sum())
    message = (
        f"all {len(slates)} lists earn {total:g}: nothing can be learnt from it. Does it know these"
        " items? Compare its ids with those of the catalogue; if it pays for few lists only, try"
        " more of them"
    )
    return Finding("varies", False, message)


def _items_alone(context: Context) -> tuple[Slates, Context]:
    """Every item, of a large catalogue some, as a list of one item; and the context of these."""
    num_items = context.catalogue.num_items
    items = np.linspace(1, num_items, min(num_items, MOST_ITEMS)).round().astype(np.int64)
    owners = np.arange(len(items)) % len(context)
    keys = context.rows[owners] * (num_items + 1) + items
    unseen = ~np.isin(keys, context.seen_keys)
    return items[unseen, None], context.take(owners[unseen])


def _differ(gains: Floats) -> bool:
    """Whether lists with these gains (n, j) earn different sums, rounding aside."""
    totals, scale = gains.sum(axis=1), float(np.abs(gains).sum(axis=1).max(initial=0))
    return len(totals) > 0 and float(np.ptp(totals)) > TOLERANCE * scale


def _causality(
    reward: Reward, slates: Slates, context: Context, *, whole: Floats
) -> Finding | None:
    """The shortest prefix of the lists whose gains differ from those in the whole lists."""
    for j in range(1, slates.shape[1]):
        found = _first_difference(
            "causal",
            whole[:, :j],
            reward(slates[:, :j], context),
            slates=slates,
            text=f"earns {{}} in the whole list and {{}} if the list ends after position {j}",
        )
        if found:
            return found
    return None


def _undeclared_need(
    reward: Reward, slates: Slates, context: Context, *, whole: Floats
) -> Finding | None:
    """A fact that the reward reads without declaring it: a training may not provide it."""
    # Fresh ``derived``: results that were computed from the facts must not survive them.
    untimed = replace(context.of_histories, times=None)
    without = {
        "targets": replace(context, of_targets=np.zeros_like(context.of_targets), derived={}),
        "times": replace(context, of_histories=untimed, derived={}),
    }
    for fact in sorted(without.keys() - reward.needs):
        try:
            found = _first_difference(
                "needs",
                whole,
                reward(slates, without[fact]),
                slates=slates,
                text=f"earns {{}}, and {{}} if {fact} are unknown: declare needs={{{{{fact!r}}}}}",
            )
        except RewardError as error:
            message = f"it reads {fact}: declare needs={{{fact!r}}}; without them, {error}"
            return Finding("needs", False, message)
        if found:
            return found
    return None


def _wrong_marginal(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """The first position at which ``marginal`` differs from the gain of the longer list."""
    for j in _prefix_lengths(slates.shape[1]):
        found = _first_difference(
            "marginal",
            Reward.marginal(reward, slates[:, :j], slates[:, j:], context),
            reward.marginal(slates[:, :j], slates[:, j:], context),
            slates=slates,
            text=f"earns {{}} as item {j + 1} of the list, but marginal() returns {{}}",
            shift=j,
        )
        if found:
            return found
    return None


def _first_difference(
    check: str,
    expected: Floats,
    found: Floats,
    *,
    slates: Slates,
    text: str,
    tolerance: float = TOLERANCE,
    shift: int = 0,
) -> Finding | None:
    """The first place where two arrays of gains differ.

    Args:
        check: the check that this is for.
        expected: (n, j) gains.
        found: (n, j) gains that should be the same.
        slates: (n, K) the lists.
        text: message with a placeholder for each of the two values.
        tolerance: absolute tolerance; the relative one is ten times as large.
        shift: position of the first column, from 0.
    """
    differs = ~np.isclose(expected, found, rtol=10 * tolerance, atol=tolerance)
    if not differs.any():
        return None
    row, column = np.argwhere(differs)[0]
    values = text.format(f"{expected[row, column]:g}", f"{found[row, column]:g}")
    message = f"position {column + 1 + shift} {values}"
    return Finding(check, False, message, _row(slates, int(row)))


def _prefix_lengths(k: int) -> list[int]:
    """Numbers of placed items at which marginal gains are tried."""
    return sorted({0, k // 2, k - 1})


def _row(slates: Slates, row: int) -> tuple[int, ...]:
    return tuple(slates[row].tolist())


def _milliseconds(reward: Reward, slates: Slates, context: Context) -> float:
    """Time for 1,000 lists, the best of three runs."""
    times = []  # the fastest run is the one that other processes disturbed least
    for _ in range(3):
        started = time.perf_counter()
        reward(slates, context)
        times.append(time.perf_counter() - started)
    return 1e6 * min(times) / len(slates)
