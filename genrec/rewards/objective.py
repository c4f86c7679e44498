"""What a policy is aligned for: rewards, each with a weight or a range of weights.

A command parses its rewards once and passes the ``RewardObjective`` on, so that a file of the
user's own is executed once.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

from genrec.config.components import (
    FILE_MODULE,
    Modules,
    SourceFile,
    absolute_target,
    is_place,
    source_file,
)
from genrec.config.errors import GenrecError
from genrec.config.trust import name_code
from genrec.rewards.contract import Reward, WeightedSum
from genrec.rewards.ranges import middle_weight, read_weight, split_spec
from genrec.rewards.registry import REWARDS
from genrec.rewards.specs import (
    GivenReward,
    RewardLike,
    Weight,
    WeightedReward,
    ends_of,
    listed,
    read_reward,
    require_different_names,
)

ACCURACY = ("relevance", "ndcg")
"""Names of the accuracy rewards."""
MIXED = ("relevance=0.5", "ndcg=0.5")
"""What ``accuracy="mixed"`` adds to an objective."""


@dataclass(frozen=True)
class RewardTerm:
    """One reward of an objective.

    Attributes:
        reward: the reward.
        low: its weight, or the low end of the range of weights.
        high: the high end; equal to ``low`` where the weight is one number.
        target: name or place that the reward is found at again; for an object that can be given in
            Python only, its name.
        file: the file that defines the reward; None where there is none.
        weight_given: whether the weight was stated; otherwise it is the default.
    """

    reward: Reward
    low: float
    high: float
    target: str
    file: SourceFile | None = None
    weight_given: bool = field(default=True, compare=False)

    @property
    def name(self) -> str:
        """The reward's name."""
        return self.reward.name

    @property
    def weight(self) -> float:
        """The weight; the middle one of a range (``middle_weight``)."""
        return middle_weight(self.low, self.high)

    @property
    def spec(self) -> str:
        """The term as text, ``target=weight`` or ``target=low:high``, as ``run.json`` keeps it."""
        ends = dict.fromkeys((self.low, self.high))
        return f"{self.target}={':'.join(f'{end:.12g}' for end in ends)}"


@dataclass(frozen=True)
class RewardObjective:
    """Rewards, each with a weight or a range of weights.

    Attributes:
        terms: at least one; their names differ.

    Raises:
        GenrecError: if there are no terms, or two have the same name.
    """

    terms: tuple[RewardTerm, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise GenrecError("no reward is left: name one, for instance diversity=0.5")
        require_different_names([term.name for term in self.terms])

    @property
    def reward(self) -> WeightedSum:
        """The weighted sum; a range counts with its middle weight."""
        return WeightedSum(tuple((term.reward, term.weight) for term in self.terms))

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Name of a reward -> low, high, for those whose weight is a range."""
        return {term.name: (term.low, term.high) for term in self.terms if term.low < term.high}

    @property
    def specs(self) -> list[str]:
        """The terms as text, as ``run.json`` keeps them; see ``load_objectives``."""
        return [term.spec for term in self.terms]

    @property
    def files(self) -> list[SourceFile]:
        """The file of every term that is defined in one."""
        return [term.file for term in self.terms if term.file is not None]

    def with_weight(self, name: str, weight: Weight) -> "RewardObjective":
        """The objective with another weight, or range of weights, of one reward.

        Raises:
            GenrecError: for an unknown name, a weight that is not finite, or a range that does not
                rise.
        """
        if name not in [term.name for term in self.terms]:
            raise GenrecError(f"no reward is called {name!r}; there are {', '.join(self.specs)}")
        low, high = _rounded(ends_of(weight, name))
        terms = [
            replace(term, low=low, high=high, weight_given=True) if term.name == name else term
            for term in self.terms
        ]
        return RewardObjective(tuple(terms))


def parse_rewards(
    rewards: RewardObjective | WeightedReward | Iterable[WeightedReward],
    accuracy: str = "none",
    weight: float = 1.0,
) -> RewardObjective:
    """The objective that rewards stand for; every file that they name is executed once.

    Args:
        rewards: specs (``"diversity=0.5"``, ``"diversity=0:2"``, ``"./my_reward.py:fresh"``),
            rewards, functions, and pairs of these with a weight (a number, or the low and the high
            end of a range), in any mixture; or an objective, which is returned as it is.
        accuracy: "relevance", "ndcg", "mixed" (half of each) or "none": the accuracy reward that
            comes first unless one is among the rewards.
        weight: weight of a reward that is given without one; an accuracy reward then has 1.

    Raises:
        GenrecError: if there are no rewards, two share a name, one cannot be found, or a weight is
            neither a finite number nor a rising range.

    >>> def even(slates, context):
    ...     return (slates % 2 == 0) / context.k
    >>> objective = parse_rewards(["diversity=0:2", (even, 0.3)], accuracy="relevance")
    >>> objective.reward.name
    'relevance+0.5*diversity+0.3*even'
    >>> objective.specs[:2], objective.ranges
    (['relevance=1', 'diversity=0:2'], {'diversity': (0.0, 2.0)})
    """
    if isinstance(rewards, RewardObjective):
        return rewards
    # A dictionary per call: an edit of a file between two calls in one session takes effect.
    modules: Modules = {}
    terms = [_term(read_reward(each, modules), weight) for each in listed(rewards)]
    if accuracy != "none" and not any(term.name in ACCURACY for term in terms):
        specs = MIXED if accuracy == "mixed" else (f"{accuracy}=1",)
        terms = [_term(read_reward(spec, modules), 1.0) for spec in specs] + terms
    return RewardObjective(tuple(terms))


def load_objectives(
    runs: Sequence[Sequence[str]], rewards: Iterable[RewardLike] = ()
) -> list[RewardObjective]:
    """The objectives of finished runs; every file that they name is executed once for all of them.

    Runs are data: a file or module that the user has not named is refused.

    Args:
        runs: the specs that each run keeps (``RewardObjective.specs``).
        rewards: objects for the rewards that were given as such when a run was aligned.

    Raises:
        UntrustedCodeError: if the user has not named a file or module.
        GenrecError: if a reward cannot be found, or was an object and is not among ``rewards``.
    """
    modules: Modules = {}
    known: dict[str, Reward] = {}
    for each in rewards:
        given = read_reward(each, modules)
        known[_target(given)] = given.reward

    def term(spec: str) -> RewardTerm:
        target, text = split_spec(spec)
        low, high = read_weight(text, target)
        if target not in known:
            _require_findable(target)
            known[target] = REWARDS.resolve(target, modules)
        file = source_file(target)
        return RewardTerm(reward=known[target], low=low, high=high, target=target, file=file)

    return [RewardObjective(tuple(map(term, specs))) for specs in runs]


def files_of(specs: Iterable[str]) -> list[SourceFile]:
    """The files that the specs of a run name, in their order; nothing of them is executed."""
    found = (source_file(split_spec(spec)[0]) for spec in specs)
    return [file for file in found if file is not None]


def join_objectives(objectives: Sequence[RewardObjective]) -> RewardObjective:
    """The objectives of several runs as one: each weight becomes the range of all of them.

    Raises:
        GenrecError: if the runs have different rewards.

    >>> runs = [parse_rewards(["ndcg", f"diversity={weight}"]) for weight in (0.1, 0.5)]
    >>> join_objectives(runs).specs
    ['ndcg=1', 'diversity=0.1:0.5']
    """
    # Targets are compared, not rewards: two loads of one file give different objects.
    first = [term.target for term in objectives[0].terms]
    for objective in objectives:
        others = [term.target for term in objective.terms]
        if others != first:
            raise GenrecError(
                f"a run aligned for {', '.join(first)} and one aligned for {', '.join(others)}"
                " cannot be points of one curve"
            )
    joined = []
    for terms in zip(*(objective.terms for objective in objectives), strict=True):
        low, high = min(term.low for term in terms), max(term.high for term in terms)
        joined.append(replace(terms[0], low=low, high=high))
    return RewardObjective(tuple(joined))


def _term(given: GivenReward, default: float) -> RewardTerm:
    target = _target(given)
    unstated = 1.0 if target in ACCURACY else default
    low, high = _rounded(given.ends or (unstated, unstated))
    return RewardTerm(
        reward=given.reward,
        low=low,
        high=high,
        target=target,
        file=source_file(target),
        weight_given=given.ends is not None,
    )


def _rounded(ends: tuple[float, float]) -> tuple[float, float]:
    """Both ends to the 12 digits that a spec keeps, so that a reloaded objective is the same."""
    low, high = (float(f"{end:.12g}") for end in ends)
    return low, high


def _target(given: GivenReward) -> str:
    """Name or place at which a reward is found again; its own name where there is none.

    Raises:
        GenrecError: if the name of an object that has no place is that of a registered reward,
            which would be loaded in its stead.
    """
    if given.target is not None:
        return absolute_target(given.target)
    name = given.reward.name
    # ``Diversity()`` is "diversity", which is shorter than its module and never moves.
    if REWARDS.built_in.get(name) == given.reward:
        return name
    place = next(_places(given.found), None)
    if place is not None:
        name_code(place)  # the object is given by the user, and is found there again
    if place is None and name in REWARDS.names():
        raise GenrecError(
            f"a reward object has the name of the registered reward {name!r}: give it another name,"
            " for instance with @reward(name=...)"
        )
    return place or name


def _places(found: object) -> Iterator[str]:
    """Every ``module:attribute`` or ``file.py:attribute`` at which an object can be loaded again.

    Looked for in the module of the object's class and in that of the function that it wraps.
    """
    # Instances of FunctionReward, Terminal and Telescoped have a class of this package; the module
    # of the user's own is that of the function that they wrap.
    wrapped = (getattr(found, name, None) for name in ("function", "value"))
    modules = dict.fromkeys(getattr(each, "__module__", None) for each in (found, *wrapped))
    for name in modules:
        module = sys.modules.get(name or "")
        spec = getattr(module, "__spec__", None)
        if module is None or spec is None or name == "__main__":  # a script or a notebook
            continue
        # A module made from a file cannot be imported by its name, the file can be executed again.
        place = spec.origin if spec.name.startswith(FILE_MODULE) else name
        for attribute, value in vars(module).items():
            if value is found or (value is type(found) and _is_stateless(found)):
                yield f"{place}:{attribute}"


def _is_stateless(found: object) -> bool:
    """Whether an object is a reward that its class makes again without arguments."""
    return isinstance(found, Reward) and not vars(found) and not fields(found)


def _require_findable(target: str) -> None:
    if not is_place(target) and target not in REWARDS.names():
        raise GenrecError(
            f"reward {target!r} is neither built in nor that of an installed plugin: if the run was"
            " aligned for a reward object, give that object again (rewards=[...])"
        )
