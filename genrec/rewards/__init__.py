"""Rewards: what a list earns, position by position; also metrics and re-ranking criteria."""

from genrec.rewards.accuracy import Ndcg
from genrec.rewards.check import RewardError, checked
from genrec.rewards.diversity import Diversity
from genrec.rewards.novelty import Novelty
from genrec.rewards.popularity import Popularity
from genrec.rewards.registry import Entry, available, parse, resolve, reward, weighted
from genrec.rewards.relevance import Relevance
from genrec.rewards.reward import FunctionReward, Reward, WeightedSum
from genrec.rewards.terminal import Telescoped, Terminal, telescoped, terminal

__all__ = [
    "Diversity",
    "Entry",
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
    "available",
    "checked",
    "parse",
    "resolve",
    "reward",
    "telescoped",
    "terminal",
    "weighted",
]
