"""Lists from a pool of candidates: MMR, SOG, DPP, popularity penalty, greedy on any reward, and local search.

All are vectorised over the B pools and their C candidates and loop over the k positions, local search over rounds too.
The vectors of a pool take B·C·D float32, so only so many pools are worked on at a time that they fit into memory. No
similarity matrix (B, C, C) is built.
"""

from genrec.rerankers.determinants import dpp
from genrec.rerankers.marginal_relevance import mmr
from genrec.rerankers.penalty import popularity_penalised
from genrec.rerankers.pool import Pool, Reranked, draw_pool
from genrec.rerankers.selection import (
    Guided,
    exchanged,
    followed,
    greedy,
    greedy_ahead,
    greedy_choices,
    improved,
    in_pool_order,
)
from genrec.rerankers.serendipity import sog

__all__ = [
    "Guided",
    "Pool",
    "Reranked",
    "dpp",
    "draw_pool",
    "exchanged",
    "followed",
    "greedy",
    "greedy_ahead",
    "greedy_choices",
    "improved",
    "in_pool_order",
    "mmr",
    "popularity_penalised",
    "sog",
]
