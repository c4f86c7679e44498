"""List generation as a Gymnasium environment: one list an episode, one item a step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete, Space
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import PAD, Catalogue, Sequences
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.check import checked
from genrec.rewards.contract import WeightedSum, require_times
from genrec.rewards.ranges import Ranges, draw_weights, require_inside, require_ranges

Observation = dict[str, NDArray[np.int32] | NDArray[np.float32]]
Weights = Mapping[str, float | Floats]


@dataclass(frozen=True, eq=False)
class ListTask:
    """Whose lists to write, from which items, and what a list earns.

    A scorer promises too much of events that it was trained on, and a task cannot tell whether its
    targets are such
    events: take cases that the scorer has not seen, for instance the ``held_back`` ones of the
        split that it was fitted
    on. The stages of a run (``genrec.pipeline.stages``) refuse what they know to be a leak.

    Attributes:
        histories: N histories, one a case, whole, oldest item first, with times where the log has
            them.
        targets: (N,) the item that came next, 0 where it is unknown.
        catalogue: the V items with their training counts.
        reward: what a list earns; every term needs a name of its own.
        k: K, the length of a list.
        max_length: T, how many of the newest items of a history are observed. Seen items are
            filtered by all of it.
        probabilities: histories (B) -> (B, V+1) calibrated P(item | history); asked once a history,
            at reset, and only if the reward needs it.
        ranges: name of a reward term -> low, high: its weight is drawn anew for every history, and
            observed. The weights of the other terms are those of the reward.

    Raises:
        GenrecError: if sizes disagree, an index is outside the catalogue, the reward needs a fact
            that is missing, or a range is of no term or does not rise.
    """

    histories: Sequences
    targets: NDArray[np.integer[Any]]
    catalogue: Catalogue
    reward: WeightedSum
    k: int = 10
    max_length: int = 200
    probabilities: Callable[[Sequences], Floats] | None = None
    ranges: Ranges = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require_sizes()
        self._require_facts()
        require_ranges(self.ranges)

    def __len__(self) -> int:
        return len(self.histories)

    @property
    def num_items(self) -> int:
        """V, without PAD."""
        return self.catalogue.num_items

    def _require_sizes(self) -> None:
        if len(self) == 0 or self.targets.shape != (len(self),):
            raise GenrecError(
                f"{len(self)} histories and targets of shape {self.targets.shape}: give one target"
                " a history"
            )
        if not 1 <= self.k <= self.num_items or self.max_length < 1:
            raise GenrecError(
                f"k {self.k} must be in 1..{self.num_items}, the items of the catalogue, and"
                " max_length"
                f" {self.max_length} at least 1"
            )
        for name, items, lowest in (
            ("histories", self.histories.items, 1),
            ("targets", self.targets, 0),
        ):
            if len(items) and not lowest <= items.min() <= items.max() <= self.num_items:
                raise GenrecError(
                    f"{name} hold indices {items.min()}..{items.max()}, this catalogue has"
                    f" {lowest}..{self.num_items}"
                )

    def _require_facts(self) -> None:
        names = [term.name for term, _ in self.reward.terms]
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
        if "probabilities" in self.reward.needs and self.probabilities is None:
            raise GenrecError(
                f"reward {self.reward.name} needs P(item | history): pass"
                " ListTask(probabilities=...)"
            )
        if "targets" in self.reward.needs and not self.targets.any():
            raise GenrecError(
                f"reward {self.reward.name} needs targets, but the target of every case is 0"
                " (unknown)"
            )
        require_times(self.reward, self.histories)


def list_context(
    task: ListTask, cases: Slates, group_size: int = 1, progress: float = 1.0
) -> Context:
    """The context of ``group_size`` lists for each of the cases, lists of one case side by side.

    Raises:
        GenrecError: if the task's probabilities have another shape than (cases, V+1), or progress is
            not in 0..1.
    """
    if not 0 <= progress <= 1:
        raise GenrecError(
            f"progress {progress} is not a share of the training: give a number from 0 to 1"
        )
    histories = task.histories.take(cases)
    probabilities = None
    if task.probabilities is not None and "probabilities" in task.reward.needs:
        probabilities = task.probabilities(histories)
        expected = (len(cases), task.num_items + 1)
        if probabilities.shape != expected:
            raise GenrecError(
                f"probabilities have shape {probabilities.shape}; {len(cases)} histories need"
                f" {expected}"
            )
    rows = np.repeat(np.arange(len(cases)), group_size)
    return Context(
        histories,
        task.targets[cases],
        task.catalogue,
        task.k,
        probabilities,
        rows,
        progress=progress,
    )


def require_choice(task: ListTask, cases: Slates, num_seen: NDArray[np.integer[Any]]) -> None:
    """Raise GenrecError where a case has fewer than K items that its user has not seen.

    Args:
        task: the task.
        cases: (H,) the cases about to start.
        num_seen: (H,) distinct items of each history.
    """
    allowed = task.num_items - num_seen
    if allowed.min() < task.k:
        raise GenrecError(
            f"case {cases[allowed.argmin()]} has {allowed.min()} unseen items of {task.num_items},"
            " too few for a list"
            f" of {task.k}: shorten the list or leave the case out"
        )


def step_gains(
    reward: WeightedSum, slates: Slates, items: Slates, context: Context
) -> dict[str, Floats]:
    """Unweighted gain, by term, of placing one more item in each list.

    Args:
        reward: its terms.
        slates: (n, j) items already in the lists.
        items: (n,) item placed next.
        context: of the n lists.

    Returns:
        name of the term -> (n,) float64.

    Raises:
        RewardError: if a term's gain is not a finite number.
    """
    return {
        term.name: checked(term).marginal(slates, items[:, None], context)[:, 0].astype(np.float64)
        for term, _ in reward.terms
    }


def choose_weights(
    task: ListTask, given: Mapping[str, Any] | None, count: int, generator: np.random.Generator
) -> dict[str, float | Floats]:
    """Weight of every term for ``count`` histories: (count,) where it has a range, one number where
    it is fixed.

    Args:
        task: its reward and ranges.
        given: name -> a number for all histories, or (count,); ranges that are not in it are drawn.
        count: histories.
        generator: source of randomness.

    Raises:
        GenrecError: for a weight that has no range or lies outside it, or a wrong shape.
    """
    given = given or {}
    for name, values in given.items():
        array = np.asarray(values, dtype=np.float64)
        if array.shape not in ((), (count,)):
            raise GenrecError(
                f"weights of {name} have shape {array.shape}; give a number, or {count} of them"
            )
        for value in (array.min(), array.max()):
            require_inside({name: float(value)}, task.ranges)
    weights: dict[str, float | Floats] = {term.name: weight for term, weight in task.reward.terms}
    if task.ranges:
        drawn = draw_weights(task.ranges, count, generator)
        for column, name in enumerate(task.ranges):
            weights[name] = np.broadcast_to(given.get(name, drawn[:, column]), count).astype(
                np.float64
            )
    return weights


def observed_weights(task: ListTask, weights: Weights) -> NDArray[np.float32]:
    """(H, C) the weights that have ranges, in the order of the task's ranges."""
    return np.stack([np.asarray(weights[name]) for name in task.ranges], axis=1).astype(np.float32)


def weigh(gains: dict[str, Floats], weights: Weights) -> Floats:
    """(n,) weighted sum of the terms' gains (n,), each list with its own weight where that is an
    array (n,)."""
    total: Floats = np.sum(
        [weights[name] * gain for name, gain in gains.items()], axis=0, dtype=np.float64
    )
    return total


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


class ListGenerationEnv(gymnasium.Env[Observation, np.int64]):
    """Write one recommendation list, item by item.

    ## Description
    An episode is one list for one user. The state is the user's history and the items placed so
    far; each step appends an item. Transitions are deterministic: only the choice of the case is
    random.

    ## Action Space
    `Discrete(V + 1)`: the index of the item to place next. `action_masks()` says which are allowed:
    not 0 (PAD), no item of the *whole* history (also where it is longer than T), no item already in
    the list.

    ## Observation Space
    `Dict(history=Box(0, V, (T,), int32), slate=Box(0, V, (K,), int32))`. `history` holds the newest
    T items, newest last, padded with 0 on the left. `slate` holds the list, best position first, 0
    where it is still empty. Where the task has C weight ranges there is also `weights=Box(low,
    high, (C,), float32)`, the episode's weights in the order of `task.ranges`.

    ## Rewards
    The gain of the position just filled: the weighted sum of the gains of the task's reward terms.
    A weight that has a range is drawn for each episode: one time in ten the low end, one in ten the
    high end, and otherwise low + u² · (high − low) with u uniform, for small weights change lists
    most. The rewards of an episode sum to the list's metric. A reward that changes during a
    training reads `context.progress`; a trainer says how far it is with `reset(options={"progress":
    p})`, p from 0 to 1, and it is 1 for the episode otherwise.

    ## Starting State
    A case drawn uniformly with `np_random`, or the one in `reset(options={"case": i})`, and an
    empty list. A case with fewer than K allowed items raises GenrecError. `options={"weights":
    {"diversity": 0.5}}` chooses weights that have a range.

    ## Episode End
    Terminated after K items. A disallowed action ends the episode at once: it earns 0, places
    nothing and sets `info["invalid_action"]`. Never truncated.

    ## Information
    - `case`: its number in the task.
    - `reward_terms`: name -> unweighted gain of this step (after a step only).
    - `invalid_action`: whether the action was disallowed (after a step only).
    - `reward_weights`: name -> weight of each term in this episode (after a reset only).
    - `history`: the whole history as a tuple of items, oldest first (after a reset only).
    - `target`: the held-out item, 0 where unknown (after a reset only). It is not part of the
      observation.

    ## Arguments
    - `task`: a `ListTask`.
    - `render_mode`: None, or "ansi" for the end of the history and the list, with titles and gains,
      as text.

    ```python
    env = gymnasium.make("genrec/ListGeneration-v0", task=task)
    ```

    ## References
    A. V. Petrov and C. Macdonald. Aligning GPTRec with Beyond-Accuracy Goals with Reinforcement
    Learning. arXiv:2403.04875, 2024.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(self, task: ListTask, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise GenrecError(
                f"render_mode {render_mode!r}: choose None or one of"
                f" {self.metadata['render_modes']}"
            )
        self.task = task
        self.render_mode = render_mode
        self.observation_space, self.action_space = single_spaces(task)
        self._case = -1
        self._gains: list[float] = []
        self._ended = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the list of a random case, or of ``options["case"]``, at ``options["progress"]`` of
        a training."""
        super().reset(seed=seed)
        options = options or {}
        self._ended = (
            True  # until the new list is there: a reset that fails leaves nothing to go on with
        )
        self._case = self._choose(options)
        self._context = list_context(
            self.task, np.array([self._case]), progress=options.get("progress", 1.0)
        )
        self._history = self._context.of_histories[0]
        observed = self._context.of_histories.padded(self.task.max_length, side="left")
        self._observed = observed[0].astype(np.int32)
        self._allowed = np.ones(self.task.num_items + 1, dtype=np.bool_)
        self._allowed[PAD] = False
        self._allowed[self._history] = False
        require_choice(
            self.task, np.array([self._case]), np.array([self.task.num_items - self._allowed.sum()])
        )
        self._slate = np.full(self.task.k, PAD, dtype=np.int64)
        self._gains = []
        self._ended = False
        self._weights = choose_weights(self.task, options.get("weights"), 1, self.np_random)
        facts = {
            "case": self._case,
            "history": tuple(self._history.tolist()),
            "target": int(self.task.targets[self._case]),
            "reward_weights": {
                name: float(np.squeeze(weight)) for name, weight in self._weights.items()
            },
        }
        return self._observe(), facts

    def step(self, action: int | np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Place the item ``action`` at the next position."""
        if self._ended:
            raise ResetNeeded(
                "the list is complete or was never started: call reset() before step()"
            )
        if not self.action_space.contains(action):
            raise GenrecError(
                f"action {action!r} is not an item index; give an integer in"
                f" 0..{self.task.num_items}"
            )
        valid = bool(self._allowed[action])
        gains = (
            self._place(int(action))
            if valid
            else {term.name: 0.0 for term, _ in self.task.reward.terms}
        )
        self._ended = not valid or len(self._gains) == self.task.k
        reward = self._gains[-1] if valid else 0.0
        info = {"case": self._case, "reward_terms": gains, "invalid_action": not valid}
        return self._observe(), reward, self._ended, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """(V+1,) which actions are allowed now."""
        self._require_started()
        return self._allowed.copy()

    def render(self) -> str | None:
        """The case, the end of the history and the list so far; None without a render mode."""
        if self.render_mode is None:
            return None
        self._require_started()
        titles = self.task.catalogue.titles
        recent = self._history[-5:]
        lines = [
            f"case {self._case}: the last {len(recent)} of {len(self._history)} items, newest last"
        ]
        lines += [f"      {titles[item]}" for item in recent]
        lines.append(
            f"list: {len(self._gains)} of {self.task.k} items, gain {sum(self._gains):+.4f}"
        )
        placed = zip(self._slate, self._gains, strict=False)
        lines += [
            f"  {i:>2}. {titles[item]}  {gain:+.4f}"
            for i, (item, gain) in enumerate(placed, start=1)
        ]
        return "\n".join(lines)

    def _choose(self, options: dict[str, Any]) -> int:
        unknown = sorted(set(options) - {"case", "progress", "weights"})
        if unknown:
            raise GenrecError(
                f"unknown reset option(s) {', '.join(unknown)}; choose 'case', 'progress' or"
                " 'weights'"
            )
        if "case" not in options:
            return int(self.np_random.integers(len(self.task)))
        if not 0 <= options["case"] < len(self.task):
            raise GenrecError(
                f"case {options['case']} does not exist; the task has cases 0..{len(self.task) - 1}"
            )
        return int(options["case"])

    def _place(self, item: int) -> dict[str, float]:
        position = len(self._gains)
        gains = step_gains(
            self.task.reward, self._slate[None, :position], np.array([item]), self._context
        )
        self._slate[position] = item
        self._allowed[item] = False
        self._gains.append(float(weigh(gains, self._weights)[0]))
        return {name: float(gain[0]) for name, gain in gains.items()}

    def _observe(self) -> Observation:
        observed: Observation = {
            "history": self._observed.copy(),
            "slate": self._slate.astype(np.int32),
        }
        if self.task.ranges:
            observed["weights"] = observed_weights(self.task, self._weights)[0]
        return observed

    def _require_started(self) -> None:
        if self._case < 0:
            raise ResetNeeded("no list was started: call reset() first")
