"""Task of list generation: users, items and reward, shared by both environments."""

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import Catalogue, Sequences
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import WeightedSum, require_times
from genrec.rewards.ranges import Ranges, require_ranges
from genrec.rewards.specs import WeightedReward, as_weighted_sum

Observation = dict[str, NDArray[np.int32] | NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class ListTask:
    """Histories to write lists for, the items to choose from, and what a list earns.

    A scorer is overconfident on events that it was trained on, and a task cannot know whether its
    targets are such events: use cases that the scorer has not seen, for instance the ``held_back``
    ones of the split that it was fitted on. The stages of a run (``genrec.pipeline.stages``) refuse
    what they know to be a leak.

    Attributes:
        histories: N whole histories, one per case, oldest item first, with times where the log has
            them.
        targets: (N,) the item that came next, 0 where it is unknown.
        catalogue: the V items with their training counts.
        reward: what a list earns: a Reward, a WeightedSum, a function ``(slates, context) ->
            gains``, a spec such as ``"diversity=0.3"``, or several of these. It is converted to a
            WeightedSum, whose terms need different names.
        k: K, the length of a list.
        max_length: T, number of newest history items that are observed. All items of a history are
            excluded from its list, also those that are not observed.
        probabilities: histories (B) -> (B, V+1) calibrated P(item | history); called once per
            history, at reset, and only if the reward needs it.
        ranges: name of a reward term -> low and high end: its weight is drawn anew for every
            history, and observed. The other terms have the weights of the reward.

    Raises:
        GenrecError: if sizes disagree, an index is outside the catalogue, the reward needs a fact
            that is missing, two terms share a name, or a range has no term or does not rise.
    """

    histories: Sequences
    targets: NDArray[np.integer[Any]]
    catalogue: Catalogue
    _: KW_ONLY
    reward: WeightedReward | Iterable[WeightedReward]
    k: int = 10
    max_length: int = 200
    probabilities: Callable[[Sequences], Floats] | None = None
    ranges: Ranges = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", as_weighted_sum(self.reward))
        self._require_sizes()
        self._require_indices()
        self._require_terms()
        self._require_facts()

    def __len__(self) -> int:
        return len(self.histories)

    @property
    def num_items(self) -> int:
        """V, without PAD."""
        return self.catalogue.num_items

    @property
    def weighted_sum(self) -> WeightedSum:
        """The reward, as the weighted sum that it was converted to."""
        return cast(WeightedSum, self.reward)

    def _require_sizes(self) -> None:
        if len(self) == 0 or self.targets.shape != (len(self),):
            raise GenrecError(
                f"{len(self)} histories and targets of shape {self.targets.shape}: give one target"
                " per history"
            )
        if not 1 <= self.k <= self.num_items or self.max_length < 1:
            raise GenrecError(
                f"k {self.k} must be in 1..{self.num_items}, the items of the catalogue, and"
                f" max_length {self.max_length} at least 1"
            )

    def _require_indices(self) -> None:
        for name, items, lowest in (
            ("histories", self.histories.items, 1),
            ("targets", self.targets, 0),
        ):
            if len(items) and not lowest <= items.min() <= items.max() <= self.num_items:
                raise GenrecError(
                    f"{name} hold indices {items.min()}..{items.max()}, this catalogue has"
                    f" {lowest}..{self.num_items}"
                )

    def _require_terms(self) -> None:
        names = [term.name for term, _ in self.weighted_sum.terms]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise GenrecError(
                f"more than one reward term is called {', '.join(repeated)}; give each its own name"
            )
        unknown = sorted(set(self.ranges) - set(names))
        if unknown:
            raise GenrecError(
                f"ranges of {', '.join(unknown)}, but the reward has the terms {', '.join(names)}"
            )
        require_ranges(self.ranges)

    def _require_facts(self) -> None:
        reward = self.weighted_sum
        if "probabilities" in reward.needs and self.probabilities is None:
            raise GenrecError(
                f"reward {reward.name} needs P(item | history): pass ListTask(probabilities=...)"
            )
        if "targets" in reward.needs and not self.targets.any():
            raise GenrecError(
                f"reward {reward.name} needs targets, but the target of every case is 0 (unknown)"
            )
        require_times(reward, self.histories)


def single_spaces(task: ListTask) -> tuple[Space[Observation], Discrete]:
    """Observation and action space of one list."""
    spaces: dict[str, Space[Any]] = {
        "history": Box(0, task.num_items, (task.max_length,), np.int32),
        "slate": Box(0, task.num_items, (task.k,), np.int32),
    }
    if task.ranges:
        low, high = np.array(list(task.ranges.values()), dtype=np.float32).T
        spaces["weights"] = Box(low, high, dtype=np.float32)
    return cast(Space[Observation], Dict(spaces)), Discrete(task.num_items + 1)


def list_context(
    task: ListTask, cases: Slates, *, group_size: int = 1, progress: float = 1.0
) -> Context:
    """Context of ``group_size`` lists for each case, with lists of one case side by side.

    Args:
        task: the task.
        cases: (H,) numbers of cases.
        group_size: lists per case.
        progress: share of the training that is done, 0 to 1.

    Raises:
        GenrecError: if the task's probabilities have another shape than (H, V+1), or progress is
            not in 0..1.
    """
    if not 0 <= progress <= 1:
        raise GenrecError(
            f"progress {progress} is not a share of the training: give a number from 0 to 1"
        )
    histories = task.histories.take(cases)
    probabilities = None
    if task.probabilities is not None and "probabilities" in task.weighted_sum.needs:
        probabilities = task.probabilities(histories)
        expected = (len(cases), task.num_items + 1)
        if probabilities.shape != expected:
            raise GenrecError(
                f"probabilities have shape {probabilities.shape}; {len(cases)} histories need"
                f" {expected}"
            )
    return Context(
        of_histories=histories,
        of_targets=task.targets[cases],
        catalogue=task.catalogue,
        k=task.k,
        of_probabilities=probabilities,
        rows=np.repeat(np.arange(len(cases)), group_size),
        progress=progress,
    )


def require_choice(task: ListTask, cases: Slates, num_seen: NDArray[np.integer[Any]]) -> None:
    """Check that every case has at least K items that its user has not seen.

    Args:
        task: the task.
        cases: (H,) numbers of the cases about to start.
        num_seen: (H,) number of distinct items of each history.

    Raises:
        GenrecError: naming the case with the fewest unseen items.
    """
    allowed = task.num_items - num_seen
    if allowed.min() < task.k:
        raise GenrecError(
            f"case {cases[allowed.argmin()]} has {allowed.min()} unseen items of {task.num_items},"
            f" too few for a list of {task.k}: shorten the list or leave the case out"
        )
