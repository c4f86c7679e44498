"""Many lists at once: the batched twin of the list generation environment."""

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import PAD
from genrec.envs.list_generation import (
    ListTask,
    Observation,
    choose_weights,
    list_context,
    observed_weights,
    require_choice,
    single_spaces,
    step_gains,
    weigh,
)
from genrec.metrics.context import Floats, Slates

Bools = NDArray[np.bool_]


class ListGenerationVectorEnv(VectorEnv[Observation, Slates, NDArray[Any]]):
    """Write n recommendation lists in step, item by item.

    ## Description
    The same task as `ListGenerationEnv`, for n = `num_envs` lists of one length. All lists start
    and end together, and every step is computed for all of them at once. `group_size` neighbouring
    lists share a history: lists 0..G-1 are of the first history, G..2G-1 of the second. What is
    known of a history (the teacher's probabilities, its items) is computed once, at reset.

    ## Action Space
    `MultiDiscrete([V + 1] * n)`: the item to place next in each list. `action_masks()` gives the
    allowed ones: not 0 (PAD), no item of the *whole* history, no item already in that list. Any
    other action raises GenrecError, and no list changes.

    ## Observation Space
    `Dict(history=Box(0, V, (n, T), int32), slate=Box(0, V, (n, K), int32))`: rows as in
    `ListGenerationEnv`. Where the task has C weight ranges, also `weights=Box(low, high, (n, C),
    float32)`, the same for all lists of a history.

    ## Rewards
    (n,) float64: the gain of the position just filled in each list, weighed with the list's own
    weights. `reset(options={"progress": p})` says how far a training is, for rewards that read it.

    ## Starting State
    `num_envs / group_size` cases drawn with `np_random`, without replacement if the task has as
    many, with replacement otherwise; or the cases in `reset(options={"cases": array})`. All lists
    are empty. A case with fewer than K allowed items raises GenrecError. Weights that have a range
    are drawn for each history, as in `ListGenerationEnv`; `options={"weights": {"diversity":
    array}}` chooses them, one number for all histories or (H,).

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
    - `group_size`: G, lists a history; it divides `num_envs`.

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

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the lists of random cases, or of ``options["cases"]``, at ``options["progress"]``
        of a training."""
        super().reset(seed=seed)
        options = options or {}
        self._position = (
            None  # until the new lists are there: a reset that fails leaves nothing to go on with
        )
        cases = self._choose(options)
        self._context = list_context(
            self.task, cases, self.group_size, options.get("progress", 1.0)
        )
        histories = self._context.of_histories
        width = self.task.num_items + 1
        keys = np.sort(histories.rows() * width + histories.items)
        seen = keys[np.diff(keys, prepend=-1) > 0]
        require_choice(self.task, cases, np.bincount(seen // width, minlength=len(cases)))
        self._seen = np.append(
            seen, -1
        )  # the end is where a key that is larger than all is looked for
        self._unseen: Bools | None = None
        self._history = histories.padded(self.task.max_length, side="left").astype(np.int32)
        self._slates = np.full((self.num_envs, self.task.k), PAD, dtype=np.int64)
        self._position = 0
        weights = choose_weights(self.task, options.get("weights"), len(cases), self.np_random)
        self._weights = {
            name: weight[self._rows] if isinstance(weight, np.ndarray) else weight
            for name, weight in weights.items()
        }
        if self.task.ranges:
            self._observed_weights = observed_weights(self.task, self._weights)
        infos = {
            "histories": histories,
            "cases": cases,
            "targets": self.task.targets[cases],
            "reward_weights": weights,
        }
        return self._observe(), infos

    def step(self, actions: Slates) -> tuple[Observation, Floats, Bools, Bools, dict[str, Any]]:
        """Place one item in every list."""
        if self._position is None or self._position == self.task.k:
            raise ResetNeeded(
                "the lists are complete or were never started: call reset() before step()"
            )
        actions = np.asarray(actions)
        self._require_allowed(actions)
        gains = step_gains(
            self.task.reward, self._slates[:, : self._position], actions, self._context
        )
        self._slates[:, self._position] = actions
        self._position += 1
        terminated = np.full(self.num_envs, self._position == self.task.k)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return (
            self._observe(),
            weigh(gains, self._weights),
            terminated,
            truncated,
            {"reward_terms": gains},
        )

    def action_masks(self) -> Bools:
        """(n, V+1) which actions are allowed now."""
        if self._position is None:
            raise ResetNeeded("no list was started: call reset() first")
        if self._unseen is None:
            self._unseen = np.ones(
                (self.num_envs // self.group_size, self.task.num_items + 1), dtype=np.bool_
            )
            self._unseen[:, PAD] = False
            self._unseen.reshape(-1)[self._seen[:-1]] = False
        masks: Bools = np.repeat(self._unseen, self.group_size, axis=0)
        np.put_along_axis(
            masks, self._slates, False, axis=1
        )  # an empty position names PAD, which is disallowed too
        return masks

    def _choose(self, options: dict[str, Any]) -> NDArray[np.int64]:
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
        """Raise on the first disallowed action. Builds no (n, V+1) mask unless action_masks()
        did."""
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
