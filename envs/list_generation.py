"""List generation as a Gymnasium environment: one list per episode, one item per step."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data import PAD
from genrec.envs.task import ListTask, Observation, list_context, require_choice, single_spaces
from genrec.envs.weights import choose_weights, observed_weights, step_gains, weighted_gain


class ListGenerationEnv(gymnasium.Env[Observation, np.int64]):
    """Write one recommendation list, item by item.

    ## Description
    An episode is one list for one user. The state is the user's history and the items placed so
    far; each step appends an item. Transitions are deterministic: only the choice of the case is
    random.

    ## Action Space
    `Discrete(V + 1)`: the index of the item to place next. `action_masks()` gives the allowed ones:
    not 0 (PAD), no item of the *whole* history (also where it is longer than T), no item already in
    the list.

    ## Observation Space
    `Dict(history=Box(0, V, (T,), int32), slate=Box(0, V, (K,), int32))`. `history` holds the newest
    T items, newest last, padded with 0 on the left. `slate` holds the list, best position first, 0
    where it is still empty. Where the task has C weight ranges there is also `weights=Box(low,
    high, (C,), float32)`, the episode's weights in the order of `task.ranges`.

    ## Rewards
    The gain of the position just filled: the weighted sum of the gains of the task's reward terms.
    The rewards of an episode sum to the list's metric.

    A weight that has a range is drawn for each episode: the low end with probability 0.1, the high
    end with probability 0.1, and otherwise low + u²·(high − low) with u uniform, because lists
    change most at small weights.

    A reward that changes during a training reads `context.progress`, the share of the training that
    is done. A trainer sets it with `reset(options={"progress": p})`, 0 <= p <= 1; it is 1 for the
    episode otherwise.

    ## Starting State
    A case drawn uniformly with `np_random`, or the one in `reset(options={"case": i})`, and an
    empty list. A case with fewer than K allowed items raises GenrecError. `options={"weights":
    {"diversity": 0.5}}` sets weights that have a range.

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

    # Gymnasium declares it as an attribute of instances.
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

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
        """Start the list of a random case, or of ``options["case"]``.

        Raises:
            GenrecError: for an unknown option or case, a weight outside its range, or a case with
                too few items to choose from.
        """
        super().reset(seed=seed)
        options = options or {}
        # Stays True until all is set: after a reset that fails, the list cannot continue.
        self._ended = True
        self._case = self._choose(options)
        case = np.array([self._case])
        progress = options.get("progress", 1.0)
        self._context = list_context(self.task, case, progress=progress)
        self._history = self._context.of_histories[0]
        observed = self._context.of_histories.padded(self.task.max_length, side="left")
        self._observed = observed[0].astype(np.int32)
        self._allowed = np.ones(self.task.num_items + 1, dtype=np.bool_)
        self._allowed[PAD] = False
        self._allowed[self._history] = False
        require_choice(self.task, case, np.array([self.task.num_items - self._allowed.sum()]))
        self._slate = np.full(self.task.k, PAD, dtype=np.int64)
        self._gains = []
        self._weights = choose_weights(
            self.task, options.get("weights"), count=1, generator=self.np_random
        )
        self._ended = False
        weights = {name: float(np.squeeze(weight)) for name, weight in self._weights.items()}
        info = {
            "case": self._case,
            "history": tuple(self._history.tolist()),
            "target": int(self.task.targets[self._case]),
            "reward_weights": weights,
        }
        return self._observe(), info

    def step(self, action: int | np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Place the item ``action`` at the next position.

        Raises:
            ResetNeeded: if the list is complete or was never started.
            GenrecError: for an action that is no index in 0..V.
        """
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
        if valid:
            gains = self._place(int(action))
        else:
            gains = {term.name: 0.0 for term, _ in self.task.weighted_sum.terms}
        self._ended = not valid or len(self._gains) == self.task.k
        reward = self._gains[-1] if valid else 0.0
        info = {"case": self._case, "reward_terms": gains, "invalid_action": not valid}
        return self._observe(), reward, self._ended, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """(V+1,) True at actions that are allowed now."""
        self._require_started()
        return self._allowed.copy()

    def render(self) -> str | None:
        """Text of the end of the history and the list so far; None without a render mode."""
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
        """Number of the next case, after a check of the options."""
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
        """Append an item; returns the unweighted gain of each term."""
        placed = self._slate[None, : len(self._gains)]
        gains = step_gains(
            self.task.weighted_sum, placed, items=np.array([item]), context=self._context
        )
        self._slate[len(self._gains)] = item
        self._allowed[item] = False
        self._gains.append(float(weighted_gain(gains, self._weights)[0]))
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
