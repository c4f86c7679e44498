"""Rewards: what a list earns, position by position; also metrics and re-ranking criteria."""

from genrec.rewards.accuracy import Ndcg
from genrec.rewards.audit import Audit, Finding, audit, sample_lists
from genrec.rewards.check import RewardError, checked, located
from genrec.rewards.diversity import Diversity
from genrec.rewards.novelty import Novelty
from genrec.rewards.popularity import Popularity
from genrec.rewards.ranges import (
    Ranges,
    draw_weights,
    read_weights,
    require_inside,
    require_ranges,
    share_of,
    weight_grid,
    weights_along,
)
from genrec.rewards.registry import Entry, available, parse, ranges_of, resolve, reward, weighted
from genrec.rewards.relevance import Relevance
from genrec.rewards.reward import FunctionReward, Reward, WeightedSum, require_times
from genrec.rewards.specs import ACCURACY, complete_specs, reward_files, span_specs
from genrec.rewards.terminal import Telescoped, Terminal, telescoped, terminal

__all__ = [
    "ACCURACY",
    "Audit",
    "Diversity",
    "Entry",
    "Finding",
    "FunctionReward",
    "Ndcg",
    "Novelty",
    "Popularity",
    "Ranges",
    "Relevance",
    "Reward",
    "RewardError",
    "Telescoped",
    "Terminal",
    "WeightedSum",
    "audit",
    "available",
    "checked",
    "complete_specs",
    "draw_weights",
    "located",
    "parse",
    "ranges_of",
    "read_weights",
    "require_inside",
    "require_ranges",
    "require_times",
    "resolve",
    "reward",
    "reward_files",
    "sample_lists",
    "share_of",
    "span_specs",
    "telescoped",
    "terminal",
    "weight_grid",
    "weighted",
    "weights_along",
]
