"""Specs of rewards as text."""

from collections.abc import Iterable, Sequence

from genrec.rewards.objective import join_objectives, parse_rewards
from genrec.rewards.ranges import split_spec
from genrec.rewards.specs import read_reward


def ranges_of(specs: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Name of the reward -> low and high end, for the specs whose weight is a range."""
    given = [read_reward(spec, {}) for spec in specs]
    return {each.reward.name: each.ends for each in given if each.ends and len(set(each.ends)) > 1}


def complete_specs(specs: Sequence[str], accuracy: str = "none", weight: float = 1.0) -> list[str]:
    """Complete specs."""
    return parse_rewards(specs, accuracy, weight).specs


def span_specs(runs: Sequence[Sequence[str]]) -> list[str]:
    """The specs of several runs as one."""
    return join_objectives([parse_rewards(specs) for specs in runs]).specs


def reward_files(specs: Sequence[str]) -> list[str]:
    """The files among specs."""
    places = [split_spec(spec)[0].rpartition(":")[0] for spec in specs]
    return [place for place in places if place.endswith(".py")]
