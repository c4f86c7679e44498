"""Scorers that only count."""

from genrec.baselines.markov import Markov
from genrec.baselines.popularity import Popularity

__all__ = ["Markov", "Popularity"]
