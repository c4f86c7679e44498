"""Rewards: what a list earns, position by position; also metrics and re-ranking criteria."""

from genrec.rewards.accuracy import Ndcg
from genrec.rewards.audit import Audit, Finding, audit, sample_lists
from genrec.rewards.check import RewardError, checked, located
from genrec.rewards.diversity import Diversity
from genrec.rewards.novelty import Novelty
from genrec.rewards.popularity import Popularity
from genrec.rewards.registry import Entry, available, parse, resolve, reward, weighted
from genrec.rewards.relevance import Relevance
from genrec.rewards.reward import FunctionReward, Reward, WeightedSum, require_times
from genrec.rewards.terminal import Telescoped, Terminal, telescoped, terminal

__all__ = [
    "Audit",
    "Diversity",
    "Entry",
    "Finding",
    "FunctionReward",
    "Ndcg",
    "Novelty",
    "Popularity",
    "Relevance",
    "Reward",
    "RewardError",
    "Telescoped",
    "Terminal",
    "WeightedSum",
    "audit",
    "available",
    "checked",
    "located",
    "parse",
    "require_times",
    "resolve",
    "reward",
    "sample_lists",
    "telescoped",
    "terminal",
    "weighted",
]
