"""Whether a reward keeps its contract, tried on lists; what is wrong is shown on the list it is
wrong for."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.data.splits import Cases
from genrec.metrics.context import Context, Floats, Slates
from genrec.recommender import TopK
from genrec.rewards.check import Checked, RewardError
from genrec.rewards.contract import Reward

MEANING = {
    "answers": "it answers for whole lists, their beginnings and the first item",
    "shape": "one gain for every item",
    "dtype": "gains are numbers",
    "finite": "every gain is a finite number",
    "inputs": "lists and catalogue stay as they were",
    "deterministic": "the same lists earn the same again",
    "causal": "gains of the first positions do not change with later ones",
    "independent": "what a list earns does not depend on the lists beside it",
    "marginal": "marginal() is the gain of the next position",
    "needs": "targets and times are read only where they are declared",
}
TOLERANCE = 1e-6
HALF_WAY = 0.5  # of a training: what a reward is tried at besides its end


@dataclass(frozen=True)
class Finding:
    """One part of the contract and what was found.

    Attributes:
        check: a key of ``MEANING``.
        passed: None where an earlier failure left it untried.
        message: what is wrong; empty where nothing is.
        slate: the list it is wrong for, as item indices; empty where no list is to blame.
    """

    check: str
    passed: bool | None
    message: str = ""
    slate: tuple[int, ...] = ()


@dataclass(frozen=True)
class Audit:
    """What became of a reward on n lists.

    Attributes:
        findings: one for each key of ``MEANING``, in that order.
        totals: (n,) what each list earned; empty where it could not be told.
        milliseconds: time for 1,000 whole lists; NaN where it could not be told.
    """

    findings: tuple[Finding, ...]
    totals: Floats
    milliseconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.passed for finding in self.findings)


def audit_reward(reward: Reward, slates: Slates, context: Context) -> Audit:
    """Try every part of the reward contract on lists.

    Args:
        reward: what is judged.
        slates: (n, K) valid lists; a thousand tell more than ten.
        context: of those lists, with what the reward needs.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.rewards.registry import reward
    >>> context = Context(Sequences.from_lists([[], []]), np.array([0, 0]), make_catalogue(["a", "b", "c"]), k=2)
    >>> @reward
    ... def best(slates, context):
    ...     return slates == slates.max(axis=1, keepdims=True)  # looks at later positions
    >>> found = audit_reward(best, np.array([[1, 2], [3, 1]]), context)
    >>> [(finding.check, finding.message) for finding in found.findings if not finding.passed]
    [('causal', 'position 1 earns 0 in the whole list and 1 where the list ends after position 1')]
    """
    with redirect_stdout(sys.stderr):  # what a reward prints is no part of a command's answer
        return _audit(reward, slates, context)


def _audit(reward: Reward, slates: Slates, context: Context) -> Audit:
    pristine = [array.copy() for array in _arrays(context)]
    fatal = (
        _broken(reward, slates.copy(), context)
        or _harm(reward, slates, context, pristine)
        or _chance(reward, slates, context)
    )
    if fatal is not None:
        at = list(MEANING).index(fatal.check)
        before = [Finding(check, True) for check in MEANING][:at]
        return Audit(
            (*before, fatal, *[Finding(check, None) for check in MEANING][at + 1 :]),
            np.empty(0),
            np.nan,
        )
    safe = Checked(reward, reveal=True)
    earlier = [
        replace(finding, message=f"{finding.message}, half way through a training")
        for finding in _differences(safe, slates, replace(context, progress=HALF_WAY))
    ]
    verdicts = {
        finding.check: finding for finding in (*earlier, *_differences(safe, slates, context))
    }
    findings = tuple(verdicts.get(check, Finding(check, True)) for check in MEANING)
    return Audit(
        findings, safe(slates, context).sum(axis=1), _milliseconds(reward, slates, context)
    )


def sample_lists(
    cases: Cases,
    catalogue: Catalogue,
    k: int,
    count: int,
    probabilities: Callable[[Sequences], Floats] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.int64], Context]:
    """Random lists of unseen items to try a reward on, half of them with the held-out item in some
    place.

    Args:
        cases: whose lists.
        catalogue: of a Split, with counts.
        k: K.
        count: n; lists of the same case come one after another through the cases.
        probabilities: histories (H) -> (H, V+1), where the reward needs them.
        seed: of the lists.

    Raises:
        GenrecError: if no case leaves k items.
    """
    rooms = np.flatnonzero(catalogue.num_items - cases.histories.distinct() >= k)
    if not len(rooms):
        raise GenrecError(
            f"no case leaves {k} of {catalogue.num_items} items for a list; ask for shorter lists"
        )
    cases = cases.take(rooms[: max(1, count // 4)])
    rows = np.arange(count) % len(cases)
    chances = probabilities(cases.histories) if probabilities else None
    context = Context(cases.histories, cases.targets, catalogue, k, of_probabilities=chances, rows=rows)
    slates = TopK(_Dice(catalogue.num_items, torch.Generator().manual_seed(seed))).recommend(
        context.histories, k
    )
    _plant_targets(slates, context)
    return slates, context


def _plant_targets(slates: Slates, context: Context) -> None:
    """Put the held-out item, where it is new to the user, into every other list, at one place after
    another."""
    histories, targets = context.histories, context.targets
    owner = histories.rows()
    known = np.bincount(owner[histories.items == targets[owner]], minlength=len(slates)) > 0
    known |= (targets == 0) | (slates == targets[:, None]).any(axis=1)
    chosen = np.flatnonzero(~known & (np.arange(len(slates)) % 2 == 0))
    slates[chosen, chosen // 2 % slates.shape[1]] = targets[chosen]


@dataclass(frozen=True, eq=False)
class _Dice:
    """A scorer that throws dice."""

    num_items: int
    generator: torch.Generator

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) uniform numbers."""
        return torch.rand((len(histories), self.num_items + 1), generator=self.generator)


def _broken(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """The first call that fails: whole lists all along a training, a single list, beginnings, first
    items."""
    safe, k = Checked(reward, reveal=True), slates.shape[1]
    try:
        for progress in (1.0, HALF_WAY, 0.0):
            safe(slates, replace(context, progress=progress))
        safe(slates[:1], context.take(np.arange(1)))
        for j in range(1, k):
            safe(slates[:, :j], context)
        for j in _places(k):
            safe.marginal(slates[:, :j], slates[:, j:], context)
    except RewardError as error:
        return Finding(
            error.fault, False, str(error), () if error.row is None else _row(slates, error.row)
        )
    return None


def _arrays(context: Context) -> list[NDArray[Any]]:
    """What all lists share and no reward may touch."""
    catalogue, histories = context.catalogue, context.of_histories
    shared = [
        catalogue.features,
        catalogue.counts,
        catalogue.user_counts,
        catalogue.popularity,
        catalogue.vectors,
    ]
    shared += [catalogue.known, histories.items, context.of_targets]
    return shared + [
        found for found in (histories.times, context.of_probabilities) if found is not None
    ]


def _harm(
    reward: Reward, slates: Slates, context: Context, pristine: list[NDArray[Any]]
) -> Finding | None:
    """Whether the reward writes into what it is given."""
    given = slates.copy()
    reward(given, context)
    changed = np.flatnonzero((given != slates).any(axis=1))
    if len(changed):
        return Finding(
            "inputs", False, "it writes into the lists it is given", _row(slates, int(changed[0]))
        )
    if not all(map(np.array_equal, _arrays(context), pristine)):
        return Finding(
            "inputs",
            False,
            "it writes into the catalogue, the histories, the targets or the probabilities",
        )
    return None


def _chance(reward: Reward, slates: Slates, context: Context) -> Finding | None:
    """Whether chance plays a part, at the end of a training or half way."""
    for progress in (1.0, HALF_WAY):
        once, again = (
            Checked(reward, reveal=True)(slates, replace(context, progress=progress))
            for _ in range(2)
        )
        text = "earns {} the first time and {} the second"
        for finding in _compare("deterministic", once, again, slates, text, tolerance=0):
            return finding
    return None


def _differences(reward: Reward, slates: Slates, context: Context) -> Iterator[Finding]:
    """What differs though it should not, at most one finding of each kind."""
    whole = reward(slates, context)
    yield from _causality(reward, slates, context, whole)
    order = np.random.default_rng(0).permutation(len(slates))[: max(1, len(slates) // 2)]
    among_others = reward(slates[order], context.take(order))
    yield from _compare(
        "independent",
        whole[order],
        among_others,
        slates[order],
        "earns {} among these lists and {} among others",
    )
    yield from _undeclared(reward, slates, context, whole)
    for j in _places(slates.shape[1]):
        closed = reward.marginal(slates[:, :j], slates[:, j:], context)
        general = Reward.marginal(reward, slates[:, :j], slates[:, j:], context)
        text = f"earns {{}} as item {j + 1} of the list and marginal() says {{}}"
        wrong = list(_compare("marginal", general, closed, slates, text, shift=j))
        if wrong:
            yield wrong[0]
            return


def _causality(
    reward: Reward, slates: Slates, context: Context, whole: Floats
) -> Iterator[Finding]:
    """The first beginning of lists that earns something else alone than in the whole lists."""
    for j in range(1, slates.shape[1]):
        text = f"earns {{}} in the whole list and {{}} where the list ends after position {j}"
        wrong = list(_compare("causal", whole[:, :j], reward(slates[:, :j], context), slates, text))
        if wrong:
            yield wrong[0]
            return


def _undeclared(
    reward: Reward, slates: Slates, context: Context, whole: Floats
) -> Iterator[Finding]:
    """A fact that is read but not declared: a training may leave it out."""
    histories = context.of_histories
    unknown = {
        "targets": replace(context, of_targets=np.zeros_like(context.of_targets), derived={}),
        "times": replace(context, of_histories=replace(histories, times=None), derived={}),
    }
    for fact in sorted(unknown.keys() - reward.needs):
        text = f"earns {{}}, and {{}} where {fact} are unknown: declare needs={{{{{fact!r}}}}}"
        try:
            wrong = list(_compare("needs", whole, reward(slates, unknown[fact]), slates, text))
        except RewardError as error:
            wrong = [
                Finding(
                    "needs",
                    False,
                    f"it reads {fact}: declare needs={{{fact!r}}}; without them, {error}",
                )
            ]
        if wrong:
            yield wrong[0]
            return


def _compare(
    check: str,
    expected: Floats,
    found: Floats,
    slates: Slates,
    text: str,
    tolerance: float = TOLERANCE,
    shift: int = 0,
) -> Iterator[Finding]:
    """The first place where two gains differ; ``text`` says it with the two values."""
    differs = ~np.isclose(expected, found, rtol=10 * tolerance, atol=tolerance)
    if differs.any():
        row, column = np.argwhere(differs)[0]
        values = text.format(f"{expected[row, column]:g}", f"{found[row, column]:g}")
        yield Finding(
            check, False, f"position {column + 1 + shift} {values}", _row(slates, int(row))
        )


def _places(k: int) -> list[int]:
    """Numbers of items already placed at which marginal gains are tried."""
    return sorted({0, k // 2, k - 1})


def _row(slates: Slates, row: int) -> tuple[int, ...]:
    return tuple(slates[row].tolist())


def _milliseconds(reward: Reward, slates: Slates, context: Context) -> float:
    """The best of three runs, for 1,000 lists."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        reward(slates, context)
        times.append(time.perf_counter() - started)
    return 1e6 * min(times) / len(slates)
