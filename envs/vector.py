"""Vector environment of list generation: every step is computed for all lists at once."""

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import PAD, Sequences
from genrec.envs.task import ListTask, Observation, list_context, require_choice, single_spaces
from genrec.envs.weights import choose_weights, observed_weights, step_gains, weighted_gain
from genrec.metrics.context import Floats, Slates

Bools = NDArray[np.bool_]


class ListGenerationVectorEnv(VectorEnv[Observation, Slates, NDArray[Any]]):
    """Write n recommendation lists in lockstep, item by item.

    ## Description
    The same task as `ListGenerationEnv`, for n = `num_envs` lists of one length. All lists start
    and end together, and every step is computed for all of them at once. `group_size` adjacent
    lists have the same history: lists 0..G-1 the first one, G..2G-1 the second. What
    depends only on the history (the teacher's probabilities, its items) is computed once, at reset.

    ## Action Space
    `MultiDiscrete([V + 1] * n)`: the item to place next in each list. `action_masks()` gives the
    allowed ones: not 0 (PAD), no item of the *whole* history, no item already in that list. Any
    other action raises GenrecError, and no list changes.

    ## Observation Space
    `Dict(history=Box(0, V, (n, T), int32), slate=Box(0, V, (n, K), int32))`: rows as in
    `ListGenerationEnv`. Where the task has C weight ranges, also `weights=Box(low, high, (n, C),
    float32)`, the same for all lists of a history.

    ## Rewards
    (n,) float64: the gain of the position just filled in each list, weighted with the list's own
    weights. `reset(options={"progress": p})` sets the share of the training that is done, 0 to 1,
    for rewards that depend on it.

    ## Starting State
    `num_envs / group_size` cases drawn with `np_random`, without replacement if the task has as
    many, with replacement otherwise; or the cases in `reset(options={"cases": array})`. All lists
    are empty. A case with fewer than K allowed items raises GenrecError. Weights that have a range
    are drawn for each history, as in `ListGenerationEnv`; `options={"weights": {"diversity":
    array}}` sets them, one number for all histories or (H,).

    ## Episode End
    All lists are terminated at step K, never truncated. Autoreset is disabled: call `reset()`; a
    further step raises `gymnasium.error.ResetNeeded`. `options={"reset_mask": ...}` is accepted
    where it is True for every list.

    ## Information
    After a reset, for the H = `num_envs / group_size` histories:
    - `histories`: the whole histories, a `genrec.data.Sequences` of length H.
    - `cases`: (H,) their numbers in the task.
    - `targets`: (H,) the held-out items, 0 where unknown.
    - `reward_weights`: name -> weight of each term in the reward, (H,) where the weight has a
      range.

    After a step:
    - `reward_terms`: name -> (n,) unweighted gains of this step.

    ## Arguments
    - `task`: a `ListTask`.
    - `num_envs`: n, the number of lists.
    - `group_size`: G, lists per history; it divides `num_envs`.

    ```python
    envs = gymnasium.make_vec("genrec/ListGeneration-v0", num_envs=8, task=task, group_size=4)
    ```

    ## References
    A. V. Petrov and C. Macdonald. Aligning GPTRec with Beyond-Accuracy Goals with Reinforcement
    Learning. arXiv:2403.04875, 2024. Groups of lists of one history: Z. Shao et al. DeepSeekMath.
    arXiv:2402.03300, 2024.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by Gymnasium)
        "render_modes": [],
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(self, task: ListTask, num_envs: int, group_size: int = 1) -> None:
        if group_size < 1 or num_envs < 1 or num_envs % group_size:
            raise GenrecError(
                f"num_envs {num_envs} must be a positive multiple of group_size {group_size}"
            )
        self.task = task
        self.num_envs = num_envs
        self.group_size = group_size
        self.single_observation_space, self.single_action_space = single_spaces(task)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rows = np.repeat(np.arange(num_envs // group_size), group_size)
        self._position: int | None = None
        self._unseen: Bools | None = None  # built by the first ``action_masks`` after a reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the lists of random cases, or of ``options["cases"]``.

        Raises:
            GenrecError: for an unknown option or case, a weight outside its range, or a case with
                too few items to choose from.
        """
        super().reset(seed=seed)
        options = options or {}
        # Stays None until all is set: after a reset that fails, no list can continue.
        self._position = None
        cases = self._choose(options)
        self._context = list_context(
            self.task, cases, group_size=self.group_size, progress=options.get("progress", 1.0)
        )
        histories = self._context.of_histories
        self._index_seen(histories, cases)
        self._history = histories.padded(self.task.max_length, side="left").astype(np.int32)
        self._slates = np.full((self.num_envs, self.task.k), PAD, dtype=np.int64)
        weights = choose_weights(
            self.task, options.get("weights"), count=len(cases), generator=self.np_random
        )
        self._weights = {
            name: weight[self._rows] if isinstance(weight, np.ndarray) else weight
            for name, weight in weights.items()
        }
        if self.task.ranges:
            self._observed_weights = observed_weights(self.task, self._weights)
        self._position = 0
        infos = {
            "histories": histories,
            "cases": cases,
            "targets": self.task.targets[cases],
            "reward_weights": weights,
        }
        return self._observe(), infos

    def step(self, actions: Slates) -> tuple[Observation, Floats, Bools, Bools, dict[str, Any]]:
        """Place one item in every list.

        Raises:
            ResetNeeded: if the lists are complete or were never started.
            GenrecError: for an action that is not allowed; no list changes.
        """
        if self._position is None or self._position == self.task.k:
            raise ResetNeeded(
                "the lists are complete or were never started: call reset() before step()"
            )
        actions = np.asarray(actions)
        self._require_allowed(actions)
        placed = self._slates[:, : self._position]
        gains = step_gains(self.task.weighted_sum, placed, items=actions, context=self._context)
        self._slates[:, self._position] = actions
        self._position += 1
        terminated = np.full(self.num_envs, self._position == self.task.k)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        rewards = weighted_gain(gains, self._weights)
        return self._observe(), rewards, terminated, truncated, {"reward_terms": gains}

    def action_masks(self) -> Bools:
        """(n, V+1) True at actions that are allowed now."""
        if self._position is None:
            raise ResetNeeded("no list was started: call reset() first")
        if self._unseen is None:
            histories = self.num_envs // self.group_size
            self._unseen = np.ones((histories, self.task.num_items + 1), dtype=np.bool_)
            self._unseen[:, PAD] = False
            self._unseen.reshape(-1)[self._seen[:-1]] = False
        masks: Bools = np.repeat(self._unseen, self.group_size, axis=0)
        # Empty positions hold PAD, which is disallowed anyway.
        np.put_along_axis(masks, self._slates, False, axis=1)
        return masks

    def _index_seen(self, histories: Sequences, cases: NDArray[np.int64]) -> None:
        """Index the items of each history as sorted keys, history·(V+1) + item.

        Membership is then a binary search, and no (H, V+1) mask is built unless `action_masks` is
        called.
        """
        width = self.task.num_items + 1
        keys = np.sort(histories.rows() * width + histories.items)
        seen = keys[np.diff(keys, prepend=-1) > 0]
        require_choice(self.task, cases, np.bincount(seen // width, minlength=len(cases)))
        # The last entry is what a key larger than all others is compared with.
        self._seen = np.append(seen, -1)
        self._unseen = None

    def _choose(self, options: dict[str, Any]) -> NDArray[np.int64]:
        """Numbers of the next cases, after a check of the options."""
        unknown = sorted(set(options) - {"cases", "progress", "reset_mask", "weights"})
        if unknown:
            raise GenrecError(
                f"unknown reset option(s) {', '.join(unknown)}; choose 'cases', 'progress',"
                " 'weights' or 'reset_mask'"
            )
        if not np.all(options.get("reset_mask", True)):
            raise GenrecError(
                "reset_mask is False for some lists, but all lists start together: leave it out"
            )
        size = self.num_envs // self.group_size
        if "cases" not in options:
            return self.np_random.choice(len(self.task), size, replace=size > len(self.task))
        cases = np.asarray(options["cases"], dtype=np.int64)
        if cases.shape != (size,):
            raise GenrecError(
                f"cases of shape {cases.shape}; {self.num_envs} lists in groups of"
                f" {self.group_size} take {size} cases"
            )
        if not 0 <= cases.min() <= cases.max() < len(self.task):
            raise GenrecError(
                f"cases {cases.min()}..{cases.max()}; the task has cases 0..{len(self.task) - 1}"
            )
        return cases

    def _require_allowed(self, actions: Slates) -> None:
        """Raise GenrecError for the first disallowed action."""
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise GenrecError(
                f"actions of shape {actions.shape}, type {actions.dtype}; give {self.num_envs}"
                " integers"
            )
        item = (actions >= 1) & (actions <= self.task.num_items)
        keys = self._rows * (self.task.num_items + 1) + actions
        if self._unseen is None:
            seen = self._seen[np.searchsorted(self._seen[:-1], keys)] == keys
        else:
            seen = item & ~self._unseen.take(keys, mode="clip")
        placed = (self._slates == actions[:, None]).any(axis=1)
        wrong = np.flatnonzero(~item | seen | placed)
        if len(wrong):
            first = wrong[0]
            reasons = (
                (~item, f"not in 1..{self.task.num_items}"),
                (seen, "in the history"),
                (placed, "in the list"),
            )
            reason = next(text for test, text in reasons if test[first])
            raise GenrecError(
                f"list {first} cannot take item {actions[first]}: it is {reason}; choose where"
                " action_masks() is True"
            )

    def _observe(self) -> Observation:
        observed: Observation = {
            "history": self._history[self._rows],
            "slate": self._slates.astype(np.int32),
        }
        if self.task.ranges:
            observed["weights"] = self._observed_weights.copy()
        return observed
